# amaranth: UnusedElaboratable=no
"""The loop nest is the inner nest of loops that the descriptor's page describes."""

import random

import pytest

from tests.bench import simulate, stream_get, stream_put
from xnorloom.hw.feed.nest import LoopNest
from xnorloom.hw.spec.config import MachineConfig

CONFIG = MachineConfig(rows=2, cols=2, lanes=4, activation_depth=300, weight_depth=500,
                       tap_depth=60, pair_depth=70)
LOOPS = ("words", "taps_per_group", "pairs", "groups")


def _visit(words=1, taps_per_group=1, pairs=1, groups=1, **fields):
    turns = dict(zip(LOOPS, (words, taps_per_group, pairs, groups)))
    return {**turns, **{f"once_{name}": int(turn == 1) for name, turn in turns.items()},
            "tap_base": 0, "pair_base": 0, "product": 0, "base": 0, "tile_words": 1, "pad_base": 0,
            "weight": 0, "first": 0, "last": 0, "ends_sweep": 0, "ends_layer": 0, "far": 0,
            "far_pad": 0, "far_weight": 0, "far_tables": 0, **fields}


def _random(rng, most=3):
    turns = [1] * 4 if rng.random() < 0.4 else [rng.randint(1, most) for _ in range(4)]
    flags = {name: rng.getrandbits(1) for name in (
        "first", "last", "ends_sweep", "ends_layer", "far", "far_pad", "far_weight")}
    return _visit(*turns, tap_base=rng.randrange(30), pair_base=rng.randrange(40),
                  product=rng.choice([rng.randrange(200), rng.randrange(1000)]),
                  base=rng.randrange(100), tile_words=rng.randrange(300),
                  pad_base=rng.randrange(300), weight=rng.randrange(400), **flags)


def _steps(visit):
    words, taps, pairs, groups = (visit[name] for name in LOOPS)
    for group in range(groups):
        for pair in range(pairs):
            for tap in range(taps):
                for word in range(words):
                    within = tap * words + word
                    pair_last = within == taps * words - 1
                    end = pair_last and pair == pairs - 1 and group == groups - 1
                    step = {
                        "tap_index": visit["tap_base"] + group * taps + tap,
                        "pair_index": visit["pair_base"] + pair, "word": word,
                        "tile_address": visit["product"] + visit["base"],
                        "weight": visit["weight"] + group * taps * words + within,
                        "far": visit["far"] or visit["product"] >= CONFIG.activation_depth,
                        "pair_first": within == 0, "pair_last": pair_last,
                        "new_tile": visit["first"] and not (group or pair or within),
                        "tile_last": visit["last"] and end,
                        "layer_last": visit["last"] and visit["ends_layer"] and end,
                        **{name: visit[name] for name in (
                            "pad_base", "tile_words", "far_pad", "far_weight", "ends_sweep")}}
                    if step["far"]:
                        del step["tile_address"]
                    yield {name: int(value) for name, value in step.items()}


def _run(visits, *, put=lambda: 0, get=lambda: 0):
    expected = [step for visit in visits for step in _steps(visit)]
    block, taken = LoopNest(CONFIG), []

    async def source(ctx):
        await stream_put(ctx, block.i, visits, gap=put)

    async def sink(ctx):
        taken.extend(await stream_get(ctx, block.o, len(expected), gap=get, limit=20))
        assert not ctx.get(block.o.valid)

    simulate(block, source, sink)
    for step, wanted in zip(taken, expected, strict=True):
        assert {name: step[name] for name in wanted} == wanted


@pytest.mark.parametrize("turns", [
    (1, 1, 1, 1), (300, 1, 1, 1), (1, 59, 1, 1), (1, 1, 70, 1), (1, 1, 1, 59), (2, 1, 1, 30),
    (2, 2, 2, 2), (3, 1, 2, 1)])
def test_corners(turns):
    _run([_visit(*turns, first=1, last=1, ends_layer=1)])


@pytest.mark.parametrize("seed", range(4))
def test_random_visits_and_pauses(seed):
    rng = random.Random(seed)
    visits = [_random(rng) for _ in range(40)]
    _run(visits, put=lambda: rng.choice([0, 0, 0, 1, 3]), get=lambda: rng.choice([0, 0, 0, 1, 3]))


@pytest.mark.parametrize("most", [1, 3])
def test_a_step_every_cycle(most):
    rng = random.Random(most)
    visits = [_random(rng, most) for _ in range(60)]
    block = LoopNest(CONFIG)
    steps = sum(1 for visit in visits for _ in _steps(visit))

    async def source(ctx):
        await stream_put(ctx, block.i, visits)

    async def sink(ctx):
        ctx.set(block.o.ready, 1)
        await ctx.tick()
        for _ in range(steps):
            _clk, _rst, valid = await ctx.tick().sample(block.o.valid)
            assert valid
        assert not ctx.get(block.o.valid)

    simulate(block, source, sink)
