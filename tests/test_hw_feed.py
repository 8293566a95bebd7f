# amaranth: UnusedElaboratable=no
"""The feed reads for every step what the descriptor's page says it reads."""

import random

import pytest

from tests.bench import simulate
from tests.maps import OutputMap, loop_steps
from xnorloom.hw.feed.feed import Feed
from xnorloom.hw.spec.config import MachineConfig
from xnorloom.hw.spec.cycles import predict_layer
from xnorloom.hw.spec.descriptor import PAIR, TAP

TAP_FIELDS = tuple(TAP.fields)
PAIR_FIELDS = tuple(PAIR.fields)


def _config(rows, units=1):
    return MachineConfig(rows=rows, cols=2, lanes=4, units=units, activation_depth=600,
                         weight_depth=700, tap_depth=30, pair_depth=20)


def _case(rng, config, most=25):
    """A layer with its tables; addresses stay within the banks wherever they are used."""
    height, width = rng.randint(1, 12), rng.randint(1, 12)
    chart = OutputMap(rows=config.rows, lanes=4, images=rng.randint(1, 2), height=height,
                      width=width, channels=1, planes=1,
                      pitch=(height + rng.randrange(3), width + rng.randrange(3)),
                      reader_pitch=(height, width), reader_stride=(1, 1))
    groups, taps_per_group, pairs = rng.randint(1, 2), rng.randint(1, 3), rng.randint(1, 3)
    words, tile_words = rng.randint(1, 2), rng.randint(2, 3)
    tiles = min(chart.pixel_tiles, most)
    layer = {
        **chart.fields(), "pixel_tiles": tiles, "raw": 0, "groups": groups, "pairs": pairs,
        "taps_per_group": taps_per_group, "words": words, "tile_words": tile_words,
        "col_tiles": rng.randint(1, 2), "col_tile_words": rng.randint(1, 40),
        "activation_base": 200, "pad_base": rng.randrange(590), "tap_base": rng.randrange(20),
        "pair_base": rng.randrange(15), "weight_base": rng.randrange(500)}
    taps = [(rng.randint(-200, 200), rng.randrange(config.rows),
             *(rng.choice([0, 0, 1, 2, 7]) for _ in range(4))) for _ in range(30)]
    entries = [(rng.randrange(8), rng.randrange(100), rng.getrandbits(1), rng.getrandbits(1),
                rng.getrandbits(1)) for _ in range(20)]
    last = layer["pair_base"] + pairs - 1
    entries[last] = (*entries[last][:4], 1)
    return chart, layer, taps, entries


def _expected(config, chart, layer, taps, entries):
    """Of every step: rotation, address of every bank, flags, what ends, and weight address."""
    rows = config.rows
    pixel_tile = -1
    for tap, pair, word, tile, weight, first, last, *ends, new_tile in loop_steps(layer):
        pixel_tile += new_tile
        offset, rotation, *borders = taps[tap]
        plane, weight_offset, clear, double, drain = entries[pair]
        addresses = [None] * rows
        for row in range(rows):
            number = pixel_tile * rows + row
            _image, y, x = chart.pixel(number)
            distances = (y, chart.height - 1 - y, x, chart.width - 1 - x)
            inside = chart.alive(number) and all(
                distance >= border for distance, border in zip(distances, borders))
            slot, bank = divmod(row + rotation, rows)
            start = tile + offset + slot * layer["tile_words"] if inside else layer["pad_base"]
            addresses[bank] = start + plane + word
        yield (rotation, *addresses, 1, clear and first, double and first, drain and last,
               *ends), weight + weight_offset


def _run(config, cases):
    """What the feed reads for every step of every layer, the stalls, first faults and issues."""
    feed = Feed(config)
    results = []

    async def bench(ctx):
        for _chart, layer, _taps, _entries in cases:
            count = len(list(loop_steps(layer)))
            ctx.set(feed.layer, layer)
            ctx.set(feed.start, 1)
            reads, weights, stalls, faults, busy = [], [], [0, 0], {}, []
            quiet = cycle = 0
            tables[:] = _taps, _entries
            while quiet < 10 and len(busy) <= count:
                (_clk, _rst, issues, on_drain, on_output, table_fault, activation_fault,
                 weight_fault, read, weight, weight_address, *rest) = await ctx.tick().sample(
                    feed.busy, feed.stalled_on_drain, feed.stalled_on_output, feed.fault_tables,
                    feed.fault_activations, feed.fault_weights, feed.read.valid,
                    feed.weight.valid, feed.weight.address, feed.read.rotation,
                    *feed.read.address, feed.flags.valid, feed.flags.clear, feed.flags.double,
                    feed.flags.last, feed.ends.tile, feed.ends.sweep)
                ctx.set(feed.start, 0)
                if issues:
                    busy.append(cycle)
                if read:
                    reads.append((cycle, tuple(rest)))
                if weight:
                    weights.append((cycle, weight_address))
                stalls[0] += on_drain
                stalls[1] += on_output
                for kind, fault in (("table", table_fault), ("activation", activation_fault),
                                    ("weight", weight_fault)):
                    if fault:
                        faults.setdefault(kind, cycle)
                quiet = quiet + 1 if len(busy) == count else 0
                cycle += 1
            results.append((reads, weights, stalls, faults, busy))

    tables = [[], []]

    async def memories(ctx):
        async for _clk, _rst, lookup, tap, pair in ctx.tick().sample(
                feed.taps.en, feed.taps.addr, feed.pairs.addr):
            if lookup and tables[0]:
                if tap < len(tables[0]):
                    ctx.set(feed.taps.data, dict(zip(TAP_FIELDS, tables[0][tap])))
                if pair < len(tables[1]):
                    ctx.set(feed.pairs.data, dict(zip(PAIR_FIELDS, tables[1][pair])))

    simulate(feed, bench, processes=(memories,))
    return results


