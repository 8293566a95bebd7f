"""Compiler: memory contents, sharing, allocation, and what it refuses."""

import dataclasses
import re

import numpy as np
import pytest

from tests.networks import binary_format, identity, layer, small_network, term
from tests.strategies import random_codes
from xnorloom.hw.spec.config import PRESETS, MachineConfig
from xnorloom.hw.spec.cycles import predict_run
from xnorloom.hw.spec.descriptor import RESCALE_SHIFTS
from xnorloom.hw.spec.latency import pool_cycles
from xnorloom.hw.spec.memory import Memory
from xnorloom.sw.graph.evaluate import evaluate
from xnorloom.sw.graph.network import CodeFormat, Pool, Rescale
from xnorloom.sw.machine.driver import Driver
from xnorloom.sw.machine.estimate import estimate, estimate_cycles
from xnorloom.sw.machine.image import Image
from xnorloom.sw.machine.layout import MapLayout
from xnorloom.sw.machine.reference import ReferenceMachine
from xnorloom.sw.machine.walk import turns_needed
from xnorloom.sw.passes.allocate import Lifetime, allocate_maps
from xnorloom.sw.passes.compiler import CompileError, DoesNotFit, compile_network

MACHINE = MachineConfig(rows=4, cols=4, lanes=16)
NONE = (0, 0, 0, 0)


def refused(message, *layers, config=MACHINE, in_shape=(3, 6, 6), planes=2, **options):
    with pytest.raises(CompileError, match=message):
        compile_network(small_network(*layers, in_shape=in_shape, planes=planes), config, **options)


def changed(item, **fields):
    return dataclasses.replace(item, **fields)


def with_term(item, **fields):
    """The layer with another first term."""
    first = changed(item.terms[0], **fields)
    return changed(item, terms=(first, *item.terms[1:]))


def runs_exactly(network, config=MACHINE, **options):
    """Compiles, loads from bytes, runs, and holds every map against the formula; the image."""
    image = Image.from_bytes(compile_network(network, config, **options).to_bytes())
    codes = random_codes(network, image.batch + 1)
    driver = Driver(ReferenceMachine(config), image)
    driver.load()
    result, wanted = driver.run(codes, observe=True), evaluate(network, codes)
    for name, values in result.maps.items():
        np.testing.assert_array_equal(values, wanted[name], err_msg=name)
    return image


def test_few_channels_are_folded_into_lanes():
    image = runs_exactly(small_network())
    folded = image.metadata["input"]["folded"]
    assert folded == {"kernel": [3, 3], "stride": [2, 2], "dilation": [1, 1],
                      "padding": [1, 1, 1, 1], "pad_code": 0}
    ((first,),), ((second,),) = (image.terms(each) for each in image.descriptors())
    assert (len(image.taps(first)), first["words"]) == (1, 2)
    assert second["taps_per_group"] == 9
    assert image.layers[0]["terms"][0]["folded"]
    assert not image.layers[1]["terms"][0]["folded"]


def test_a_dilated_kernel_with_a_code_around_is_folded():
    item = layer(padding=(2, 1, 0, 3), dilation=(2, 1), pad_code=3)
    image = runs_exactly(small_network(item))
    assert image.metadata["input"]["folded"]["dilation"] == [2, 1]


@pytest.mark.parametrize("options", [
    {"grouping": "row"}, {"in_shape": (16, 6, 6)}, {"kernel": (1, 1), "padding": NONE},
    {"border": np.zeros((4, 3, 3), dtype=np.int64)},
    {"terms": (term("input", 3, 4, padding=(1, 1, 1, 1)),)}])
def test_kernels_that_gain_nothing_stay(options):
    item = layer(**options)
    image = runs_exactly(small_network(item, in_shape=options.get("in_shape", (3, 6, 6))))
    assert image.metadata["input"]["folded"] is None


def test_batch_is_the_largest_that_fits():
    network = small_network(layer(in_shape=(16, 6, 6)), in_shape=(16, 6, 6))
    assert compile_network(network, MACHINE).batch == 4
    one = compile_network(network, MACHINE, batch=1).metadata["usage"]["activations"]
    tight = changed(MACHINE, activation_depth=one + 20)
    assert compile_network(network, tight).batch == 1
    assert compile_network(network, MACHINE, batch=9).batch == 9


