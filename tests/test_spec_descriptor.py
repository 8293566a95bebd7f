"""Limits of descriptor fields: complete, wide enough for every machine, and enforced."""

import pytest

from xnorloom.hw.spec.config import PRESETS, MachineConfig
from xnorloom.hw.spec.descriptor import (
    DESCRIPTOR,
    MAX_BORDER,
    MAX_CODE_BITS,
    MAX_KERNEL,
    MAX_PLANES,
    PAIR,
    TAP,
    descriptor_limits,
    first_violation,
)

DEPTHS = [name for name in MachineConfig._RANGES if name.endswith("_depth")]


def _machine(depth):
    return {name: max(depth, MachineConfig._RANGES[name][0]) for name in DEPTHS}


MACHINES = [
    *PRESETS.values(), MachineConfig(rows=1, cols=1, lanes=1, code_bits=1, **_machine(2)),
    MachineConfig(rows=3, cols=5, lanes=15, **_machine(300)),
    MachineConfig(rows=32, cols=64, lanes=1024, units=32, **_machine(65536))]


@pytest.mark.parametrize("config", MACHINES)
def test_limits_cover_every_field_and_fit_it(config):
    limits = descriptor_limits(config)
    assert set(limits) == set(DESCRIPTOR.fields)
    for name, (low, high) in limits.items():
        least, most = DESCRIPTOR.fields[name].range
        assert least <= low <= high <= most, name


@pytest.mark.parametrize("config", MACHINES)
def test_limits_admit_whatever_fits_the_memories(config):
    """The largest values that a layer can make use of, from the meaning of each field."""
    needed = {
        "raw": 1, "code_bits": config.code_bits, "pixel_tiles": config.activation_depth,
        "col_tiles": config.bias_depth, "tile_words": config.activation_depth,
        "words": config.activation_depth, "activation_base": config.activation_depth - 1,
        "pad_base": config.activation_depth - 1, "tap_base": config.tap_depth - 1,
        "taps_per_group": MAX_KERNEL ** 2, "groups": MAX_KERNEL ** 2,
        "pair_base": config.pair_depth - 1, "pairs": MAX_PLANES ** 2,
        "passes_per_group": MAX_PLANES ** 2, "weight_base": config.weight_depth - 1,
        "col_tile_words": config.weight_depth, "scale_base": config.scale_depth - 1,
        "bias_base": config.bias_depth - 1, "threshold_base": config.threshold_depth - 2,
        "last_cols": config.cols, "pitch_x": 255, "pitch_y": 255, "out_width": 255,
        "out_height": 255, "pixels": config.rows * config.activation_depth,
        "out_base": config.activation_depth - 1, "out_tile_words": config.activation_depth,
        "out_plane_words": config.activation_depth, "out_stride_x": 7, "out_stride_y": 7,
        "out_line_banks": config.rows - 1, "out_line_words": config.activation_depth,
        "out_image_banks": config.rows - 1, "out_image_words": config.activation_depth,
        "planes_low": 0xFFFFFFFF, "planes_high": 0xFFFFFFFF}
    limits = descriptor_limits(config)
    for name, value in needed.items():
        # A memory of 2 ** 16 entries has one more than a field of 16 bits can count.
        assert limits[name][1] >= min(value, DESCRIPTOR.fields[name].range[1]), name


def test_loops_run_at_least_once():
    """What the gateware counts up to, and the width of a map, cannot be 0."""
    limits = descriptor_limits(PRESETS["tiny"])
    assert {name for name, (low, _high) in limits.items() if low == 1} == {
        "code_bits", "pixel_tiles", "col_tiles", "tile_words", "words", "taps_per_group", "groups",
        "pairs", "passes_per_group", "col_tile_words", "last_cols", "pitch_x", "pitch_y",
        "out_width", "out_height", "pixels", "out_stride_x", "out_stride_y"}
    assert all(low == 0 for name, (low, _high) in limits.items() if low != 1 and name != "tag")


@pytest.mark.parametrize("config", MACHINES)
def test_first_violation(config):
    limits = descriptor_limits(config)
    good = {name: low for name, (low, _high) in limits.items()}
    assert first_violation(config, DESCRIPTOR.pack(**good)) is None
    assert first_violation(config, DESCRIPTOR.pack(
        **{name: high for name, (_low, high) in limits.items()})) is None
    tried = 0
    for name, (low, high) in limits.items():
        for value in (low - 1, high + 1):
            if 0 <= value <= DESCRIPTOR.fields[name].range[1]:
                words = DESCRIPTOR.pack(**{**good, name: value})
                assert first_violation(config, words) == (DESCRIPTOR.place(name)[0], name)
                tried += 1
    assert tried > len(limits) // 2


def test_zeros_and_ones_are_no_descriptor():
    for word in (0, 0xFFFFFFFF):
        assert first_violation(PRESETS["tiny"], [word] * len(DESCRIPTOR)) == (0, "tag")


def test_fields_hold_what_the_constants_promise():
    for name in ("above", "below", "left", "right"):
        assert TAP.fields[name].range == (0, MAX_BORDER)
    assert sum(DESCRIPTOR.fields[name].bits for name in ("planes_low", "planes_high")) == (
        4 << MAX_CODE_BITS)
    assert TAP.fields["rotation"].range[1] >= MachineConfig._RANGES["rows"][1] - 1
    assert MachineConfig._RANGES["code_bits"][1] <= MAX_CODE_BITS
    assert not set(DESCRIPTOR.fields) & set(TAP.fields) & set(PAIR.fields)


def test_every_field_is_documented():
    for record in (DESCRIPTOR, TAP, PAIR):
        assert all(field.doc and field.name.isidentifier() for field in record.fields.values())
