"""What an image from a file says of itself is checked before anybody relies on it."""

import copy
import dataclasses
import json
import struct
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import xnorloom
from tests.networks import layer, small_network, term
from tests.strategies import cases
from xnorloom.hw.spec.config import PRESETS
from xnorloom.hw.spec.descriptor import DESCRIPTOR, PAIR, TAP, TERM
from xnorloom.hw.spec.memory import Memory
from xnorloom.report.tables import estimate_table, inspect_tables
from xnorloom.sw.errors import ImageError
from xnorloom.sw.graph.network import Pool
from xnorloom.sw.head import Head
from xnorloom.sw.machine.driver import Driver
from xnorloom.sw.machine.frames import build_sections
from xnorloom.sw.machine.image import Image
from xnorloom.sw.machine.reference import ReferenceMachine
from xnorloom.sw.passes.compiler import compile_network

MACHINE = dataclasses.replace(PRESETS["tiny"], name="plain", doubling=False)


def network():
    first = layer("conv", in_shape=(8, 5, 4), outputs=3, activation_planes=2)
    pooled = layer("next", "conv", first.out_shape, 3, kernel=(2, 2), stride=(2, 1),
                   padding=(0, 0, 0, 0), seed=1, pool=Pool("max", (2, 2), (1, 2), (0, 0, 1, 0)))
    last = layer("last", "next", pooled.out_shape, 5, kernel=(1, 1), padding=(0, 0, 0, 0),
                 code_bits=None, seed=2,
                 terms=(term("next", 3, 5, (1, 1), relu=True, seed=3),))
    return small_network(first, pooled, last, in_shape=(8, 5, 4))


@pytest.fixture(scope="module")
def image():
    return compile_network(network(), MACHINE, batch=2)


def refused(image, message):
    with pytest.raises(ImageError, match=message):
        Image.from_bytes(image.to_bytes())


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(cases())
def test_every_image_of_the_compiler_passes(case):
    _network, _config, image = case
    again = Image.from_bytes(image.to_bytes())
    assert again.metadata == json.loads(json.dumps(image.metadata))


def with_record(image, memory, record, place, **values):
    """The image with other fields in one record of a table."""
    contents = {each: copy.copy(entries) for each, entries in image.memories.items()}
    row = (contents[memory][0, place] if len(record) == contents[memory].shape[2]
           else contents[memory][0, place * len(record):(place + 1) * len(record), 0])
    row[...] = record.pack(**{**record.unpack(row), **values})
    words = [section for each, entries in contents.items()
             for section in build_sections(each, entries)]
    return Image(image.config, image.metadata, np.concatenate(words))


