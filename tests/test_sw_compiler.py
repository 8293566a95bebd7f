"""Compiler: memory contents, sharing, allocation, and what it refuses."""

import dataclasses
import re

import numpy as np
import pytest

from tests.model import evaluate
from tests.networks import binary_format, layer, small_network
from tests.strategies import random_codes
from xnorloom.hw.spec.config import PRESETS, MachineConfig
from xnorloom.hw.spec.cycles import predict_run
from xnorloom.hw.spec.descriptor import descriptor_limits
from xnorloom.hw.spec.memory import Memory
from xnorloom.sw.graph.network import CodeFormat
from xnorloom.sw.machine.driver import Driver
from xnorloom.sw.machine.estimate import estimate, estimate_cycles
from xnorloom.sw.machine.image import Image
from xnorloom.sw.machine.layout import MapLayout
from xnorloom.sw.machine.reference import ReferenceMachine
from xnorloom.sw.passes.allocate import Lifetime, allocate_maps
from xnorloom.sw.passes.compiler import CompileError, DoesNotFit, compile_network

MACHINE = MachineConfig(rows=4, cols=4, lanes=16)


def refused(message, *layers, config=MACHINE, **options):
    with pytest.raises(CompileError, match=message):
        compile_network(small_network(*layers), config, **options)


def changed(item, **fields):
    return dataclasses.replace(item, **fields)


def test_few_channels_are_folded_into_lanes():
    image = compile_network(small_network(), MACHINE)
    folded = image.metadata["input"]["folded"]
    assert folded == {"kernel": [3, 3], "stride": [2, 2], "padding": [1, 1], "pad_code": 0}
    (first, second), taps = image.descriptors(), image.taps(image.descriptors()[0])
    assert (len(taps), first["words"]) == (1, 2)
    assert second["taps_per_group"] == 9
    assert image.layers[0]["folded"]
    assert not image.layers[1]["folded"]


@pytest.mark.parametrize("options", [
    {"grouping": "row"}, {"in_shape": (16, 6, 6)}, {"kernel": (1, 1), "padding": (0, 0)}])
def test_kernels_that_gain_nothing_stay(options):
    image = compile_network(small_network(layer(**options)), MACHINE)
    assert image.metadata["input"]["folded"] is None


def test_batch_is_the_largest_that_fits():
    single = layer(in_shape=(16, 6, 6))
    assert compile_network(small_network(single), MACHINE).batch == 4
    one = compile_network(small_network(single), MACHINE, batch=1).metadata["usage"]["activations"]
    tight = changed(MACHINE, activation_depth=one + 20)
    assert compile_network(small_network(single), tight).batch == 1
    assert compile_network(small_network(single), MACHINE, batch=9).batch == 9


def test_input_map_gives_way_only_where_it_must():
    chain = [layer("a", in_shape=(16, 6, 6), outputs=16)]
    chain += [layer(name, source, chain[0].out_shape, 16) for name, source in ("ba", "cb")]
    whole = compile_network(small_network(*chain), MACHINE, batch=1)
    low = whole.metadata["input"]["base"]
    high = low + 18
    for item in whole.layers:
        base = item["output"]["base"]
        assert base >= high or base + 18 <= low
    tight = changed(MACHINE, activation_depth=whole.metadata["usage"]["activations"] - 1)
    assert compile_network(small_network(*chain), tight, batch=1).metadata["usage"][
        "activations"] == whole.metadata["usage"]["activations"] - 18


def test_maps_that_live_together_do_not_overlap():
    rng = np.random.default_rng(0)
    for _ in range(50):
        lifetimes = []
        for _ in range(8):
            first = int(rng.integers(0, 6))
            lifetimes.append(Lifetime(int(rng.integers(1, 9)), first, first + int(rng.integers(4))))
        places, end = allocate_maps(lifetimes, 3)
        for a, one in zip(places, lifetimes, strict=True):
            assert 3 <= a <= a + one.words <= end
            for b, two in zip(places, lifetimes, strict=True):
                if one is not two and one.last >= two.first and two.last >= one.first:
                    assert a + one.words <= b or b + two.words <= a


