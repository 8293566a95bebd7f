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
from tests.networks import layer, small_network
from tests.strategies import cases
from xnorloom.hw.spec.config import PRESETS
from xnorloom.hw.spec.descriptor import DESCRIPTOR, PAIR, TAP
from xnorloom.hw.spec.memory import Memory
from xnorloom.report.tables import estimate_table, inspect_tables
from xnorloom.sw.errors import ImageError
from xnorloom.sw.machine.driver import Driver
from xnorloom.sw.machine.frames import build_sections
from xnorloom.sw.machine.image import Image
from xnorloom.sw.machine.reference import ReferenceMachine
from xnorloom.sw.passes.compiler import compile_network

MACHINE = dataclasses.replace(PRESETS["tiny"], name="plain", doubling=False)


def network():
    first = layer("conv", in_shape=(8, 5, 4), outputs=3, activation_planes=2)
    return small_network(first, layer("next", "conv", first.out_shape, 3, kernel=(2, 2),
                                      stride=(2, 1), padding=(0, 0), seed=1),
                         layer("last", "next", (3, 2, 3), 5, kernel=(1, 1), padding=(0, 0),
                               code_bits=None, seed=2))


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
    ({"pixel_tiles": 3}, r"pixel_tiles must be 2[0-9], not 3$"),
    ({"last_cols": 2}, "last_cols must be 1, not 2$"),
    ({"col_tiles": 1}, "col_tiles must be 2, not 1$"),
    ({"pixels": 1}, "pixels must be 40, not 1$"),
    ({"raw": 1}, "raw must be 0, not 1$"),
    ({"tag": 7}, "tag must be from 213 to 213, not 7$"),
    ({"code_bits": 3}, "(code_bits must be 2, not 3|threshold_base must be .*)$"),
    ({"words": 2}, "words must be 1, not 2$"),
    ({"activation_base": 77}, "activation_base must be .*, not 77$"),
    ({"pad_base": 500}, "pad_base must be at most .* entries of the activations memory, not 500$"),
    ({"tap_base": 200}, "tap_base must be at most .* entries of the taps memory, not 200$"),
    ({"pair_base": 200}, "pair_base must be at most .* entries of the pairs memory, not 200$"),
    ({"weight_base": 400}, "weight_base must be at most .* of the weights memory, not 400$"),
    ({"scale_base": 400}, "scale_base must be at most .* of the scales memory, not 400$"),
    ({"bias_base": 200}, "bias_base must be at most .* of the biases memory, not 200$"),
    ({"threshold_base": 1}, "threshold_base must be a multiple of 4, not 1$"),
    ({"threshold_base": 400}, "threshold_base must be at most .* thresholds memory, not 400$"),
    ({"passes_per_group": 1}, "passes_per_group must be 2, not 1$"),
    ({"groups": 3}, "groups must be 1, not 3$"),
    ({"out_base": 3}, "out_base must be .*, not 3$"),
    ({"out_phase_x": 0}, "out_phase_x must be .*, not 0$"),
    ({"out_phase_y": 0}, "out_phase_y must be .*, not 0$"),
    ({"out_line_words": 9}, "out_line_words must be .*, not 9$"),
    ({"out_image_banks": 1}, "out_image_banks must be .*, not 1$"),
    ({"planes_low": 5}, "planes_low must be .*, not 5$"),
    ({"pitch_x": 9}, "p[a-z_]+ must be .*$"),
])
def test_a_descriptor_that_contradicts_is_named(image, fields, message):
    changed = with_record(image, Memory.PROGRAM, DESCRIPTOR, 0, **fields)
    assert image.descriptors()[0] != changed.descriptors()[0]
    refused(changed, f"^Image layer 'conv' field {message}")


@pytest.mark.parametrize("place, fields, message", [
    (0, {"clear": 0}, "pair 0 field clear must be 1 where a pass begins, not 0"),
    (1, {"clear": 0}, "pair 1 field clear must be 1 where a pass begins, not 0"),
    (0, {"drain": 0}, "pair 1 field clear must be 0 inside a pass, not 1"),
    (1, {"drain": 0}, "pair 1 field drain must be 1 at the end of the layer, not 0"),
    (1, {"double": 1}, "pair 1 field double must be 0 on a machine without doubling, not 1"),
    (1, {"activation_offset": 9}, "pair 1 field activation_offset must be at most 1, not 9"),
    (1, {"weight_offset": 999}, "pair 1 field weight_offset must be at most 0, not 999"),
])
def test_a_pair_that_the_machine_cannot_stream_is_named(image, place, fields, message):
    start = image.descriptors()[0]["pair_base"]
    changed = with_record(image, Memory.PAIRS, PAIR, start + place, **fields)
    refused(changed, f"^Image layer 'conv' {message}$")