def test_input_map_gives_way_only_where_it_must():
    chain = [layer("a", in_shape=(16, 6, 6), outputs=16)]
    chain += [layer(name, source, chain[0].out_shape, 16) for name, source in ("ba", "cb")]
    network = small_network(*chain, in_shape=(16, 6, 6))
    whole = compile_network(network, MACHINE, batch=1)
    low = whole.metadata["input"]["base"]
    high = low + 18
    for item in whole.layers:
        base = item["output"]["base"]
        assert base >= high or base + 18 <= low
    tight = changed(MACHINE, activation_depth=whole.metadata["usage"]["activations"] - 1)
    assert compile_network(network, tight, batch=1).metadata["usage"]["activations"] == (
        whole.metadata["usage"]["activations"] - 18)


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
    second = with_term(changed(first, name="b"), source="a")
    image = compile_network(small_network(first, second, in_shape=(16, 6, 6)), MACHINE)
    one, two = (image.terms(each)[0][0] for each in image.descriptors())
    assert one["tap_base"] == two["tap_base"]
    assert one["pair_base"] == two["pair_base"]
    assert one["pad_base"] == two["pad_base"]
    assert image.metadata["usage"]["taps"] == 9


def test_padding_words_hold_the_pad_code_in_present_channels_only():
    table = np.array([[1, 0], [0, 0], [0, 1], [1, 1]], dtype=np.uint8)
    padded = layer(in_shape=(18, 6, 6), grouping="row")
    network = changed(small_network(padded, in_shape=(18, 6, 6)), input_format=CodeFormat(table))
    image = compile_network(network, MACHINE)
    base = image.terms(image.descriptors()[0])[0][0]["pad_base"]
    words = image.memories[Memory.ACTIVATIONS][:, base:base + 4, 0]
    assert words.tolist() == [[0xFFFF, 3, 0, 0]] * 4


def test_doubling_shares_passes():
    scales = np.ones((4, 1, 2, 1), dtype=np.int64) << np.arange(2)[:, None]
    network = small_network(layer(scales=scales))
    with_doubling = compile_network(network, MACHINE)
    without = compile_network(network, changed(MACHINE, doubling=False))
    assert [image.layers[0]["passes"] for image in (with_doubling, without)] == [1, 2]


def test_lines_are_made_longer_where_that_skips_tiles():
    # 6 columns of a map of 8 and more: 5 x 3 tiles of 2 lines skipped, or 8 x 6 virtual pixels.
    wide = layer("wide", in_shape=(16, 6, 9), kernel=(1, 5), padding=NONE)
    image = runs_exactly(small_network(wide, in_shape=(16, 6, 9)), batch=1)
    fields = image.descriptors()[0]
    assert image.metadata["input"]["layout"]["pitch_x"] == 12
    assert (fields["walk"], fields["line_tiles"], fields["line_skip"]) == (8, 2, 1)
    assert fields["pixel_tiles"] == 12
    # Where nothing is gained lines stay as they are.
    image = runs_exactly(small_network(layer(in_shape=(16, 6, 6)), in_shape=(16, 6, 6)), batch=1)
    assert image.metadata["input"]["layout"]["pitch_x"] == 6
    assert image.descriptors()[0]["pixel_tiles"] == 9


def test_lines_are_made_longer_where_writing_them_holds_the_layer_up():
    def shapes(planes):
        form = layer("a", in_shape=(16, 5, 7), outputs=16, kernel=(1, 1), padding=NONE,
                     activation_planes=planes, code_bits=4)
        second = layer("b", "a", (16, 5, 7), outputs=16, kernel=(3, 3), padding=(1, 1, 3, 0),
                       activation_planes=4)
        image = runs_exactly(small_network(form, second, in_shape=(16, 5, 7), planes=planes),
                             batch=1)
        fields = image.descriptors()[0]
        return image.metadata["input"]["layout"]["pitch_x"], fields["turns"]

    # Lines of 7 share tiles, and their reader has longer ones: 2 turns of 4 planes.
    assert shapes(1) == (8, 1)
    # With more steps than that there is nothing to gain.
    assert shapes(8)[0] == 7 and shapes(8)[1] > 1


def test_longer_lines_give_way_where_memory_is_short():
    wide = layer("wide", in_shape=(16, 6, 9), kernel=(1, 5), padding=NONE)
    network = small_network(wide, in_shape=(16, 6, 9))
    used = compile_network(network, MACHINE, batch=1).metadata["usage"]["activations"]
    tight = compile_network(network, changed(MACHINE, activation_depth=used - 1), batch=1)
    assert tight.metadata["input"]["layout"]["pitch_x"] == 9