def test_equal_tables_and_padding_are_stored_once():
    first = layer("a", in_shape=(16, 6, 6), outputs=16, scales=np.ones((16, 1, 2, 1)))
    second = changed(first, name="b", source="a")
    image = compile_network(small_network(first, second), MACHINE)
    one, two = image.descriptors()
    assert one["tap_base"] == two["tap_base"]
    assert one["pair_base"] == two["pair_base"]
    assert one["pad_base"] == two["pad_base"]
    assert image.metadata["usage"]["taps"] == 9


def test_padding_words_hold_the_pad_code_in_present_channels_only():
    table = np.array([[1, 0], [0, 0], [0, 1], [1, 1]], dtype=np.uint8)
    padded = changed(layer(in_shape=(18, 6, 6), grouping="row"), input_format=CodeFormat(table, 0))
    network = changed(small_network(padded), input_format=padded.input_format)
    image = compile_network(network, MACHINE)
    base = image.descriptors()[0]["pad_base"]
    words = image.memories[Memory.ACTIVATIONS][:, base:base + 4, 0]
    assert words.tolist() == [[0xFFFF, 3, 0, 0]] * 4


def test_thresholds_are_aligned():
    one = layer("a", in_shape=(16, 6, 6), code_bits=1)
    three = layer("b", "a", one.out_shape, activation_planes=1, code_bits=3)
    image = compile_network(small_network(one, three), MACHINE)
    assert [item["threshold_base"] for item in image.descriptors()] == [0, 8]


def test_doubling_shares_passes():
    scales = np.ones((4, 1, 2, 1), dtype=np.int64) << np.arange(2)[:, None]
    single = layer(scales=scales)
    with_doubling = compile_network(small_network(single), MACHINE)
    without = compile_network(small_network(single), changed(MACHINE, doubling=False))
    assert [image.layers[0]["passes"] for image in (with_doubling, without)] == [1, 2]


def test_two_layers_may_read_one_map_alike():
    first = layer("a", in_shape=(16, 6, 6), outputs=16)
    left = changed(first, name="b", source="a")
    right = layer("c", "a", first.out_shape, kernel=(3, 3), seed=4)
    image = compile_network(small_network(first, left, right), MACHINE)
    bases = [item["output"]["base"] for item in image.layers]
    assert len(set(bases)) == 3
    refused(r"Layer 'd' must read 'a' with the stride and pitch of 'b'", first, left,
            layer("d", "a", first.out_shape, stride=(2, 2)))


def test_estimate_equals_the_cycle_model():
    image = compile_network(small_network(), MACHINE)
    model = predict_run(MACHINE, [(item, image.pairs(item)) for item in image.descriptors()])
    rows = estimate(image)
    assert [row["cycles"] for row in rows] == [item.cycles for item in model.layers]
    assert estimate_cycles(image) == model.total
    # 4 images of 4 channels on 3 x 3, 27 inputs each, 2 x 1 plane pairs.
    assert rows[0]["useful"] == 4 * 4 * 9 * 27 * 2
    assert rows[0]["utilization"] == rows[0]["useful"] / (rows[0]["cycles"] * 4 * 4 * 16)
    assert all(0 < row["utilization"] <= 1 for row in rows)


def test_three_by_three_convolution_fills_the_default_machine():
    scales = np.ones((64, 1, 2, 1), dtype=np.int64) << np.arange(2)[:, None]
    conv = layer(in_shape=(64, 16, 16), outputs=64, scales=scales)
    image = compile_network(small_network(conv), PRESETS["default"])
    assert estimate(image)[0]["utilization"] >= 0.95