@pytest.mark.parametrize("fields, message", [
    ({"pixel_tiles": 3}, "pixel_tiles must be 20, not 3$"),
    ({"walk": 9}, "walk must be 8, not 9$"),
    ({"line_tiles": 9}, "line_tiles must be 4, not 9$"),
    ({"line_skip": 9}, "line_skip must be 0, not 9$"),
    ({"images": 1}, "images must be 2, not 1$"),
    ({"walk_width": 7}, "walk_width must be 8, not 7$"),
    ({"out_lines": 4}, "out_lines must be 5, not 4$"),
    ({"last_cols": 2}, "last_cols must be 1, not 2$"),
    ({"col_tiles": 1}, "col_tiles must be 2, not 1$"),
    ({"raw": 1}, "raw must be 0, not 1$"),
    ({"send": 1}, "send must be from 0 to 0, not 1$"),
    ({"tag": 7}, "tag must be from 213 to 213, not 7$"),
    ({"code_bits": 3}, "block must be 8, not 4$"),
    ({"rescale": 1}, "block must be 2, not 4$"),
    ({"block": 5}, "block must be 4, not 5$"),
    ({"passes": 1}, "passes must be 2, not 1$"),
    ({"terms": 2}, "terms must be 1, not 2$"),
    ({"term_base": 120}, "term_base must be at most .* entries of the terms memory, not 120$"),
    ({"weight_base": 400}, "weight_base must be at most .* of the weights memory, not 400$"),
    ({"scale_base": 400}, "scale_base must be at most .* of the scales memory, not 400$"),
    ({"parameter_base": 200}, "parameter_base must be at most .* parameters memory, not 200$"),
    ({"map_bits": 3}, "map_bits must be 2, not 3$"),
    ({"turns": 2}, "turns must be 1, not 2$"),
    ({"tile_cycles": 3}, "tile_cycles must be 2, not 3$"),
    ({"out_walk": 7}, "out_walk must be 8, not 7$"),
    ({"pool": 1}, "pool must be 0, not 1$"),
    ({"out_base": 3}, "out_base must be .*, not 3$"),
    ({"out_phase_y": 0}, "out_phase_y must be .*, not 0$"),
    ({"out_line_words": 9}, "out_line_words must be .*, not 9$"),
    ({"out_column_banks": 1}, "out_column_banks must be .*, not 1$"),
    ({"planes_low": 5}, "planes_low must be .*, not 5$"),
])
def test_a_descriptor_that_contradicts_is_named(image, fields, message):
    changed = with_record(image, Memory.PROGRAM, DESCRIPTOR, 0, **fields)
    assert image.descriptors()[0] != changed.descriptors()[0]
    refused(changed, f"^Image layer 'conv' field {message}")


@pytest.mark.parametrize("fields, message", [
    ({"pool": 2}, "field pool must be 1, not 2"),
    ({"pool_window_x": 3}, "field pool_window_x must be 2, not 3"),
    ({"pool_stride_y": 3}, "field pool_stride_y must be 1, not 3"),
    ({"pool_open_y": 1}, "field pool_open_y must be 2, not 1"),
    ({"pool_left": 0}, "field pool_left must be 1, not 0"),
    ({"pool_top": 1}, "field pool_top must be 0, not 1"),
    ({"pool_width": 1}, "field pool_width must be 2, not 1"),
    ({"pool_lines": 2}, "field pool_lines must be 1, not 2"),
    ({"pool_cycles": 3}, "field pool_cycles must be 2, not 3"),
    ({"tile_cycles": 5}, "field tile_cycles must be 4, not 5"),
    ({"turns": 2}, "field turns must be 1, not 2"),
    ({"border_top": 1}, "field block must be 19, not 4"),
    ({"border_left": 3, "border_right": 1},
     "fields border_left and border_right must be together at most 2, not 4"),
])
def test_a_pool_that_contradicts_is_named(image, fields, message):
    refused(with_record(image, Memory.PROGRAM, DESCRIPTOR, 1, **fields),
            f"^Image layer 'next' {message}$")


@pytest.mark.parametrize("place, fields, message", [
    (0, {"shift": 2}, "shift must be 0, not 2"),
    (0, {"pool_width": 2}, "pool_width must be 1, not 2"),
    (0, {"pool_left": 1}, "pool_left must be 0, not 1"),
    (1, {"shift": 1}, "shift must be 0, not 1"),
    (2, {"rescale": 1}, "rescale must be 0, not 1"),
    (2, {"code_bits": 2}, "code_bits must be 1, not 2"),
    (2, {"map_bits": 8}, "map_bits must be 1, not 8"),
    (2, {"turns": 2}, "turns must be 1, not 2"),
    (2, {"pool": 1}, "pool must be 0, not 1"),
    (2, {"pool_cycles": 3}, "pool_cycles must be 1, not 3"),
    (2, {"out_walk": 2}, "out_walk must be 1, not 2"),
    (2, {"out_base": 9}, "out_base must be 0, not 9"),
    (2, {"planes_high": 1}, "planes_high must be 0, not 1"),
    (2, {"tile_cycles": 3}, "tile_cycles must be 2, not 3"),
])
def test_what_a_layer_does_not_use_has_its_least_value(image, place, fields, message):
    refused(with_record(image, Memory.PROGRAM, DESCRIPTOR, place, **fields),
            f"^Image layer '{image.layers[place]['name']}' field {message}$")