def test_terms_of_a_layer_share_their_pitch():
    first = layer("a", in_shape=(16, 6, 6), outputs=16, code_bits=1)
    second = layer("b", "a", (16, 6, 6), 16, kernel=(3, 5), padding=(1, 1, 0, 0),
                   activation_planes=1)
    both = layer("c", "b", (16, 6, 2), 8, kernel=(1, 1), padding=NONE,
                 terms=(term("a", 16, 8, (6, 5), 1, padding=(0, 5, 0, 0)),))
    image = runs_exactly(small_network(first, second, both, in_shape=(16, 6, 6)), batch=1)
    pitches = {layer["output"]["layout"]["pitch_x"] for layer in image.layers[:2]}
    assert len(pitches) == 1


def test_images_fill_the_rows_of_a_linear_layer():
    network = small_network(layer("fc", in_shape=(40, 1, 1), outputs=8, kernel=(1, 1),
                                  padding=NONE, code_bits=None), in_shape=(40, 1, 1))
    image = runs_exactly(network, batch=8)
    assert image.descriptors()[0]["pixel_tiles"] == 2


def test_a_linear_layer_reads_a_map_of_any_stride():
    first = layer("a", in_shape=(3, 8, 8), outputs=16)
    strided = layer("b", "a", (16, 8, 8), 4, stride=(2, 2))
    linear = layer("c", "a", (16, 8, 8), 10, kernel=(8, 8), padding=NONE, code_bits=None)
    image = runs_exactly(small_network(first, strided, linear, in_shape=(3, 8, 8)))
    assert not any(item["copy"] for item in image.layers)
    assert image.layers[0]["output"]["layout"]["stride_x"] == 2


def test_a_map_read_with_two_strides_is_copied():
    table = np.array([[1, 0], [0, 0], [0, 1], [1, 1]], dtype=np.uint8)
    first = changed(layer("a", in_shape=(16, 6, 6), outputs=16), format=CodeFormat(table))
    left = layer("d", "a", (16, 6, 6), stride=(2, 2), pad_code=0)
    image = runs_exactly(small_network(
        first, layer("b", "a", (16, 6, 6)), left, layer("c", "a", (16, 6, 6), stride=(3, 3),
                                                        padding=(2, 1, 0, 0)),
        in_shape=(16, 6, 6)))
    assert [item["name"] for item in image.layers if item["copy"]] == ["a.copy2", "a.copy1"]
    # A copy is not what the network is for.
    assert [row["utilization"] == 0 for row in estimate(image)] == [
        item["copy"] for item in image.layers]


def test_wide_codes_are_copied_by_multiplication_or_not_at_all():
    layers = (layer("b", in_shape=(3, 6, 6), activation_planes=8, scales=np.ones((4, 1, 8, 1))),
              layer("c", in_shape=(3, 6, 6), activation_planes=8, stride=(2, 2)))
    runs_exactly(small_network(*layers, planes=8))
    refused("Layer 'input' map must be read with one stride where it has 8 planes, which this "
            "machine cannot copy, not with several", *layers, planes=8,
            config=changed(MACHINE, rescale=False))


def test_blocks_of_whole_words_read_their_own_words():
    grouped = layer("g", in_shape=(64, 4, 4), outputs=16, kernel=(3, 3), blocks=2, code_bits=None)
    image = runs_exactly(small_network(grouped, in_shape=(64, 4, 4)))
    fields = image.descriptors()[0]
    terms = image.terms(fields)
    assert (fields["term_period"], len(terms)) == (2, 2)
    assert [each[0]["words"] for each in terms] == [2, 2]
    assert terms[1][0]["activation_base"] - terms[0][0]["activation_base"] == 2
    # Each plane once: as many words as a dense layer of half the channels.
    assert fields["col_tile_words"] == 9 * 2


def test_a_shortcut_reads_one_word_with_two_planes_of_half_a_scale():
    first = layer("a", in_shape=(32, 4, 4), outputs=32)
    second = layer("b", "a", (32, 4, 4), 32, terms=(identity("a", 32, 2, scale=6),))
    image = runs_exactly(small_network(first, second, in_shape=(32, 4, 4)))
    fields = image.descriptors()[1]
    assert fields["term_period"] == MACHINE.granules
    (_dense, shortcut), (_, other) = image.terms(fields)
    assert (shortcut["words"], shortcut["pairs"]) == (1, 4)
    assert other["activation_base"] - shortcut["activation_base"] == 1
    assert image.layers[1]["extra_bits"] == 0


