"""The integer evaluation against a naive one."""

import numpy as np
import pytest

from tests import model
from tests.networks import layer, small_network
from tests.strategies import random_codes
from xnorloom.sw.graph.evaluate import evaluate


@pytest.mark.parametrize("network", [
    small_network(),
    small_network(layer(kernel=(1, 1), padding=(0, 0), code_bits=8)),
    small_network(layer(stride=(2, 3), kernel=(5, 4), padding=(2, 1), grouping="row")),
    small_network(layer(in_shape=(7, 3, 3), weight_planes=8, activation_planes=6,
                        grouping="pixel", code_bits=None)),
], ids=["two-layers", "wide-codes", "strided-rows", "many-planes"])
def test_results_are_those_of_the_definition(network):
    codes = random_codes(network, 3)
    expected = model.evaluate(network, codes)
    found = evaluate(network, codes)
    assert list(found) == [each.name for each in network.layers]
    for name, values in found.items():
        assert values.dtype == np.int64
        np.testing.assert_array_equal(values, expected[name], err_msg=name)