@pytest.mark.parametrize(("fields", "message"), [
    ({"stride": (8, 1), "out_shape": (4, 1, 6)}, r"'conv' stride must be from 1 to 7 .*\(8, 1\)$"),
    ({"padding": (-1, 1)}, r"'conv' padding must be from 0 to 7"),
    ({"out_shape": (4, 5, 6)}, r"'conv' output shape must be \(4, 6, 6\), not \(4, 5, 6\)$"),
    ({"biases": np.zeros(3, dtype=np.int64)}, r"biases must be of shape \(4,\), not \(3,\)$"),
    ({"scales": np.zeros((4, 1, 1, 1), dtype=np.int64)}, r"'conv' scales must be of shape"),
    ({"source": "nowhere"}, r"'conv' must read the input or a layer before it, not 'nowhere'$"),
    ({"name": "input"}, r"'input' must have a name of its own$"),
    ({"input_format": CodeFormat(np.zeros((3, 2), dtype=np.uint8))}, r"input code table must have"),
    ({"input_format": binary_format(2, 4)}, r"input pad code must be from 0 to 3, not 4$"),
])
def test_layers_that_contradict_themselves_are_refused(fields, message):
    refused(message, changed(layer(), **fields))


@pytest.mark.parametrize(("options", "message"), [
    ({"in_shape": (1, 12, 12), "kernel": (8, 1)}, r"kernel must be from 1 to 7 .* not \(8, 1\)$"),
    ({"in_shape": (1, 256, 2)}, r"input map must be from 1 to 255 in each .* not \(256, 2\)$"),
    ({"weight_planes": 9}, r"weight planes must be from 1 to 8, not 9$"),
    ({"activation_planes": 9}, r"input code table must have shape .* k from 1 to 8"),
    ({"code_bits": 5}, r"activation bits must be at most 4 on this machine .*, not 5$"),
])
def test_layers_beyond_reach_are_refused(options, message):
    refused(rf"Layer 'conv' {message}", layer(**options))


def test_falling_staircase_is_refused():
    item = layer()
    falling = dataclasses.replace(item.requantize, thresholds=-item.requantize.thresholds)
    refused("Layer 'conv' thresholds must be rising", changed(item, requantize=falling))


def test_shapes_formats_and_raw_sources_must_match():
    first = layer("a", code_bits=2)
    refused(r"'b' input shape must be that of its source 'a', \(4, 6, 6\), not \(5, 6, 6\)$", first,
            layer("b", "a", (5, 6, 6)))
    refused("'b' input code table must be that of its source 'a'", first,
            layer("b", "a", first.out_shape, activation_planes=3))
    refused("'b' must read codes, not the raw accumulators of 'a'", layer("a", code_bits=None),
            layer("b", "a", first.out_shape))


@pytest.mark.parametrize("batch", [0, -1, 1.5, True])
def test_batch_must_be_a_number_of_images(batch):
    refused("Batch must be an integer of at least 1", batch=batch)


def test_accumulator_overflow_names_the_layer_and_the_bits():
    scales = np.full((4, 1, 2, 1), 30000)
    # 27 inputs, equal scales of two planes: up to 54 mismatches of 30000 each.
    item = changed(layer(scales=scales), biases=np.zeros(4, dtype=np.int64))
    refused(r"Layer 'conv' accumulator must fit in 20 bits, but can reach 0..1620000: 2 bits are",
            item, config=changed(MACHINE, acc_bits=20))
    compile_network(small_network(item), changed(MACHINE, acc_bits=22))


def test_accumulator_limits_are_exact():
    def item(scale, bias, code_bits=None):
        single = layer("linear", in_shape=(1, 1, 1), outputs=1, kernel=(1, 1), padding=(0, 0),
                       activation_planes=1, code_bits=code_bits, scales=[[[[scale]]]])
        return changed(single, biases=np.array([bias]))

    config = changed(MACHINE, acc_bits=8)
    for scale, bias, code_bits in ((100, 27, None), (-100, -28, None), (100, 26, 1)):
        compile_network(small_network(item(scale, bias, code_bits)), config)
    for scale, bias, code_bits in ((100, 28, None), (-100, -29, None), (100, 27, 1)):
        refused("1 bits are missing", item(scale, bias, code_bits), config=config)


def test_scales_must_fit():
    refused(r"Layer 'conv' scales must fit in 16 bits, but need 17: 1 bits are missing",
            layer(scales=np.full((4, 1, 2, 1), 1 << 15)))
    compile_network(small_network(layer(scales=np.full((4, 1, 2, 1), -1 << 15))), MACHINE)