def test_odd_scales_of_a_shortcut_double_the_layer():
    first = layer("a", in_shape=(32, 4, 4), outputs=32)
    for code_bits in (2, None):
        second = layer("b", "a", (32, 4, 4), 32, terms=(identity("a", 32, 2, scale=3),),
                       code_bits=code_bits)
        image = runs_exactly(small_network(first, second, in_shape=(32, 4, 4)))
        assert image.layers[1]["extra_bits"] == 1


@pytest.mark.parametrize("last", ["staircase", "rescale", "raw"])
def test_what_a_shortcut_adds_too_much_behind_a_relu_is_taken_back(last):
    first = layer("a", in_shape=(32, 4, 4), outputs=32)
    second = layer("b", "a", (32, 4, 4), 32, terms=(identity("a", 32, 2, scale=1000, relu=True),),
                   code_bits=2 if last == "staircase" else None)
    if last == "rescale":
        ones = np.ones(32, dtype=np.int64)
        second = changed(second, requantize=Rescale(3 * ones, 40 * ones, 7, 4, 5),
                         format=binary_format(5))
    image = runs_exactly(small_network(first, second, in_shape=(32, 4, 4)))
    # Thresholds are moved, which costs nothing; else a constant is streamed.
    assert image.layers[1]["constants"] == ([] if last == "staircase" else [2])


def test_true_zeros_are_biases_of_border_classes():
    rng = np.random.default_rng(0)
    item = layer(in_shape=(16, 6, 7), border=rng.integers(-99, 99, (4, 3, 3)))
    network = small_network(item, in_shape=(16, 6, 7))
    image = runs_exactly(network)
    fields = image.descriptors()[0]
    assert [fields[f"border_{side}"] for side in ("top", "bottom", "left", "right")] == [1] * 4
    assert fields["block"] == 16 + 3
    for wrong, config, message in (
            (item, changed(MACHINE, border_classes=False),
             "'conv' must not have true zeros outside its map on a machine without border_classes"),
            (changed(item, terms=(term("input", 16, 4, padding=(1, 1, 1, 1)),
                                  changed(item.terms[0], relu=True))), MACHINE,
             r"'conv' must not add a term with true zeros outside its map \('input'\) behind a r"),
            (layer(in_shape=(16, 6, 7), kernel=(5, 5), padding=(2, 2, 2, 2),
                   border=np.ones((4, 5, 5), dtype=np.int64)), MACHINE,
             "'conv' lines must see true zeros in at most 4 ways, .* alike, not in 5$")):
        refused(message, wrong, config=config, in_shape=(16, 6, 7))


def test_neighbours_of_a_strided_map_are_written_at_once():
    first = layer("a", in_shape=(16, 8, 8), outputs=16)
    second = layer("b", "a", (16, 8, 8), stride=(2, 2))
    image = runs_exactly(small_network(first, second, in_shape=(16, 8, 8)), batch=1)
    layout = MapLayout(**image.layers[0]["output"]["layout"])
    assert (layout.stride_x, layout.phase_x_banks) == (2, 2)
    assert image.descriptors()[0]["turns"] == 1
    # All rows in one turn, unless neighbours meet in a bank.
    one = np.zeros(4, dtype=int), np.arange(4), np.zeros(4, dtype=int), np.arange(4)
    assert turns_needed(layout, one, 4) == 1
    assert turns_needed(changed(layout, phase_x_banks=0), one, 4) == 4


@pytest.mark.parametrize("pool", [
    Pool("max", (2, 2), (2, 2)), Pool("max", (3, 3), (2, 2), (1, 1, 1, 1)),
    Pool("sum", (7, 7), (1, 1)), Pool("max", (2, 3), (3, 1), (0, 1, 1, 1)),
    Pool("sum", (3, 3), (3, 3), (1, 1, 1, 1))])
def test_pools_leave_what_torch_makes_of_them(pool):
    first = layer("a", in_shape=(16, 7, 7), outputs=16, pool=pool)
    second = layer("b", "a", first.out_shape, kernel=(1, 1), padding=NONE, code_bits=None,
                   activation_planes=first.format.planes)
    for batch in (1, 3):
        image = runs_exactly(small_network(first, second, in_shape=(16, 7, 7)), batch=batch)
        fields = image.descriptors()[0]
        windows = fields["pool_open_x"] * fields["pool_open_y"]
        assert fields["pool_cycles"] == pool_cycles(fields["map_bits"], windows)
        assert fields["tile_cycles"] == 4 * fields["pool_cycles"]


def test_estimate_equals_the_cycle_model():
    image = compile_network(small_network(), MACHINE)
    model = predict_run(MACHINE, [
        (item, [[(each, image.pairs(each)) for each in terms] for terms in image.terms(item)])
        for item in image.descriptors()])
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
    image = compile_network(small_network(conv, in_shape=(64, 16, 16)), PRESETS["default"])
    assert estimate(image)[0]["utilization"] >= 0.95


