# amaranth: UnusedElaboratable=no
"""The feed reads for every step what the descriptor's page says it reads, when the gate's rules
say."""

import random

import pytest

from tests.bench import simulate
from tests.feed_model import border_class, feed_steps, kept, place_of, random_layer, reads
from tests.test_hw_gate import KINDS, GateModel
from xnorloom.hw.common.layout import term_layout
from xnorloom.hw.feed.feed import Feed
from xnorloom.hw.spec.config import MachineConfig
from xnorloom.hw.spec.latency import first_issue_cycles

TABLES = ("terms", "taps", "pairs")


def _config(rows, units=1, classes=True, depths=(600, 700)):
    return MachineConfig(rows=rows, cols=2, lanes=4, units=units, activation_depth=depths[0],
                         weight_depth=depths[1], term_depth=30, tap_depth=40, pair_depth=20,
                         border_classes=classes)


class Watched:
    """What the feed did in a layer: lists of ``(cycle, value)``, and cycles."""

    def __init__(self):
        self.busy, self.reads, self.weights, self.classes = [], [], [], []
        self.stalls, self.faults, self.taken = dict.fromkeys(KINDS, 0), {}, None


def _run(config, cases, *, raw_cycles=9, limit=20_000):
    """Runs layers ``(layer, terms, taps, pairs)`` one after the other.

    A raw tile leaves ``raw_cycles`` after its last step.
    """
    feed, results, tables = Feed(config), [], {}
    faults = ("tables", "activations", "weights")
    signals = {
        "busy": feed.busy, **{kind: getattr(feed, f"stalled_on_{kind}") for kind in KINDS},
        **{fault: getattr(feed, f"fault_{fault}") for fault in faults},
        "taken": feed.layer.ready, "read": feed.read.valid, "weight": feed.weight.valid,
        "weight_address": feed.weight.address, "rotation": feed.read.rotation,
        **({"classes": feed.classes.valid, "codes": feed.classes.payload}
           if config.border_classes else {})}
    rest = [*feed.read.address, feed.flags.valid, feed.flags.clear, feed.flags.double,
            feed.flags.last]

    async def layer_of(ctx, case):
        layer, *entries = case
        seen, pending = Watched(), []
        tile_ends = [k for k, step in enumerate(feed_steps(layer, entries[0], entries[2]))
                     if step["tile_last"]] if layer["raw"] else []
        tables.update(zip(TABLES, entries))
        tables["terms"] = [kept(term_layout(config), term) for term in entries[0]]
        ctx.set(feed.layer.payload, layer)
        ctx.set(feed.layer.valid, 1)
        quiet = 0
        for cycle in range(limit):
            ctx.set(feed.raw_done, cycle in pending)
            _clk, _rst, *values = await ctx.tick().sample(*signals.values(), *rest)
            now = dict(zip(signals, values))
            if now["busy"]:
                if len(seen.busy) in tile_ends:
                    pending.append(cycle + raw_cycles)
                seen.busy.append(cycle)
            if now["read"]:
                seen.reads.append((cycle, (now["rotation"], *values[len(signals):])))
            if now["weight"]:
                seen.weights.append((cycle, now["weight_address"]))
            if now.get("classes"):
                seen.classes.append((cycle, list(now["codes"])))
            for kind in KINDS:
                seen.stalls[kind] += now[kind]
            for fault in faults:
                if now[fault]:
                    seen.faults.setdefault(fault, cycle)
            if now["taken"]:
                assert seen.taken is None
                seen.taken = cycle
                ctx.set(feed.layer.valid, 0)
            quiet += seen.taken is not None
            if quiet == 8:
                break
        return seen

    async def bench(ctx):
        for case in cases:
            results.append(await layer_of(ctx, case))

    async def memories(ctx):
        ports = [getattr(feed, name) for name in TABLES]
        async for _clk, _rst, *lookups in ctx.tick().sample(
                *(port.en for port in ports), *(port.addr for port in ports)):
            for k, (name, port) in enumerate(zip(TABLES, ports)):
                if lookups[k] and lookups[k + 3] < len(tables.get(name, ())):
                    ctx.set(port.data, tables[name][lookups[k + 3]])

    simulate(feed, bench, processes=(memories,))
    return results


