# amaranth: UnusedElaboratable=no
"""The term walker visits the terms in the order of the descriptor's page, without a bubble."""

import random

import pytest

from tests.bench import simulate, stream_get
from tests.feed_model import kept, random_layer, term_visits, tile_index
from xnorloom.hw.common.layout import term_layout
from xnorloom.hw.feed.terms import TermWalker
from xnorloom.hw.spec.config import MachineConfig

CONFIG = MachineConfig(rows=2, cols=1, lanes=4, activation_depth=300, weight_depth=500,
                       term_depth=20, tap_depth=60, pair_depth=70)
SAME = ("words", "taps_per_group", "pairs", "groups", "tap_base", "pair_base", "tile_words",
        "pad_base")


def _expected(layer, terms):
    for column, tile, number, term in term_visits(layer, terms):
        yield {**{name: term[name] for name in SAME},
               **{f"once_{name}": int(term[name] == 1) for name in SAME[:4]},
               "product": tile_index(layer, tile) * term["tile_words"],
               "base": term["activation_base"],
               "weight": layer["weight_base"] + column * layer["col_tile_words"]
               + term["weight_offset"],
               "first": int(number == 0), "last": int(number == layer["terms"] - 1),
               "ends_sweep": int(tile == layer["pixel_tiles"] - 1),
               "ends_layer": int(tile == layer["pixel_tiles"] - 1
                                 and column == layer["col_tiles"] - 1),
               "far": 0, "far_pad": 0, "far_weight": 0, "far_tables": 0}


def _run(layers, gap=lambda: 0, count=None, config=CONFIG):
    """The visits of every layer, the cycle of the first one and of the last one."""
    block, layout, table, results = TermWalker(config), term_layout(config), [], []

    async def bench(ctx):
        for layer, terms in layers:
            table[:] = [kept(layout, term) for term in terms]
            ctx.set(block.layer, layer)
            ctx.set(block.begin, 1)
            await ctx.tick()
            ctx.set(block.begin, 0)
            for cycle in range(1, 4):
                assert not ctx.get(block.o.valid), cycle
                await ctx.tick()
            assert ctx.get(block.o.valid)
            wanted = count or sum(1 for _ in term_visits(layer, terms))
            visits = await stream_get(ctx, block.o, wanted, gap=gap, limit=9)
            results.append(visits)
            if count is None:
                assert not ctx.get(block.o.valid)

    async def memory(ctx):
        async for _clk, _rst, en, entry in ctx.tick().sample(block.terms.en, block.terms.addr):
            if en and entry < len(table):
                ctx.set(block.terms.data, table[entry])

    simulate(block, bench, processes=(memory,))
    return results


def _dicts(visits, names):
    return [{name: visit[name] for name in names} for visit in visits]


@pytest.mark.parametrize("pauses", [False, True])
def test_order_and_addresses(pauses):
    rng = random.Random(3)
    layers = [random_layer(rng, CONFIG, most_tiles=7, most_sweeps=5)[:2] for _ in range(25)]
    layers = [(layer, terms) for layer, terms in layers if len(terms) <= CONFIG.term_depth]
    gap = (lambda: rng.choice([0, 0, 1, 4])) if pauses else (lambda: 0)
    for (layer, terms), visits in zip(layers, _run(layers, gap), strict=True):
        expected = list(_expected(layer, terms))
        assert _dicts(visits, expected[0]) == expected, layer


def test_a_visit_every_cycle():
    rng = random.Random(4)
    block, table = TermWalker(CONFIG), []
    layers = [random_layer(rng, CONFIG)[:2] for _ in range(6)]

    async def bench(ctx):
        ctx.set(block.o.ready, 1)
        for layer, terms in layers:
            table[:] = terms
            ctx.set(block.layer, layer)
            ctx.set(block.begin, 1)
            await ctx.tick()
            ctx.set(block.begin, 0)
            for _ in range(3):
                await ctx.tick()
            for expected in _expected(layer, terms):
                _clk, _rst, valid, visit = await ctx.tick().sample(block.o.valid, block.o.payload)
                assert valid
                assert {name: visit[name] for name in expected} == expected
            assert not ctx.get(block.o.valid)

    async def memory(ctx):
        async for _clk, _rst, en, entry in ctx.tick().sample(block.terms.en, block.terms.addr):
            if en and entry < len(table):
                ctx.set(block.terms.data, table[entry])

    simulate(block, bench, processes=(memory,))


@pytest.mark.parametrize("depth", [300, 256, 511, 65536])
@pytest.mark.parametrize("field, flag, first", [
    ("activation_base", "far", "activation_depth"), ("pad_base", "far_pad", "activation_depth"),
    ("weight_offset", "far_weight", "weight_depth"), ("tap_base", "far_tables", "tap_depth"),
    ("pair_base", "far_tables", "pair_depth")])
def test_what_is_too_wide_for_a_visit_is_noticed(field, flag, first, depth):
    config = MachineConfig(rows=2, cols=1, lanes=4, activation_depth=depth, weight_depth=500,
                           term_depth=20, tap_depth=60, pair_depth=70)
    limit = getattr(config, first)
    rng = random.Random(5)
    layer, terms, _taps, _pairs = random_layer(rng, config, most_tiles=1, most_sweeps=1)
    layer.update({"terms": 1, "pixel_tiles": 1, "col_tiles": 1})
    cases = [value for value in (limit - 1, limit, 2 * limit, 4 * limit, 65535) if value < 65536]
    layers = [(layer, [{**term, field: value} for term in terms]) for value in cases]
    for value, (visit,) in zip(cases, _run(layers, config=config), strict=True):
        assert visit[flag] == (value >= limit), value
        others = {"far", "far_pad", "far_weight", "far_tables"} - {flag}
        assert not any(visit[name] for name in others)


def test_a_tile_beyond_the_banks_and_words_beyond_them():
    rng = random.Random(6)
    layer, terms, _taps, _pairs = random_layer(rng, CONFIG, most_sweeps=1)
    layer.update({"terms": 1, "pixel_tiles": 4, "line_tiles": 2, "line_skip": 297})
    near = [{**term, "tile_words": 1, "activation_base": 0} for term in terms]
    wide = [{**term, "tile_words": 65535, "activation_base": 0} for term in terms]
    first, second = _run([(layer, near), (layer, wide)])
    assert [visit["far"] for visit in first] == [0, 0, 0, 1]
    assert [visit["product"] for visit in first[:3]] == [0, 1, 299]
    assert [visit["far"] for visit in second] == [1, 1, 1, 1]


@pytest.mark.parametrize("base, fault", [(18, 1), (17, 0)])
def test_the_term_table_has_an_end(base, fault):
    rng = random.Random(7)
    layer, terms, _taps, _pairs = random_layer(rng, CONFIG, most_sweeps=1)
    layer.update({"terms": 3, "col_tiles": 1, "pixel_tiles": 2, "term_base": base})
    block, seen = TermWalker(CONFIG), []

    async def bench(ctx):
        ctx.set(block.layer, layer)
        ctx.set(block.o.ready, 1)
        ctx.set(block.begin, 1)
        await ctx.tick()
        ctx.set(block.begin, 0)
        for _ in range(10):
            _clk, _rst, found = await ctx.tick().sample(block.fault)
            seen.append(found)

    simulate(block, bench)
    assert seen == ([0, 0, 1, 0, 0, 1, 0, 0, 0, 0] if fault else [0] * 10)