@pytest.mark.parametrize(("fields", "message"), [
    ({"stride": (16, 1)}, r"'conv' stride must be from 1 to 15 .*\(16, 1\)$"),
    ({"dilation": (0, 1)}, r"'conv' dilation must be from 1 to 4095 .*\(0, 1\)$"),
    ({"padding": (-1, 1, 0, 0)}, r"'conv' padding must be from 0 to 4095 .*, not \(-1, 1, 0, 0\)$"),
    ({"padding": (1, 1)}, r"'conv' padding must be from 0 to 4095 .*, not \(1, 1\)$"),
    ({"padding": (1, 1, 1, 2)}, r"output map must be that of its layer, \(6, 6\), not \(6, 7\)$"),
    ({"dilation": (9, 9)}, r"'conv' kernel must be within its padded map, 8 x 8, not \(3, 3\)$"),
    ({"scales": np.zeros((4, 1, 1, 1), dtype=np.int64)}, r"'conv' scales must be of shape"),
    ({"source": "nowhere"}, r"'conv' must read the input or a layer before it, not 'nowhere'$"),
    ({"pad_code": 4}, r"'conv' padding code must be from 0 to 3, not 4$"),
    ({"grouping": "kernel"}, r"'conv' grouping must be one of layer, row, pixel, not 'kernel'$"),
    ({"blocks": 2}, r"'conv' blocks must be a divisor of 4 outputs and 3 inputs, not 2$"),
    ({"border": np.zeros((4, 3, 1), dtype=np.int64)},
     r"'conv' border must be of shape \(4, 3, 3\), not \(4, 3, 1\)$"),
    ({"weights": np.full((1, 4, 3, 3, 3), 2)}, r"'conv' weights must be bits of shape"),
])
def test_terms_that_contradict_themselves_are_refused(fields, message):
    refused(message, with_term(layer(), **fields))


@pytest.mark.parametrize(("fields", "message"), [
    ({"biases": np.zeros(3, dtype=np.int64)}, r"outputs must be those of its biases, 3, not 4$"),
    ({"biases": np.zeros(4)}, r"biases must be a list of one integer of each output, not \(4,\)$"),
    ({"name": "input"}, r"'input' must have a name of its own$"),
    ({"terms": ()}, r"'conv' number of terms must be from 1 to 15, not 0$"),
    ({"map": (4096, 1)}, r"map must be from 1 to 4095 in each direction, not \(4096, 1\)$"),
    ({"format": None}, r"'conv' code table must be given, not None$"),
    ({"format": binary_format(3)}, r"'conv' code table must be of codes of 2 bits, not 3$"),
    ({"format": CodeFormat(np.zeros((3, 2)))}, r"'conv' output code table must have shape "),
    ({"pool": Pool("min", (2, 2), (2, 2))}, r"pooling must be 'max' or 'sum', not 'min'$"),
    ({"pool": Pool("max", (16, 2), (2, 2))}, r"window must be from 1 to 15 .* not \(16, 2\)$"),
    ({"pool": Pool("max", (2, 2), (0, 2))}, r"stride must be from 1 to 15 .* not \(0, 2\)$"),
    ({"pool": Pool("max", (2, 2), (2, 2), (2, 0, 0, 0))}, r"less than its window, not \(2, "),
    ({"pool": Pool("max", (7, 7), (2, 2))}, r"window must be within its padded map, not \(7, 7\)$"),
    ({"pool": Pool("sum", (6, 6), (2, 2))}, r"code table must be of codes of 7 bits, not 2$"),
])
def test_layers_that_contradict_themselves_are_refused(fields, message):
    refused(message, changed(layer(), **fields))


@pytest.mark.parametrize(("options", "message"), [
    ({"weight_planes": 17}, r"weight planes must be from 1 to 16, not 17$"),
    ({"code_bits": 5}, r"activation bits must be at most 4 by thresholds on this machine, not 5$"),
    ({"pool": Pool("sum", (15, 15), (15, 15), (7, 7, 7, 7))},
     "bits of pooled codes must be at most 8, not 10$"),
])
def test_layers_beyond_reach_are_refused(options, message):
    refused(rf"Layer 'conv' {message}", layer(**options))