def test_maps_must_lie_apart(image):
    base = image.metadata["input"]["base"]
    moved = with_record(image, Memory.PROGRAM, DESCRIPTOR, 0, out_base=base)
    moved = with_record(moved, Memory.TERMS, TERM, 1, activation_base=base)
    moved = changed_metadata(moved, ("layers", 0, "output", "base"), base)
    refused(moved, f"^Image map 'conv' must lie apart from map 'input', which is needed as long, "
                   f"not at {base}$")


def test_a_map_may_lie_where_one_was_that_nobody_reads_any_more():
    chain = [layer(f"l{index}", f"l{index - 1}" if index else "input", (8, 5, 4), 8,
                   activation_planes=2, seed=index) for index in range(4)]
    image = compile_network(small_network(*chain, in_shape=(8, 5, 4)), MACHINE, batch=2)
    bases = [each["output"]["base"] for each in image.layers]
    assert len(set(bases)) < len(bases)
    Image.from_bytes(image.to_bytes())


def test_padding_must_lie_apart_from_maps(image):
    base = image.metadata["input"]["base"]
    far = [section for each, entries in image.memories.items() for section in build_sections(
        each, entries if each is not Memory.ACTIVATIONS
        else np.zeros((2, base + 2, entries.shape[2]), dtype=np.uint32))]
    moved = with_record(Image(image.config, image.metadata, np.concatenate(far)), Memory.TERMS,
                        TERM, 0, pad_base=base)
    refused(moved, "^Image layer 'conv' term 0 must have its padding words apart from map 'input', "
                   f"not at {base}$")


def test_open_windows_must_fit_the_pool(image):
    machine = dataclasses.replace(MACHINE, pool_depth=7)
    small = Image(machine, image.metadata, image.program)
    refused(small, "^Image layer 'next' pooled pixels open at a time must be at most 7, not 8$")


@pytest.mark.parametrize("fields, message", [
    ({"words": 2}, "words must be 1, not 2"),
    ({"words": 0}, "words must be at least 1, not 0"),
    ({"tile_words": 1}, "tile_words must be 2, not 1"),
    ({"groups": 2}, "groups must be 1, not 2"),
    ({"taps_per_group": 3}, "taps_per_group must be 4, not 3"),
    ({"pairs": 3}, "pairs must be 2, not 3"),
    ({"activation_base": 77}, "activation_base must be from [0-9]+ to [0-9]+, not 77"),
    ({"pad_base": 500}, "pad_base must be at most .* entries of the activations memory, not 500"),
    ({"tap_base": 200}, "tap_base must be at most .* entries of the taps memory, not 200"),
    ({"pair_base": 200}, "pair_base must be at most .* entries of the pairs memory, not 200"),
    ({"weight_offset": 99}, "weight_offset must be at most 0, not 99"),
])
def test_a_term_that_contradicts_is_named(image, fields, message):
    refused(with_record(image, Memory.TERMS, TERM, 1, **fields),
            f"^Image layer 'next' term 0 field {message}$")


def test_every_term_of_every_list_is_checked():
    wide = layer("wide", in_shape=(24, 2, 2), outputs=24, kernel=(1, 1), padding=(0, 0, 0, 0),
                 blocks=3)
    image = compile_network(small_network(wide, in_shape=(24, 2, 2)), MACHINE, batch=1)
    assert image.descriptors()[0]["term_period"] == 4
    refused(with_record(image, Memory.TERMS, TERM, 2, pad_base=999),
            "^Image layer 'wide' term 2 field pad_base must be at most ")