def _schedule(config, case, raw_cycles):
    """Cycle in which every step issues, and the cycles waited for each kind."""
    layer, terms, _taps, pairs = case
    model, stalls, issued = GateModel(config, layer), dict.fromkeys(KINDS, 0), []
    cycle, raw_done = first_issue_cycles(config), None
    for step in feed_steps(layer, terms, pairs):
        while True:
            if raw_done is not None and cycle > raw_done:
                model.pending = False
            why = model.why_not(cycle, step["pass_last"], step["tile_last"])
            if why is None:
                break
            stalls[why] += 1
            cycle += 1
        model.issued(cycle, step["pass_last"], step["tile_last"], step["sweep_last"])
        if step["tile_last"]:
            raw_done = cycle + raw_cycles
        issued.append(cycle)
        cycle += 1
    return issued, stalls


def _classes(config, layer):
    """Of every tile, the class of every row, None if it is no pixel of the map."""
    for _column in range(layer["col_tiles"]):
        for tile in range(layer["pixel_tiles"]):
            places = [place_of(layer, config.rows, tile, row) for row in range(config.rows)]
            yield [border_class(layer, line, place) if alive else None
                   for line, place, alive in places]


def _legal(rng, config, **options):
    """A random layer that stays within all memories."""
    while True:
        case = random_layer(rng, config, **options)
        layer, terms, taps, pairs = case
        expected = list(reads(config.rows, layer, terms, taps, pairs))
        if all(0 <= address < config.activation_depth
               for _step, read, _weight in expected for address in read[1:-4]):
            return case, expected


def _check(config, case, expected, seen, raw_cycles):
    layer = case[0]
    issued, stalls = _schedule(config, case, raw_cycles)
    assert not seen.faults, layer
    assert seen.busy == issued, layer
    assert seen.stalls == stalls, layer
    assert seen.taken == issued[-1] + 1
    assert seen.reads == [(cycle + 3, read) for cycle, (_step, read, _weight) in zip(
        issued, expected)], layer
    assert seen.weights == [(cycle + 4, weight) for cycle, (_step, _read, weight) in zip(
        issued, expected)], layer
    if config.border_classes and not layer.get("pixel_pairs"):
        tiles = [cycle + 1 for cycle, (step, _read, _weight) in zip(issued, expected)
                 if step["new_tile"]]
        assert [cycle for cycle, _codes in seen.classes] == tiles
        for (_cycle, codes), wanted in zip(seen.classes, _classes(config, layer), strict=True):
            assert all(want in (None, code) for code, want in zip(codes, wanted)), layer


@pytest.mark.parametrize("once", [0.2, 1.0])
@pytest.mark.parametrize("rows, units, classes", [
    (1, 1, True), (2, 1, False), (3, 3, True), (4, 1, True), (5, 1, False), (8, 2, True),
    (2, 2, True), (4, 4, False), (6, 2, True)])
def test_reads(rows, units, classes, once):
    config = _config(rows, units, classes)
    rng = random.Random(rows)
    cases, expected = zip(*(_legal(rng, config, once=once) for _ in range(8)))
    for layer, *_tables in cases:
        kind = rng.choice(["raw", "rescale", "", ""])
        layer.update({"raw": int(kind == "raw"), "rescale": int(kind == "rescale")})
    raw_cycles = rng.randint(1, 15)
    seen = _run(config, cases, raw_cycles=raw_cycles)
    for case, wanted, found in zip(cases, expected, seen, strict=True):
        _check(config, case, wanted, found, raw_cycles)


def test_a_step_every_cycle_though_every_term_is_a_single_one():
    config = _config(1)
    rng = random.Random(0)
    case, _expected = _legal(rng, config, once=1.0)
    layer = case[0]
    layer.update({"terms": 1, "pixel_tiles": 12, "col_tiles": 1, "tile_cycles": 1, "block": 1})
    for pair in case[3]:
        pair["drain"] = 1
    seen, = _run(config, [case])
    first = first_issue_cycles(config)
    assert seen.busy == list(range(first, first + 12))


def test_tiles_may_follow_a_late_sweep_closely():
    """A step that waits for parameters is shown its tile, so that the next one is in time."""
    config = _config(4, units=4)
    rng = random.Random(3)
    for _ in range(20):
        case, expected = _legal(rng, config, once=0.8)
        case[0].update({"block": 30, "tile_cycles": 2 if case[0]["pixel_pairs"] else 4})
        seen, = _run(config, [case])
        _check(config, case, expected, seen, 9)


def _first_faults(config, case, issued):
    """First cycle in which each fault must show at the latest, were every step to issue."""
    layer, terms, taps, pairs = case
    expected = {}
    for cycle, (step, read, weight) in zip(issued, reads(config.rows, layer, terms, taps, pairs)):
        if any(not 0 <= address < config.activation_depth for address in read[1:-4]):
            expected.setdefault("activations", cycle + 3)
        if weight >= config.weight_depth:
            expected.setdefault("weights", cycle + 2)
        if step["tile_address"] >= config.activation_depth:
            expected.setdefault("tile", cycle + 3)
    return expected