def test_what_a_machine_was_built_without_is_refused():
    pooled = layer(pool=Pool("max", (2, 2), (2, 2)))
    refused(r"pooling must be left out on a machine without a pool \(pool_depth 0\), not 'max'$",
            pooled, config=changed(MACHINE, pool_depth=0))
    rescaled = changed(layer(), requantize=Rescale(*np.ones((2, 4), dtype=np.int64), 4, 16, 2))
    refused("re-quantization must be by thresholds on a machine without rescale, not 'by multipl",
            rescaled, config=changed(MACHINE, rescale=False))


def test_a_pixel_lies_in_so_many_windows_only():
    item = layer("conv", in_shape=(3, 8, 8), pool=Pool("max", (8, 8), (1, 1)))
    refused("cycles of a pooled pixel must be at most 63, not 64$", item, in_shape=(3, 8, 8))
    item = layer("conv", in_shape=(3, 8, 8), pool=Pool("max", (7, 8), (1, 1)))
    runs_exactly(small_network(item, in_shape=(3, 8, 8)))


def test_a_pool_that_is_too_small_is_named_and_asks_for_fewer_images():
    item = layer("conv", in_shape=(3, 8, 8), pool=Pool("max", (3, 3), (2, 2), (1, 1, 1, 1)))
    network = small_network(item, in_shape=(3, 8, 8))
    # Two open lines of 4 windows, of every image.
    assert compile_network(network, changed(MACHINE, pool_depth=23)).batch == 2
    with pytest.raises(DoesNotFit, match=r"^Pool memory of machine 'custom', for layer 'conv', for "
                       r"network 'small', must have at least 8 entries per bank, not 7: 1 too few"):
        compile_network(network, changed(MACHINE, pool_depth=7))


def test_falling_staircase_is_refused():
    item = layer()
    falling = dataclasses.replace(item.requantize, thresholds=-item.requantize.thresholds)
    refused("Layer 'conv' thresholds must be rising", changed(item, requantize=falling))


def test_sources_must_match():
    first = layer("a", code_bits=2)
    refused("'b' weight inputs must be the channels of a block of its source 'a', 4, not 5$",
            first, layer("b", "a", (5, 6, 6)))
    refused(r"'b' scales must be of shape \(4, 1, 2, 1\), not \(4, 1, 3, 1\)$", first,
            layer("b", "a", first.out_shape, activation_planes=3))
    refused("'b' must read codes, not the raw accumulators of 'a'", layer("a", code_bits=None),
            layer("b", "a", first.out_shape))
    refused("'b' term 1 outputs must be those of its biases, 4, not 5$", first, layer(
        "b", "a", first.out_shape, terms=(term("a", 4, 5, padding=(1, 1, 1, 1)),)))


def test_networks_must_read_their_input():
    empty = changed(small_network(), layers=())
    with pytest.raises(CompileError, match="^Network 'small' must have at least one layer$"):
        compile_network(empty, MACHINE)
    wrong = changed(small_network(), in_shape=(3, 6))
    with pytest.raises(CompileError, match="^Network 'small' input shape must be channels, "):
        compile_network(wrong, MACHINE)
    form = CodeFormat(np.zeros((4, 3), dtype=np.uint8))
    with pytest.raises(CompileError, match="^Network 'small' input code table must have shape "):
        compile_network(changed(small_network(), input_format=form), MACHINE)


@pytest.mark.parametrize("batch", [0, -1, 1.5, True])
def test_batch_must_be_a_number_of_images(batch):
    refused("Batch must be an integer of at least 1", layer(), batch=batch)


def test_a_field_that_is_too_narrow_names_layer_and_field():
    item = layer("fc", in_shape=(1, 1, 1), outputs=1, kernel=(1, 1), padding=NONE)
    refused("Layer 'fc' is beyond the machine's reach: descriptor field 'images' must be from 1 to "
            "4095, not 4096$", item, in_shape=(1, 1, 1), batch=4096,
            config=changed(MACHINE, activation_depth=8192))


def test_accumulator_overflow_names_the_layer_and_the_bits():
    scales = np.full((4, 1, 2, 1), 30000)
    # 27 inputs, equal scales of two planes: up to 54 mismatches of 30000 each.
    item = changed(layer(scales=scales), biases=np.zeros(4, dtype=np.int64))
    refused(r"Layer 'conv' accumulator must fit in 20 bits, but can reach 0..1620000: 2 bits are",
            item, config=changed(MACHINE, acc_bits=20))
    compile_network(small_network(item), changed(MACHINE, acc_bits=22))