@pytest.mark.parametrize("place, fields, message", [
    (0, {"clear": 0}, "pair 0 field clear must be 1 where a pass begins, not 0"),
    (1, {"clear": 0}, "pair 1 field clear must be 1 where a pass begins, not 0"),
    (0, {"drain": 0}, "pair 1 field clear must be 0 inside a pass, not 1"),
    (1, {"drain": 0}, "pair 1 field drain must be 1 at the end of its term, not 0"),
    (1, {"double": 1}, "pair 1 field double must be 0 on a machine without doubling, not 1"),
    (1, {"activation_offset": 9}, "pair 1 field activation_offset must be at most 1, not 9"),
    (1, {"weight_offset": 999}, "pair 1 field weight_offset must be at most 0, not 999"),
])
def test_a_pair_that_the_machine_cannot_stream_is_named(image, place, fields, message):
    start = image.terms(image.descriptors()[0])[0][0]["pair_base"]
    changed = with_record(image, Memory.PAIRS, PAIR, start + place, **fields)
    refused(changed, f"^Image layer 'conv' term 0 {message}$")


def test_passes_are_counted(image):
    joined = with_record(image, Memory.PAIRS, PAIR, 0, drain=0)
    refused(with_record(joined, Memory.PAIRS, PAIR, 1, clear=0),
            "^Image layer 'conv' number of pairs marked drain must be 2, as its field "
            "passes says, not 1$")


def test_passes_of_every_list_are_counted():
    wide = layer("wide", in_shape=(24, 2, 2), outputs=24, kernel=(1, 1), padding=(0, 0, 0, 0),
                 blocks=3)
    image = compile_network(small_network(wide, in_shape=(24, 2, 2)), MACHINE, batch=1)
    pairs = image.memories[Memory.PAIRS]
    own = pairs[:, :len(image.pairs(image.terms(image.descriptors()[0])[0][0]))].copy()
    own[0, 0] = PAIR.pack(**{**PAIR.unpack(own[0, 0]), "drain": 0})
    own[0, 1] = PAIR.pack(**{**PAIR.unpack(own[0, 1]), "clear": 0})
    more = [section for each, entries in image.memories.items() for section in build_sections(
        each, np.concatenate([pairs, own], axis=1) if each is Memory.PAIRS else entries)]
    changed = with_record(Image(image.config, image.metadata, np.concatenate(more)), Memory.TERMS,
                          TERM, 1, pair_base=pairs.shape[1])
    refused(changed, "^Image layer 'wide' number of pairs marked drain must be ")


def test_a_count_is_not_doubled_where_it_begins():
    image = compile_network(network(), PRESETS["tiny"], batch=2)
    place = image.terms(image.descriptors()[0])[0][0]["pair_base"]
    refused(with_record(image, Memory.PAIRS, PAIR, place, double=1),
            "^Image layer 'conv' term 0 pair 0 field double must be 0 where a pass begins, not 1$")


@pytest.mark.parametrize("fields, message", [
    ({"rotation": 1}, "rotation must be 0, not 1"),
    ({"offset": -9}, "offset must be 0, not -9"),
    ({"first_place": 1}, "first_place must be 0, not 1"),
    ({"end_line": 4}, "end_line must be 5, not 4"),
])
def test_a_tap_must_lie_where_the_metadata_say(image, fields, message):
    place = image.terms(image.descriptors()[0])[0][0]["tap_base"] + 4
    refused(with_record(image, Memory.TAPS, TAP, place, **fields),
            f"^Image layer 'conv' term 0 tap 4 field {message}$")


def test_the_memories_of_the_machine_alone_are_written(image):
    words = np.concatenate([image.program, *build_sections(
        Memory.PROFILE, np.zeros((1, 1, 1), dtype=np.uint32))])
    refused(Image(image.config, image.metadata, words),
            "^Image program must not write the profile memory$")


def changed_metadata(image, path, value):
    metadata = copy.deepcopy(image.metadata)
    *above, key = path
    inner = metadata
    for step in above:
        inner = inner[step]
    if value is KeyError:
        del inner[key]
    else:
        inner[key] = value
    return Image(image.config, metadata, image.program)