@pytest.mark.parametrize("rows, units", [(1, 1), (2, 1), (3, 3), (5, 1), (8, 2)])
def test_reads(rows, units):
    config = _config(rows, units)
    rng = random.Random(rows)
    cases = []
    while len(cases) < 6:
        chart, layer, taps, entries = _case(rng, config, 12)
        reads = [read for read, _weight in _expected(config, chart, layer, taps, entries)]
        if all(0 <= address < 600 for read in reads for address in read[1:-6]):
            cases.append((chart, layer, taps, entries))
    for case, result in zip(cases, _run(config, cases), strict=True):
        chart, layer, taps, entries = case
        reads, weights, stalls, faults, busy = result
        expected = list(_expected(config, *case))
        assert [read for _cycle, read in reads] == [read for read, _weight in expected], layer
        assert [address for _cycle, address in weights] == [address for _, address in expected]
        assert [cycle for cycle, _read in reads] == [cycle + 3 for cycle in busy]
        assert [cycle for cycle, _address in weights] == [cycle + 4 for cycle in busy]
        assert not faults
        used = entries[layer["pair_base"]:layer["pair_base"] + layer["pairs"]]
        cost = predict_layer(config, layer, [{"drain": entry[4]} for entry in used])
        assert stalls == [cost.stalled_on_drain, cost.stalled_on_output]


@pytest.mark.parametrize("rows", [1, 3, 4])
def test_a_step_that_leaves_a_memory_is_noticed(rows):
    config = _config(rows)
    rng = random.Random(rows)
    cases = []
    for _ in range(40):
        chart, layer, taps, entries = _case(rng, config, 6)
        wild = rng.choice(["activation_base", "pad_base", "weight_base", "far", "slot"])
        if wild == "far":
            taps = [(200, *tap[1:]) for tap in taps]
        elif wild == "slot":
            # The last tile in the banks: only rows that reach into the slot behind it leave.
            offset = 400 - layer["tile_words"]
            taps = [(offset, *tap[1:2], 0, 0, 0, 0) for tap in taps]
            entries = [(0, *entry[1:]) for entry in entries]
        else:
            layer[wild] = rng.choice([595, 599, 600, 650, 690, 699, 700, 1000])
        cases.append((chart, layer, taps, entries))
    found = {"activation": 0, "weight": 0}
    for case, (_reads, _weights, _stalls, faults, busy) in zip(
            cases, _run(config, cases), strict=True):
        _chart, layer, _taps, _entries = case
        expected = {}
        for cycle, (read, weight) in zip(busy, _expected(config, *case), strict=True):
            if any(not 0 <= address < 600 for address in read[1:-6]):
                expected.setdefault("activation", cycle + 3)
            if weight >= 700:
                expected.setdefault("weight", cycle + 2)
        # A tile outside the banks is a fault even if a tap reaches back into them.
        if layer["activation_base"] + layer["pixel_tiles"] * layer["tile_words"] > 600:
            assert faults.get("activation", 0) <= expected.pop("activation", 10 ** 9), layer
            faults.pop("activation", None)
        assert faults == expected, layer
        for kind in expected:
            found[kind] += 1
    assert min(found.values()) > 3


def test_a_plane_that_leaves_the_memory_is_noticed_though_only_padding_is_read():
    config = _config(2)
    chart, layer, taps, entries = _case(random.Random(0), config)
    # Without the plane's high bits, the sum of padding and plane would lie in the memory again.
    layer.update({"pad_base": 5, "out_width": 1, "out_height": 1})
    taps = [(0, 0, 7, 7, 7, 7)] * len(taps)
    entries = [(4095, *entry[1:]) for entry in entries]
    (reads, _weights, _stalls, faults, busy), = _run(config, [(chart, layer, taps, entries)])
    assert all(0 <= address < 600 for _cycle, read in reads for address in read[1:-6])
    assert faults["activation"] == busy[0] + 3


@pytest.mark.parametrize("field, base", [("tap_base", 30), ("tap_base", 29), ("pair_base", 20),
                                         ("pair_base", 19)])
def test_tables_have_an_end(field, base):
    config = _config(2)
    chart, layer, taps, entries = _case(random.Random(0), config)
    layer.update({"groups": 1, "taps_per_group": 2, "pairs": 2, "pad_base": 0, field: base})
    entries = [(*entry[:4], 1) for entry in entries]
    taps = [(0, *tap[1:]) for tap in taps]
    (_reads, _weights, _stalls, faults, busy), = _run(config, [(chart, layer, taps, entries)])
    assert "table" in faults
    # It shows no later than the step before the first one outside could issue.
    depth = {"tap_base": 30, "pair_base": 20}[field]
    place = {"tap_base": 0, "pair_base": 1}[field]
    first = next(k for k, step in enumerate(loop_steps(layer)) if step[place] >= depth)
    assert faults["table"] < busy[first]