def test_passes_are_counted(image):
    joined = with_record(image, Memory.PAIRS, PAIR, 0, drain=0)
    refused(with_record(joined, Memory.PAIRS, PAIR, 1, clear=0),
            "^Image layer 'conv' number of pairs marked drain must be 2, as its field "
            "passes_per_group says, not 1$")


def test_a_count_is_not_doubled_where_it_begins():
    image = compile_network(network(), PRESETS["tiny"], batch=2)
    place = image.descriptors()[0]["pair_base"]
    refused(with_record(image, Memory.PAIRS, PAIR, place, double=1),
            "^Image layer 'conv' pair 0 field double must be 0 where a pass begins, not 1$")


def test_a_tap_must_name_a_bank(image):
    place = image.descriptors()[0]["tap_base"] + 4
    refused(with_record(image, Memory.TAPS, TAP, place, rotation=2),
            "^Image layer 'conv' tap 4 field rotation must be at most 1, not 2$")


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
    (("input", "shape"), [8, 5], "input.shape must be a list of 3 integers of at least 1, not "),
    (("input", "shape"), [8, 5, 5], ""),
    (("input", "table"), [[0]], "input.table must be 2 "),
    (("input", "table", 0, 0), 2, "input.table must be 2 "),
    (("input", "base"), "x", "input.base must be an integer from 0 to 4294967296, not 'x'"),
    (("input", "base"), 10 ** 6, ""),
    (("input", "layout"), {}, "input.layout must be an object with rows, lanes, images, "),
    (("input", "layout", "rows"), 3, ""),
    (("input", "layout", "images"), 3, ""),
    (("input", "layout", "pitch_y"), 10 ** 6, ""),
    (("input", "folded"), {"kernel": [1, 1]}, "input.folded.stride must be given, and is not"),
    (("layers",), [], r"layers must be a list of at least one layer, not \[\]"),
    (("layers", 0), 7, r"layers\[0\] must be an object, not 7"),
    (("layers", 1, "name"), "conv", r"layers\[1\].name must be a name of its own, not 'conv'"),
    (("layers", 1, "source"), "last", r"layers\[1\].source must be 'input' or a layer before it"),
    (("layers", 1, "source"), ["conv"], r"layers\[1\].source must be a text, not"),
    (("layers", 1, "frac_bits"), [1, 2], r"layers\[1\].frac_bits must be one integer, or a list "),
    (("layers", 2, "frac_bits"), [1] * 5, r"layers\[2\].frac_bits must be one integer, not "),
    (("layers", 2, "frac_bits"), 10 ** 9, r"layers\[2\].frac_bits must be one integer, not "),
    (("layers", 2, "sign"), [1, 1, 1, 1, 0], r"layers\[2\].sign must be null, or 5 numbers 1 or -"),
    (("layers", 0, "kernel"), "33", r"layers\[0\].kernel must be a list of 2 integers of at least"),
    (("layers", 0, "grouping"), [], r"layers\[0\].grouping must be one of layer, row, pixel, not"),
    (("layers", 0, "raw"), 0, r"layers\[0\].raw must be true or false, not 0"),
    (("layers", 2, "output"), {}, r"layers\[2\].output must be null for a raw layer, not \{\}"),
    (("layers", 0, "output"), None, r"layers\[0\].output must be an object, not None"),
    (("layers", 0, "output", "layout", "channels"), 2, r"layers\[0\].output.layout must be of a m"),
])
def test_a_wrong_key_is_named(image, path, value, message):
    changed = changed_metadata(image, path, value)
    refused(changed, f"^Image metadata {message}" if message else "^Image ")


def paths(value, above=()):
    items = value.items() if isinstance(value, dict) else enumerate(value) if (
        isinstance(value, list)) else ()
    for key, inner in items:
        yield (*above, key)
        yield from paths(inner, (*above, key))


FREE = {"info"}


def test_no_key_can_be_left_out(image):
    for path in paths(image.metadata):
        if path[0] in FREE and len(path) > 1 or path[0] == "usage" and len(path) > 1:
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
