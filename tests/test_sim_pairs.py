"""Machines that take two pixels a cycle, in a simulator against the integer reference."""

import dataclasses

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from tests.networks import identity, layer, small_network
from tests.strategies import machines, networks, random_codes
from tests.test_sim_machine import run_both
from tests.test_sw_compiler import NONE
from xnorloom.hw.spec.config import MachineConfig
from xnorloom.sim.transport import RtlTransport
from xnorloom.sw.errors import CompileError
from xnorloom.sw.graph.network import Pool, Rescale
from xnorloom.sw.passes.compiler import compile_network


def _chain(size, **second):
    """Two layers of few steps and a raw one."""
    def point(name, source, **options):
        return layer(name, source, (8, *size), 8, **{
            "kernel": (1, 1), "padding": NONE, "activation_planes": 1, "code_bits": 1, **options})

    first = point("a", "input")
    following = point("b", "a", **second)
    last = layer("c", "b", following.out_shape, 3, kernel=(1, 1), padding=NONE, code_bits=None,
                 activation_planes=following.format.planes, seed=2)
    return small_network(first, following, last, in_shape=(8, *size), planes=1)


def _rescaled(network):
    """The same with codes by multiplication in its second layer."""
    ones = np.ones(8, dtype=np.int64)
    first, second, last = network.layers
    second = dataclasses.replace(second, requantize=Rescale(3000 * ones, 400_000 * ones, 4, 16, 1))
    return dataclasses.replace(network, layers=(first, second, last))


def _check(transport, config, network, batch=None):
    """Runs it, results and counters are those of the reference; which layers go in pairs."""
    image = run_both(transport, config, network, random_codes(network, 3), batch)
    return [fields["pixel_pairs"] for fields in image.descriptors()]


@pytest.mark.parametrize("rows, units, more", [
    (2, 2, {}), (4, 4, {"pool_depth": 0, "rescale": False}), (6, 2, {}), (8, 4, {})])
def test_two_pixels_a_cycle(rows, units, more):
    config = MachineConfig(rows=rows, cols=4, lanes=8, units=units, popcount_stages=1, **more)
    with RtlTransport(config, optimize=1) as transport:
        assert _check(transport, config, _chain((6, 8)), 1) == [1, 1, 0]
        assert _check(transport, config, _chain((5, 5)), 1) == [1, 1, 0]
        assert _check(transport, config, _chain((3, 7)), 2) == [1, 1, 0]
        assert _check(transport, config, _chain((4, 6), code_bits=4), 1) == [1, 1, 0]
        assert _check(transport, config, _chain((6, 8), kernel=(3, 3), padding=(1,) * 4,
                                                terms=(identity("a", 8, 1),)), 1) == [1, 1, 0]
        # A strided reader, a pool, borders: the layer takes one pixel a cycle, others go on.
        assert _check(transport, config, _chain((7, 8), stride=(2, 2)), 1)[::2] == [0, 0]
        if config.rescale:
            assert _check(transport, config, _rescaled(_chain((6, 8))), 1) == [1, 1, 0]
        if config.pool_depth:
            pooled = _chain((6, 8), pool=Pool("max", (2, 2), (2, 2)))
            assert _check(transport, config, pooled, 1) == [1, 0, 0]
        if config.border_classes:
            zeros = np.ones((8, 3, 3), dtype=np.int64)
            bordered = _chain((6, 8), kernel=(3, 3), padding=(1,) * 4, border=zeros)
            assert _check(transport, config, bordered, 1) == [1, 0, 0]


def _check_machines(machines_tried, networks_each):
    """Random networks on random machines with even units; layers in pairs among them."""
    @settings(max_examples=machines_tried, phases=(Phase.generate,), database=None,
              suppress_health_check=list(HealthCheck))
    @given(data=st.data())
    def check(data):
        rows, units = data.draw(st.sampled_from([(2, 2), (4, 2), (4, 4), (6, 2), (6, 6), (8, 2),
                                                 (8, 4), (8, 8), (12, 4)]))
        config, tried = data.draw(machines(depth=1024, rows=rows, units=units)), 0
        with RtlTransport(config, optimize=1) as transport:
            for _ in range(10 * networks_each):
                network = data.draw(networks(config))
                try:
                    image = compile_network(network, config)
                except CompileError:
                    # Refused by name: too large, or scales beyond this machine.
                    continue
                paired = [each["pixel_pairs"] for each in image.descriptors()]
                if not any(paired):
                    continue
                note(f"{config}\n{network}")
                run_both(transport, config, network,
                         random_codes(network, data.draw(st.integers(1, 3))))
                counts.append(sum(paired))
                tried += 1
                if tried == networks_each:
                    break

    counts = []
    check()
    return sum(counts)


def test_random_layers_in_pairs():
    assert _check_machines(2, 7) >= 14


@pytest.mark.slow
def test_many_random_layers_in_pairs():
    assert _check_machines(20, 8) >= 150
