"""Limits of descriptor fields: complete, wide enough for every machine, and enforced."""

import dataclasses

import pytest
from amaranth.hdl import Fragment
from amaranth.lib import data

from xnorloom.hw.column.columns import Columns
from xnorloom.hw.common.layout import column_layout, feed_layout, output_layout
from xnorloom.hw.feed.feed import Feed
from xnorloom.hw.output.output import Output
from xnorloom.hw.spec.config import PRESETS, MachineConfig
from xnorloom.hw.spec.descriptor import (
    COLUMN_FIELDS,
    DESCRIPTOR,
    FEED_FIELDS,
    MAX_CODE_BITS,
    MAX_MAP,
    MAX_MAP_BITS,
    MAX_POOL,
    MAX_STRIDE,
    MAX_TERMS,
    OUTPUT_FIELDS,
    PAIR,
    POOLS,
    RESCALE_SHIFTS,
    TAP,
    TERM,
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
    wide, classes = config.rescale, config.border_classes
    window = MAX_POOL if config.pool_depth else 1
    most_bits = MAX_MAP_BITS if wide else config.code_bits
    needed = {
        "raw": 1, "rescale": int(wide), "code_bits": most_bits,
        "map_bits": MAX_MAP_BITS if config.pool_depth else most_bits,
        "turns": config.rows, "last_cols": config.cols,
        "col_tiles": config.parameter_depth, "term_period": config.parameter_depth,
        "pixel_tiles": config.activation_depth, "terms": min(MAX_TERMS, config.term_depth),
        "block": min(config.parameter_depth, 16 + (1 << config.code_bits) - 1),
        "line_tiles": config.activation_depth, "line_skip": MAX_MAP, "walk": 65535,
        "walk_width": 65535, "out_lines": MAX_MAP, "images": MAX_MAP,
        "pixel_pairs": 1, "tile_cycles": config.rows * max(8, config.rows),
        "term_base": config.term_depth - 1, "weight_base": config.weight_depth - 1,
        "col_tile_words": config.weight_depth, "passes": config.scale_depth,
        "scale_base": config.scale_depth - 1, "parameter_base": config.parameter_depth - 1,
        "shift": len(RESCALE_SHIFTS) - 1 if wide else 0,
        **{f"border_{side}": 3 if classes else 0 for side in ("top", "bottom", "left", "right")},
        "pool": max(POOLS.values()) if config.pool_depth else 0,
        **{f"pool_{name}_{axis}": window for name in ("window", "stride", "open") for axis in "xy"},
        "pool_left": window - 1, "pool_top": window - 1, "pool_cycles": 63, "pool_width": MAX_MAP,
        "pool_lines": MAX_MAP, "out_walk": 65535, "out_stride_x": MAX_STRIDE,
        "out_stride_y": MAX_STRIDE,
        **{f"out_{name}": config.activation_depth for name in (
            "tile_words", "plane_words", "column_words", "phase_x", "phase_y", "line_words")},
        "out_base": config.activation_depth - 1,
        **{f"out_{name}_banks": config.rows - 1 for name in (
            "line", "column", "phase_x", "phase_y")},
        "planes_low": 0xFFFFFFFF, "planes_high": 0xFFFFFFFF}
    limits = descriptor_limits(config)
    assert set(limits) - set(needed) == {"tag", "send", "down", "first_line", "needs"}
    for name, value in needed.items():
        # A memory of 2 ** 16 entries has one more than a field of 16 bits can count.
        assert limits[name][1] >= min(value, DESCRIPTOR.fields[name].range[1]), name


def test_loops_run_at_least_once():
    """What the gateware counts up to, and the size of a map, cannot be 0."""
    limits = descriptor_limits(PRESETS["tiny"])
    assert {name for name, (low, _high) in limits.items() if low == 1} == {
        "code_bits", "map_bits", "turns", "last_cols", "col_tiles", "term_period", "pixel_tiles",
        "terms", "block", "line_tiles", "walk", "walk_width", "out_lines", "images",
        "col_tile_words", "passes", "pool_window_x", "pool_window_y", "pool_stride_x",
        "pool_stride_y", "pool_cycles", "pool_width", "pool_lines", "pool_open_x", "pool_open_y",
        "out_walk", "out_stride_x", "out_stride_y"}
    assert limits["tile_cycles"][0] == PRESETS["tiny"].rows
    assert descriptor_limits(MachineConfig(rows=6, cols=1, lanes=4, units=2))["tile_cycles"][0] == 3
    assert descriptor_limits(MachineConfig(rows=6, cols=1, lanes=4, units=3))["tile_cycles"][0] == 6
    assert all(low == 0 for name, (low, _high) in limits.items()
               if low != 1 and name not in ("tag", "tile_cycles"))


def test_what_is_reserved_is_zero():
    limits = descriptor_limits(PRESETS["wide"])
    assert [limits[name] for name in ("send", "down", "first_line", "needs")] == [(0, 0)] * 4


def test_machines_without_a_part_refuse_its_fields():
    plain = MachineConfig(rows=2, cols=2, lanes=4, rescale=False, border_classes=False,
                          pool_depth=0, code_bits=2)
    limits = descriptor_limits(plain)
    for name in ("rescale", "border_top", "border_right", "pool", "pool_left"):
        assert limits[name] == (0, 0)
    assert limits["code_bits"] == limits["map_bits"] == (1, 2)
    assert limits["pool_window_x"] == limits["pool_open_y"] == (1, 1)


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
    assert sum(DESCRIPTOR.fields[name].bits for name in ("planes_low", "planes_high")) == (
        4 << MAX_CODE_BITS)
    assert TAP.fields["rotation"].range[1] >= MachineConfig._RANGES["rows"][1] - 1
    assert TAP.fields["first_line"].range[1] == MAX_MAP
    assert MachineConfig._RANGES["code_bits"][1] <= MAX_CODE_BITS
    records = [set(record.fields) for record in (DESCRIPTOR, TERM, TAP, PAIR)]
    assert not set.intersection(*records)


def test_every_field_is_read_by_somebody_or_reserved():
    read = {*FEED_FIELDS, *COLUMN_FIELDS, *OUTPUT_FIELDS}
    assert set(DESCRIPTOR.fields) - read == {"tag", "send", "down", "first_line", "needs",
                                             "pool_open_x"}
    assert read <= set(DESCRIPTOR.fields)
    for names in (FEED_FIELDS, COLUMN_FIELDS, OUTPUT_FIELDS):
        assert len(set(names)) == len(names)


@pytest.mark.parametrize("units", [1, 2])
@pytest.mark.parametrize("block, names, layout", [
    (Feed, FEED_FIELDS, feed_layout), (Columns, COLUMN_FIELDS, column_layout),
    (Output, OUTPUT_FIELDS, output_layout)])
def test_every_field_that_a_block_gets_is_read_in_it(monkeypatch, block, names, layout, units):
    """A field that is only handed on costs its flip-flops for nothing."""
    config = dataclasses.replace(PRESETS["tiny"], units=units)
    read, field_of = set(), data.View.__getitem__

    def noted(view, key):
        if view.shape() == layout(config):
            read.add(key)
        return field_of(view, key)

    monkeypatch.setattr(data.View, "__getitem__", noted)
    Fragment.get(block(config), None)
    # Pixels go in pairs only where there are units for both.
    assert read == set(names) - ({"pixel_pairs"} if units == 1 else set())


def test_every_field_is_documented():
    for record in (DESCRIPTOR, TERM, TAP, PAIR):
        assert all(field.doc and field.name.isidentifier() for field in record.fields.values())
