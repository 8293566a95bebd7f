"""The integer evaluation against a naive one."""

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import model
from tests.networks import small_network
from tests.strategies import machines, networks, random_codes
from xnorloom.sw.graph.evaluate import evaluate


def agrees(network, seed=0):
    codes = random_codes(network, 2, seed)
    expected = model.evaluate(network, codes)
    found = evaluate(network, codes)
    assert list(found) == [each.name for each in network.layers]
    for name, values in found.items():
        assert values.dtype == np.int64
        np.testing.assert_array_equal(values, expected[name], err_msg=name)


def test_a_small_network():
    agrees(small_network())


@settings(max_examples=60, deadline=None, derandomize=True,
          suppress_health_check=list(HealthCheck))
@given(st.data())
def test_results_are_those_of_the_definition(data):
    agrees(data.draw(networks(data.draw(machines()))), data.draw(st.integers(0, 99)))