@pytest.mark.parametrize("path, value, message", [
    (("network",), 3, "network must be a text, not 3"),
    (("network",), "\ud800", "network must be a text, not"),
    (("batch",), True, "batch must be an integer from 1 to 4294967296, not True"),
    (("batch",), 3, ""),
    (("info",), [], r"info must be an object, not \[\]"),
    (("usage", "pairs"), -1, "usage.pairs must be an integer from 0"),
    (("usage", "pairs"), 9999, "usage.pairs must be at most 256, not 9999"),
    (("usage", "rubbish"), 1, "usage.rubbish must be at most 0, not 1"),
    (("input", "step"), 0, "input.step must be a positive finite number, not 0"),
    (("input", "step"), float("nan"), "input.step must be a positive finite number, not nan"),
    (("input", "kept"), 1, "input.kept must be true or false, not 1"),
    (("input", "low"), 0.5, "input.low must be an integer from -4294967296 to 4294967296, not 0.5"),
    (("input", "gain"), [1.0] * 3, "input.gain must be null, or 8 finite numbers, not "),
    (("input", "shift"), [0.0] * 8, "input.gain must be given where shift is, not None"),
    (("input", "shape"), [8, 5], "input.shape must be a list of 3 integers of at least 1, not "),
    (("input", "shape"), [8, 5, 5], ""),
    (("input", "table"), [[0]], "input.table must be 2 "),
    (("input", "table", 0, 0), 2, "input.table must be 2 "),
    (("input", "base"), "x", "input.base must be an integer from 0 to 4294967296, not 'x'"),
    (("input", "base"), 10 ** 6, ""),
    (("input", "layout"), {}, "input.layout must be an object with rows, lanes, images, "),
    (("input", "layout", "rows"), 3, ""),
    (("input", "layout", "images"), 3, ""),
    (("input", "layout", "pitch_x"), 10 ** 6, ""),
    (("input", "layout", "stride_x"), 2, ""),
    (("input", "layout", "phase_x_banks"), 2, ""),
    (("input", "folded"), {"kernel": [1, 1]}, "input.folded.stride must be given, and is not"),
    (("layers",), [], r"layers must be a list of at least one layer, not \[\]"),
    (("layers", 0), 7, r"layers\[0\] must be an object, not 7"),
    (("layers", 1, "name"), "conv", r"layers\[1\].name must be a name of its own, not 'conv'"),
    (("layers", 1, "terms"), [], r"layers\[1\].terms must be a list of at least one term, not "),
    (("layers", 1, "terms", 0, "source"), "last",
     r"layers\[1\].terms\[0\].source must be 'input' or a layer before it"),
    (("layers", 1, "terms", 0, "source"), ["conv"],
     r"layers\[1\].terms\[0\].source must be a text, not"),
    (("layers", 1, "terms", 0, "kernel"), "33", r"layers\[1\].terms\[0\].kernel must be a list "),
    (("layers", 1, "terms", 0, "kernel"), [2, 3],
     r"layers\[1\].terms\[0\].kernel must be one that makes a map of \[2, 3\], not \[2, 3\]"),
    (("layers", 1, "terms", 0, "grouping"), [],
     r"layers\[1\].terms\[0\].grouping must be one of layer, row, pixel, not"),
    (("layers", 1, "terms", 0, "groups"), 4,
     r"layers\[1\].terms\[0\].groups must be those of its grouping, 1, not 4"),
    (("layers", 1, "terms", 0, "blocks"), 2,
     r"layers\[1\].terms\[0\].blocks must be a divisor of 3 outputs and 3 inputs, not 2"),
    (("layers", 1, "terms", 0, "activation_planes"), 3,
     r"layers\[1\].terms\[0\].activation_planes must be those of its source, 2, not 3"),
    (("layers", 1, "terms", 0, "folded"), True,
     r"layers\[1\].terms\[0\].folded must be false, as its source is, not True"),
    (("layers", 2, "terms", 1, "relu"), 1, r"layers\[2\].terms\[1\].relu must be true or false"),
    (("layers", 1, "constants"), [5], r"layers\[1\].constants must be a list of rising integers"),
    (("layers", 1, "constants"), 3, r"layers\[1\].constants must be a list of rising integers"),
    (("layers", 1, "pool", "kind"), "min", r"layers\[1\].pool.kind must be 'max' or 'sum', "),
    (("layers", 1, "pool"), None, r"layers\[1\].out_shape must be \[3, 2, 3\], that of its map"),
    (("layers", 1, "map"), [2, 2], r"layers\[1\].terms\[0\].kernel must be one that makes a map"),
    (("layers", 1, "extra_bits"), 32, r"layers\[1\].extra_bits must be an integer from 0 to 31"),
    (("layers", 2, "copy"), True, r"layers\[2\].copy must be false for a raw layer, not True"),
    (("layers", 1, "frac_bits"), [1, 2], r"layers\[1\].frac_bits must be one integer, or a list "),
    (("layers", 2, "frac_bits"), [1] * 5, r"layers\[2\].frac_bits must be one integer, not "),
    (("layers", 2, "frac_bits"), 10 ** 9, r"layers\[2\].frac_bits must be one integer, not "),
    (("layers", 2, "sign"), [1, 1, 1, 1, 0], r"layers\[2\].sign must be null, or 5 numbers 1 or -"),
    (("layers", 0, "raw"), 0, r"layers\[0\].raw must be true or false, not 0"),
    (("layers", 2, "output"), {}, r"layers\[2\].output must be null for a raw layer, not \{\}"),
    (("layers", 0, "output"), None, r"layers\[0\].output must be an object, not None"),
    (("layers", 0, "output", "layout", "channels"), 2, r"layers\[0\].output.layout must be of a m"),
])
def test_a_wrong_key_is_named(image, path, value, message):
    changed = changed_metadata(image, path, value)
    refused(changed, f"^Image metadata {message}" if message else "^Image ")