def test_accumulator_limits_are_exact():
    def item(scale, bias, code_bits=None):
        single = layer("linear", in_shape=(1, 1, 1), outputs=1, kernel=(1, 1), padding=NONE,
                       activation_planes=1, code_bits=code_bits, scales=[[[[scale]]]])
        return changed(single, biases=np.array([bias]))

    config = changed(MACHINE, acc_bits=8, rescale=False)
    for scale, bias, code_bits in ((100, 27, None), (-100, -28, None), (100, 26, 1)):
        network = small_network(item(scale, bias, code_bits), in_shape=(1, 1, 1), planes=1)
        compile_network(network, config)
    for scale, bias, code_bits in ((100, 28, None), (-100, -29, None), (100, 27, 1)):
        refused("1 bits are missing", item(scale, bias, code_bits), config=config,
                in_shape=(1, 1, 1), planes=1)


def test_a_relu_bounds_what_comes_before_it():
    def item(relu):
        single = layer("linear", in_shape=(1, 1, 1), outputs=1, kernel=(1, 1), padding=NONE,
                       activation_planes=1, code_bits=None, scales=[[[[-100]]]],
                       terms=(term("input", 1, 1, (1, 1), 1, scales=[[[[-100]]]], relu=relu),))
        return changed(single, biases=np.array([0]))

    config = changed(MACHINE, acc_bits=8, rescale=False)
    compile_network(small_network(item(True), in_shape=(1, 1, 1), planes=1), config)
    refused("can reach -200..0: 1 bits are missing", item(False), config=config,
            in_shape=(1, 1, 1), planes=1)


@pytest.mark.parametrize(("fields", "message"), [
    ({"shift": 4}, r"accumulators behind the shift must fit in 10 bits, but can reach 0..1600: 2 "),
    ({"multipliers": [1 << 15]}, r"multipliers must fit in 16 bits, but can reach 32768..32768: "),
    ({"addends": [1 << 19]}, r"addends must fit in 20 bits, but can reach 524288..524288: "),
    ({"multipliers": [8], "down": 4}, "multipliers must fit in 16 bits, but can reach 32768"),
    ({"shift": 14}, r"shift must be from 0 to 12, not 14$"),
    ({"down": 17}, r"down must be from 0 to 16, not 17$"),
    ({"bits": 9}, r"activation bits must be from 1 to 8, not 9$"),
    ({"addends": [1, 2]}, r"addends must be of shape \(1,\), not \(2,\)$"),
])
def test_codes_by_multiplication_are_proven(fields, message):
    rescale = {"multipliers": [3], "addends": [7], "shift": 9, "down": 16, "bits": 3} | fields
    rescale |= {key: np.array(rescale[key]) for key in ("multipliers", "addends")}
    item = layer("fc", in_shape=(256, 1, 1), outputs=1, kernel=(1, 1), padding=NONE,
                 activation_planes=1, scales=[[[[100]]]])
    item = changed(item, biases=np.array([0]), requantize=Rescale(**rescale),
                   format=binary_format(3))
    refused(f"'fc' {message}", item, in_shape=(256, 1, 1), planes=1,
            config=changed(MACHINE, acc_bits=20, count_bits=9))


@pytest.mark.parametrize("shift", [0, 3, 4, 7, 12])
@pytest.mark.parametrize("down", [11, 16])
def test_accumulators_are_lifted_to_a_shift_that_the_machine_has(shift, down):
    rng = np.random.default_rng(shift)
    item = layer(in_shape=(16, 6, 6), code_bits=None, scales=rng.integers(100, 200, (4, 1, 2, 1)))
    low, steps = 100 * 144 >> shift, (300 * 144 >> shift) / 255
    factors = np.full(4, max(1, min(1000, int(2 ** down / steps))))
    item = changed(item, requantize=Rescale(factors, -factors * low, shift, down, 8),
                   format=binary_format(8))
    wide = changed(MACHINE, count_bits=17, acc_bits=32)
    image = runs_exactly(small_network(item, in_shape=(16, 6, 6)), wide)
    (fields,), (described,) = image.descriptors(), image.layers
    assert RESCALE_SHIFTS[fields["shift"]] == shift + described["extra_bits"]
    assert described["extra_bits"] == {0: 4, 3: 1, 4: 0, 7: 1, 12: 0}[shift]


def test_a_lifted_accumulator_must_still_be_shifted_back():
    item = layer("b", "a", (32, 6, 6), 32, terms=(identity("a", 32, 2, scale=3),),
                 code_bits=None)
    ones = np.ones(32, dtype=np.int64)
    item = changed(item, requantize=Rescale(ones, ones, 12, 16, 2), format=binary_format(2))
    refused(r"Layer 'b' shift must be at most 11, not 12$",
            layer("a", in_shape=(32, 6, 6), outputs=32), item, in_shape=(32, 6, 6))