def test_count_must_fit():
    refused(r"Layer 'conv' must count at most 127 mismatches .* not 144 \(needs count_bits 8\)",
            layer(in_shape=(16, 6, 6)), config=changed(MACHINE, count_bits=7))


@pytest.mark.parametrize("memory", ["activation", "weight", "scale", "bias", "threshold", "tap",
                                    "pair", "program"])
def test_memory_that_is_too_small_is_named(memory):
    layers, source = [], None
    for index in range(3):
        layers.append(layer(f"l{index}", source.name if source else "input",
                            source.out_shape if source else (16, 6, 6), 16, weight_planes=2,
                            seed=index))
        source = layers[-1]
    whole = compile_network(small_network(*layers), MACHINE, batch=1).metadata["usage"]
    used = {name.rstrip("s"): value for name, value in whole.items()}
    used["bias"] = whole["biases"]
    depth = {"activation": 20}.get(memory, max(2, used[memory] - 1))
    depth = max(depth, 32) if memory == "program" else depth
    with pytest.raises(DoesNotFit) as caught:
        compile_network(small_network(*layers), changed(MACHINE, **{f"{memory}_depth": depth}))
    error = caught.value
    assert error.what.lower().startswith(memory)
    assert error.have == depth
    assert f"at least {error.need} entries per bank, not {depth}: {error.need - depth} too few" in (
        str(error))
    assert re.search(r"; preset '(tiny|small|default|wide)' fits$", str(error))


def test_no_preset_fits_what_is_too_large_for_all():
    huge = layer(in_shape=(512, 32, 32), outputs=512)
    refused(r"too few; no preset fits$", huge, config=PRESETS["tiny"])


@pytest.mark.parametrize(("height", "width", "stride", "kernel", "channels"), [
    (1, 2, (1, 7), (1, 1), 160), (1, 2, (1, 7), (1, 2), 160), (1, 7, (7, 7), (1, 1), 40),
    (2, 1, (7, 7), (2, 1), 40), (2, 2, (7, 1), (1, 1), 160), (2, 2, (1, 1), (1, 1), 160)])
def test_a_phase_step_never_taken_is_no_reason_to_refuse(height, width, stride, kernel, channels):
    tiny = PRESETS["tiny"]
    first = layer("first", in_shape=(1, height, width), outputs=channels, kernel=(1, 1),
                  padding=(0, 0), activation_planes=1)
    network = small_network(first, layer("second", "first", first.out_shape, 3, kernel=kernel,
                                         stride=stride, padding=(0, 0), code_bits=None, seed=1))
    batch = 8 if height * width <= 2 else 1
    image = compile_network(network, tiny, batch=batch)
    layout = MapLayout(**image.layers[0]["output"]["layout"])
    step, most = stride[1] * layout.phase_words, descriptor_limits(tiny)["out_phase_y"][1]
    assert image.descriptors()[0]["out_phase_y"] == (step if step <= most else 0)
    codes = random_codes(network, batch)
    driver = Driver(ReferenceMachine(tiny), Image.from_bytes(image.to_bytes()))
    driver.load()
    result, wanted = driver.run(codes, observe=True), evaluate(network, codes)
    for name, values in result.maps.items():
        np.testing.assert_array_equal(values, wanted[name])


def test_exponents_of_channels_are_for_layers_with_thresholds():
    coded, raw = layer(), layer(code_bits=None)
    network = small_network(dataclasses.replace(coded, frac_bits=np.arange(4) - 1))
    assert compile_network(network, MACHINE).layers[0]["frac_bits"] == [-1, 0, 1, 2]
    for each, wrong, demand in ((raw, np.arange(4), "one integer, not "),
                                (coded, np.arange(3), "one integer, or one of each of 4 channels"),
                                (coded, 0.5, "one integer, or one of each of 4 channels, not 0.5")):
        refused(f"Layer 'conv' frac_bits must be {demand}",
                dataclasses.replace(each, frac_bits=wrong))