def ended(image):
    """The image with every kind of step behind it."""
    steps = [("affine", {"gain": (1.0, -2.0, 3, 4, 5), "shift": (0.5,) * 5}), ("sigmoid", {}),
             ("clamp", {"min": None, "max": 0.75}), ("prelu", {"slopes": (0.25,)}),
             ("prelu", {"slopes": (0.25,) * 5}), ("flatten", {}), ("softmax", {})]
    metadata = copy.deepcopy(image.metadata)
    metadata["head"] = Head(tuple(steps), (10,)).data()
    return Image(image.config, metadata, image.program)


@pytest.mark.parametrize("path, value, message", [
    ((), 3, " must be an object, not 3"),
    (("shape",), [5, 5], ".shape must be a list of 1 to 3 integers of product 10, not .5, 5.$"),
    (("shape",), [1, 1, 5, 2], ".shape must be a list of 1 to 3 integers of product 10, not "),
    (("shape",), [-5, -2], ".shape must be a list of 1 to 3 integers of product 10, not "),
    (("shape",), [10.0], ".shape must be a list of 1 to 3 integers of product 10, not .10.0.$"),
    (("steps",), {}, ".steps must be a list, not {}$"),
    (("steps",), KeyError, ".steps must be given, and is not$"),
    (("steps", 1), "tanh", ".steps.1. must be an object, not 'tanh'$"),
    (("steps", 1, "name"), KeyError, ".steps.1..name must be given, and is not$"),
    (("steps", 1, "name"), ["x"], ".steps.1..name must be a text, not "),
    (("steps", 1, "name"), "__import__", ".steps.1..name must be one of affine, clamp, flatten, "),
    (("steps", 1, "gain"), [], ".steps.1..gain must be left out of step 'sigmoid', not ..$"),
    (("steps", 0, "gain"), [1.0] * 4, ".steps.0..gain must be a list of 5 finite numbers, not "),
    (("steps", 0, "gain"), KeyError, ".steps.0..gain must be given, and is not$"),
    (("steps", 0, "shift"), [1.0] * 4 + [float("nan")], ".steps.0..shift must be a list of 5 fin"),
    (("steps", 0, "shift"), [1.0] * 4 + [10 ** 400], ".steps.0..shift must be a list of 5 fin"),
    (("steps", 2, "min"), "0", ".steps.2..min must be a finite number or null, not '0'$"),
    (("steps", 2, "min"), 1, ".steps.2..min must be at most the max, 0.75, not 1$"),
    (("steps", 2, "max"), float("inf"), ".steps.2..max must be a finite number or null, not inf$"),
    (("steps", 3, "slopes"), [], ".steps.3..slopes must be a list of 1 or 5 finite numbers of at "),
    (("steps", 4, "slopes"), [0.5] * 4 + [-1], ".steps.4..slopes must be a list of 1 or 5 finite "),
    (("steps", 5), {"name": "affine", "gain": [1] * 10, "shift": [1] * 10},
     ".steps.5..gain must be a list of 5 finite numbers, not "),
])
def test_a_wrong_head_is_named(image, path, value, message):
    whole = ended(image)
    Image.from_bytes(whole.to_bytes())
    refused(changed_metadata(whole, ("head", *path), value), f"^Image metadata head{message}")


