"""Compiler, reference machine and driver together equal the formula of :mod:`sw.graph.network`."""

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.strategies import cases, random_codes
from xnorloom.hw.spec.config import PRESETS
from xnorloom.hw.spec.memory import Memory
from xnorloom.sw.graph.evaluate import evaluate
from xnorloom.sw.machine.driver import Driver
from xnorloom.sw.machine.layout import MapLayout
from xnorloom.sw.machine.lifetimes import map_lifetimes
from xnorloom.sw.machine.reference import ReferenceMachine
from xnorloom.sw.machine.transport import Transport

SLOW = settings(max_examples=80, deadline=None, derandomize=True,
                suppress_health_check=list(HealthCheck))


@SLOW
@given(cases(), st.integers(1, 5), st.integers(0, 1000))
def test_every_map_equals_the_formula(case, count, seed):
    network, config, image = case
    codes = random_codes(network, count, seed)
    expected = evaluate(network, codes)
    machine = ReferenceMachine(config)
    rng = np.random.default_rng(seed)
    # What a memory holds before does not matter.
    machine.memories[Memory.ACTIVATIONS][...] = rng.integers(
        0, 1 << 32, machine.memories[Memory.ACTIVATIONS].shape, dtype=np.uint32
    ) & machine._masks[Memory.ACTIVATIONS]
    driver = Driver(machine, image)
    driver.load()
    observed = driver.run(codes, observe=True)
    assert list(observed.maps) == [layer.name for layer in network.layers]
    for name, values in observed.maps.items():
        np.testing.assert_array_equal(values, expected[name], err_msg=name)
    whole = driver.run(codes)
    np.testing.assert_array_equal(whole.outputs, observed.outputs)
    assert len(whole.batches) == -(-count // image.batch)


@SLOW
@given(cases(most=2), st.integers(0, 1000))
def test_writes_stay_inside_their_map(case, seed):
    network, config, image = case
    machine = ReferenceMachine(config)
    driver = Driver(machine, image)
    driver.load()
    before = machine.memories[Memory.ACTIVATIONS].copy()
    driver.run(random_codes(network, 1, seed))
    changed = (machine.memories[Memory.ACTIVATIONS] != before).any(axis=(0, 2))
    for described in (image.metadata["input"], *(layer["output"] for layer in image.layers)):
        if described is not None:
            size = MapLayout(**described["layout"]).bank_words
            changed[described["base"]:described["base"] + size] = False
    assert not changed.any()


@SLOW
@given(cases())
def test_pixels_of_a_turn_lie_in_different_banks(case):
    _network, config, image = case
    for layer, fields in zip(image.layers, image.descriptors(), strict=True):
        if layer["raw"] or fields["pool"]:
            continue
        bank, _address = MapLayout(**layer["output"]["layout"]).places()
        seen = set()
        for walked in range(fields["pixel_tiles"] * config.rows):
            tile, row = divmod(walked, config.rows)
            line, place = divmod(walked, fields["walk"])
            if line < fields["out_lines"] and place < fields["walk_width"]:
                x, number = divmod(place, fields["images"])
                turn = tile, row * fields["turns"] // config.rows, int(bank[number, line, x])
                assert turn not in seen
                seen.add(turn)
        # All pixels of the map were among them.
        assert len(seen) == bank.size


@SLOW
@given(cases())
def test_maps_that_live_together_lie_apart(case):
    network, config, image = case
    maps = map_lifetimes(image)
    assert {item["name"] for item in maps} >= {"input"} | {
        layer.name for layer in network.layers if layer.requantize is not None}
    for index, one in enumerate(maps):
        assert one["base"] + one["words"] <= config.activation_depth
        for two in maps[index + 1:]:
            # Written while the other one is read, or behind that.
            apart = one["last"] is not None and two["first"] > one["last"] or (
                two["last"] is not None and one["first"] > two["last"])
            assert apart or one["base"] + one["words"] <= two["base"] or (
                two["base"] + two["words"] <= one["base"])


def test_machine_is_a_transport():
    with ReferenceMachine(PRESETS["tiny"]) as machine:
        assert isinstance(machine, Transport)