@pytest.mark.parametrize("rows, depths", [
    (1, (600, 700)), (3, (512, 512)), (4, (511, 1023)), (5, (513, 1024))])
def test_a_step_that_leaves_a_memory_is_noticed(rows, depths):
    config, depth = _config(rows, depths=depths), depths[0]
    rng = random.Random(rows)
    found = {"activations": 0, "weights": 0, "none": 0}
    cases, kinds = [], []
    for _ in range(60):
        case, _expected = _legal(rng, config, most_tiles=3, most_sweeps=2)
        layer, terms, taps, _pairs = case
        wild = rng.choice(["activation_base", "pad_base", "weight_offset", "far", "tile_words",
                           "col_tile_words", "line_skip"])
        for term in terms:
            if wild in term:
                term[wild] = rng.choice([depth - 5, depth - 1, depth, depth + 50, depths[1],
                                         2 * depth - 1, 2 * depth, 40_000, 65_535])
        if wild == "far":
            for tap in taps:
                tap["offset"] = rng.choice([-65_536, -1000, -101, 200, depth - 70, 2000, 65_535])
        elif wild in layer:
            layer[wild] = (
                rng.choice([200, depths[1] - 10, 1000]) if wild == "col_tile_words" else 400)
        cases.append(case)
        kinds.append(wild)
    for case, wild, seen in zip(cases, kinds, _run(config, cases), strict=True):
        issued, _stalls = _schedule(config, case, 9)
        expected = _first_faults(config, case, issued)
        # A tile, or words, outside the banks are a fault even if a tap reaches back into them.
        late = expected.pop("tile", None)
        if late is not None or wild == "tile_words":
            first = seen.faults.pop("activations", None)
            wanted = expected.pop("activations", None)
            assert wanted is None or (first is not None and first <= wanted), case[0]
        assert seen.faults == expected, (wild, case[0])
        for kind in expected or {"none": 0}:
            found[kind] += 1
    assert min(found.values()) > 3, found


def test_a_plane_that_leaves_the_memory_is_noticed_though_only_padding_is_read():
    config = _config(2)
    case, _expected = _legal(random.Random(0), config)
    _layer, terms, taps, pairs = case
    # Without the plane's high bits, the sum of padding and plane would lie in the memory again.
    for term in terms:
        term["pad_base"] = 5
    for tap in taps:
        tap["end_line"] = 0
    for pair in pairs:
        pair["activation_offset"] = 4095
    seen, = _run(config, [case])
    assert seen.faults["activations"] == seen.busy[0] + 3


@pytest.mark.parametrize("field, base", [
    ("tap_base", 40), ("tap_base", 39), ("tap_base", 65_535), ("pair_base", 20),
    ("pair_base", 19), ("pair_base", 40_000), ("term_base", 30), ("term_base", 29)])
def test_tables_have_an_end(field, base):
    config = _config(2)
    layer, terms, taps, pairs = _legal(random.Random(0), config)[0]
    layer.update({"terms": 2, "pixel_tiles": 1, "col_tiles": 1, "term_base": 0})
    for term in terms:
        term.update({"groups": 1, "taps_per_group": 2, "pairs": 2, "words": 3})
    if field == "term_base":
        layer[field] = base
        terms = [terms[0]] * 30
        outside = 30
    else:
        for term in terms:
            term[field] = base
        outside = 40 if field == "tap_base" else 20
    seen, = _run(config, [(layer, terms, taps, pairs)])
    # It shows no later than the step before the first one outside could issue.
    steps = {"tap_base": 3, "pair_base": 6, "term_base": 12}[field]
    first = 0 if base >= outside else steps
    assert seen.faults["tables"] < first_issue_cycles(config) + first


def test_a_host_reads_an_entry():
    config = _config(4)
    feed = Feed(config)

    async def bench(ctx):
        ctx.set(feed.probe.valid, 1)
        for bank, address in ((0, 0), (3, 599), (1, 17)):
            ctx.set(feed.probe.bank, bank)
            ctx.set(feed.probe.address, address)
            await ctx.tick()
            await ctx.tick()
            assert ctx.get(feed.read.rotation) == bank
            assert ctx.get(feed.read.address[bank]) == address
            assert not ctx.get(feed.read.valid)
            assert not ctx.get(feed.fault_activations)

    simulate(feed, bench)