def test_a_head_is_of_accumulators():
    codes = compile_network(small_network(layer()), MACHINE, batch=2)
    refused(changed_metadata(codes, ("head",), {"shape": [1], "steps": []}),
            "^Image metadata head must be null where the last layer is not raw, not ")


def test_a_head_of_any_other_value_is_refused_or_harmless(image):
    for path in paths(ended(image).metadata["head"]):
        for value in (None, -1, 0, 1, 2 ** 40, 0.5, "x", [], {}, True):
            try:
                again = Image.from_bytes(
                    changed_metadata(ended(image), ("head", *path), value).to_bytes())
            except ImageError as error:
                assert "\n" not in str(error)
                continue
            uses(again)


def paths(value, above=()):
    items = value.items() if isinstance(value, dict) else enumerate(value) if (
        isinstance(value, list)) else ()
    for key, inner in items:
        yield (*above, key)
        yield from paths(inner, (*above, key))


# An image without a head is one that an earlier version of the compiler wrote.
FREE = {"info", "head"}


def test_no_key_can_be_left_out(image):
    for path in paths(image.metadata):
        if path in (("head",),) or path[0] in FREE | {"usage"} and len(path) > 1:
            continue
        if isinstance(path[-1], int):
            continue
        refused(changed_metadata(image, path, KeyError), "^Image metadata .* must be ")


def uses(image):
    """Everything that reads metadata and tables."""
    xnorloom.inspect(image)
    inspect_tables(xnorloom.inspect(image))
    estimate_table(xnorloom.estimate(image)["layers"], "")
    driver = Driver(ReferenceMachine(image.config), image)
    driver.load()
    shape = image.metadata["input"]["shape"]
    return driver.run(np.zeros((1, *shape), dtype=np.uint8), observe=True)


def test_any_value_of_another_type_is_refused_or_harmless(image):
    for path in paths(image.metadata):
        for value in (None, -1, 0, 1, 2 ** 40, 0.5, "x", [], {}, True):
            changed = changed_metadata(image, path, value)
            try:
                again = Image.from_bytes(changed.to_bytes())
            except ImageError as error:
                assert "\n" not in str(error)
                continue
            uses(again)


def test_flipped_bits_in_the_metadata_are_refused_or_harmless(image):
    data = image.to_bytes()
    start, length = 24, struct.unpack_from("<I", data, 20)[0]
    rng, harmless = np.random.default_rng(0), 0
    for position in rng.choice(length, 400, replace=False):
        broken = bytearray(data)
        broken[start + position] ^= 1 << int(rng.integers(8))
        broken[-4:] = struct.pack("<I", zlib.crc32(bytes(broken[:-4])))
        try:
            again = Image.from_bytes(bytes(broken))
        except ImageError as error:
            assert "\n" not in str(error)
            continue
        uses(again)
        harmless += 1
    assert harmless < 100
