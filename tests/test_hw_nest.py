# amaranth: UnusedElaboratable=no
"""The loop nest is the nest of loops that the descriptor's page describes."""

import random

import pytest

from tests.bench import simulate, stream_get
from tests.maps import STEP_FIELDS, loop_steps
from xnorloom.hw.feed.nest import LoopNest
from xnorloom.hw.spec.config import MachineConfig
from xnorloom.hw.spec.descriptor import descriptor_limits

CONFIG = MachineConfig(rows=2, cols=2, lanes=4, activation_depth=300, weight_depth=500,
                       tap_depth=60, pair_depth=70, bias_depth=20)

def _layer(pixel_tiles=1, col_tiles=1, groups=1, pairs=1, taps_per_group=1, words=1, **fields):
    return {"pixel_tiles": pixel_tiles, "col_tiles": col_tiles, "groups": groups, "pairs": pairs,
            "taps_per_group": taps_per_group, "words": words, "tile_words": words,
            "col_tile_words": groups * taps_per_group * words, "activation_base": 0,
            "weight_base": 0, "tap_base": 0, "pair_base": 0, **fields}


def _run(layers, gap):
    block = LoopNest(CONFIG)
    taken = []

    async def bench(ctx):
        for layer in layers:
            ctx.set(block.layer, layer)
            ctx.set(block.start, 1)
            await ctx.tick()
            ctx.set(block.start, 0)
            assert not ctx.get(block.o.valid)
            await ctx.tick()
            assert ctx.get(block.o.valid), "the first step follows start by one cycle"
            steps = await stream_get(ctx, block.o, len(list(loop_steps(layer))), gap=gap, limit=9)
            taken.append([tuple(step[name] for name in STEP_FIELDS) for step in steps])
            assert not ctx.get(block.o.valid)

    simulate(block, bench)
    for layer, steps in zip(layers, taken):
        assert steps == list(loop_steps(layer)), layer


@pytest.mark.parametrize("layer", [
    _layer(), _layer(pixel_tiles=300), _layer(col_tiles=20), _layer(groups=49, words=2),
    _layer(pairs=64, col_tiles=2), _layer(taps_per_group=49, pairs=2), _layer(words=300),
    _layer(2, 2, 2, 2, 2, 2, activation_base=250, weight_base=450, tap_base=30, pair_base=60,
           tile_words=48, col_tile_words=33),
    _layer(tap_base=59, pair_base=69, activation_base=299, weight_base=499)])
def test_corners(layer):
    _run([layer], lambda: 0)


@pytest.mark.parametrize("seed", range(4))
def test_random_layers_and_pauses(seed):
    rng = random.Random(seed)
    layers = [_layer(*(rng.randint(1, 3) for _ in range(6)), tile_words=rng.randint(1, 9),
                     col_tile_words=rng.randint(1, 30), tap_base=rng.randrange(20),
                     pair_base=rng.randrange(20), activation_base=rng.randrange(50),
                     weight_base=rng.randrange(50)) for _ in range(6)]
    _run(layers, lambda: rng.choice([0, 0, 0, 1, 3]))


def test_a_start_abandons_the_layer_before():
    block = LoopNest(CONFIG)
    first, second = _layer(9, 2, 2, 2, 2, 2), _layer(2, words=3, pair_base=5)

    async def bench(ctx):
        for layer, count in ((first, 11), (second, 6)):
            ctx.set(block.layer, layer)
            ctx.set(block.start, 1)
            await ctx.tick()
            ctx.set(block.start, 0)
            await ctx.tick()
            steps = await stream_get(ctx, block.o, count)
            assert [tuple(step[name] for name in STEP_FIELDS) for step in steps] == (
                list(loop_steps(layer))[:count])

    simulate(block, bench)


@pytest.mark.parametrize("depth", [2, 8, 12, 32, 45])
def test_exact_until_a_step_leaves_a_memory(depth):
    """Whatever the limits admit: no sum wraps around before a step outside has been seen."""
    config = MachineConfig(rows=2, cols=1, lanes=1, activation_depth=depth, weight_depth=depth,
                           tap_depth=depth, pair_depth=depth, bias_depth=depth)
    rng = random.Random(depth)
    block = LoopNest(config)
    ranges = {name: descriptor_limits(config)[name] for name in _layer()}
    layers, escapes = [], 0
    for _ in range(150):
        # A few fields at a time, so that every one of them gets its turn to leave.
        wild = rng.sample(sorted(ranges), rng.randint(1, 4))
        layer = _layer(*(rng.randint(1, 2) for _ in range(6)))
        layer.update({name: rng.choice([high, rng.randint(low, high)])
                      for name, (low, high) in ranges.items() if name in wild})
        layer = {name: min(value, ranges[name][1]) for name, value in layer.items()}
        steps = []
        for step in loop_steps(layer):
            steps.append(step)
            tap, pair, word, tile, weight, *_flags = step
            if tap >= depth or pair >= depth or tile + word >= depth or weight >= depth:
                escapes += 1
                break
            if len(steps) == 300:
                break
        layers.append((layer, steps))

    async def bench(ctx):
        for layer, steps in layers:
            ctx.set(block.layer, layer)
            ctx.set(block.start, 1)
            await ctx.tick()
            ctx.set(block.start, 0)
            await ctx.tick()
            seen = await stream_get(ctx, block.o, len(steps))
            assert [tuple(step[name] for name in STEP_FIELDS) for step in seen] == steps, layer

    simulate(block, bench)
    assert escapes > 50