def test_scales_must_fit():
    refused(r"Layer 'conv' scales must fit in 16 bits, but need 17: 1 bits are missing",
            layer(scales=np.full((4, 1, 2, 1), 1 << 15)))
    compile_network(small_network(layer(scales=np.full((4, 1, 2, 1), -1 << 15))), MACHINE)


def test_count_must_fit():
    refused(r"Layer 'conv' must count at most 127 mismatches .* not 144 \(needs count_bits 8\)",
            layer(in_shape=(16, 6, 6)), config=changed(MACHINE, count_bits=7), in_shape=(16, 6, 6))


def test_a_term_has_so_many_pairs_only():
    item = layer(activation_planes=8, weight_planes=16, scales=np.ones((4, 1, 8, 16)),
                 blocks=2, in_shape=(4, 6, 6))
    refused("Layer 'conv' plane pairs of a term must be at most 255, not 256$",
            with_term(item, scales=item.terms[0].scales * 2), in_shape=(4, 6, 6), planes=8)


@pytest.mark.parametrize("memory", ["activation", "weight", "scale", "parameter", "term", "tap",
                                    "pair", "program"])
def test_memory_that_is_too_small_is_named(memory):
    layers, source = [], None
    for index in range(3):
        layers.append(layer(f"l{index}", source.name if source else "input",
                            source.out_shape if source else (16, 6, 6), 16, weight_planes=2,
                            seed=index))
        source = layers[-1]
    network = small_network(*layers, in_shape=(16, 6, 6))
    whole = compile_network(network, MACHINE, batch=1).metadata["usage"]
    used = {name.rstrip("s"): value for name, value in whole.items()}
    depth = {"activation": 20}.get(memory, max(2, used[memory] - 1))
    depth = max(depth, 32) if memory == "program" else depth
    with pytest.raises(DoesNotFit) as caught:
        compile_network(network, changed(MACHINE, **{f"{memory}_depth": depth}))
    error = caught.value
    assert error.what.lower().startswith(memory)
    assert error.have == depth
    assert f"at least {error.need} entries per bank, not {depth}: {error.need - depth} too few" in (
        str(error))
    assert re.search(r"; preset '(tiny|small|default|wide)' fits$", str(error))


def test_no_preset_fits_what_is_too_large_for_all():
    huge = layer(in_shape=(512, 64, 64), outputs=512)
    refused(r"too few; no preset fits$", huge, config=PRESETS["tiny"], in_shape=(512, 64, 64))


@pytest.mark.parametrize(("height", "width", "stride", "kernel", "channels"), [
    (1, 2, (1, 7), (1, 1), 160), (1, 2, (1, 7), (1, 2), 160), (1, 7, (7, 7), (1, 1), 40),
    (2, 1, (7, 7), (2, 1), 40), (2, 2, (7, 1), (1, 1), 160), (2, 2, (1, 1), (1, 1), 160)])
def test_a_step_never_taken_is_no_reason_to_refuse(height, width, stride, kernel, channels):
    first = layer("first", in_shape=(1, height, width), outputs=channels, kernel=(1, 1),
                  padding=NONE, activation_planes=1)
    second = layer("second", "first", first.out_shape, 3, kernel=kernel, stride=stride,
                   padding=NONE, code_bits=None, seed=1)
    network = small_network(first, second, in_shape=(1, height, width), planes=1)
    image = runs_exactly(network, PRESETS["tiny"], batch=8 if height * width <= 2 else 1)
    fields = image.descriptors()[0]
    layout = MapLayout(**image.layers[0]["output"]["layout"])
    for name, taken in (("out_phase_y", min(height, layout.stride_y) > 1),
                        ("out_line_words", height > layout.stride_y)):
        assert taken or fields[name] == 0


def test_exponents_of_channels_are_for_layers_with_codes():
    coded, raw = layer(), layer(code_bits=None)
    network = small_network(dataclasses.replace(coded, frac_bits=np.arange(4) - 1))
    assert compile_network(network, MACHINE).layers[0]["frac_bits"] == [-1, 0, 1, 2]
    for each, wrong, demand in ((raw, np.arange(4), "one integer, not "),
                                (coded, np.arange(3), "one integer, or one of each of 4 channels"),
                                (coded, 0.5, "one integer, or one of each of 4 channels, not 0.5")):
        refused(f"Layer 'conv' frac_bits must be {demand}",
                dataclasses.replace(each, frac_bits=wrong))
