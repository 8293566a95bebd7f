# amaranth: UnusedElaboratable=no
"""Raw tiles leave for the host pixel by pixel, the columns of each in order."""

import random

import pytest

from tests.bench import recorder, simulate, stream_get
from xnorloom.hw.output.raw import RawEmitter
from xnorloom.hw.spec.config import MachineConfig


def _bench(rows, cols, units, acc_bits, gap):
    config = MachineConfig(rows=rows, cols=cols, lanes=cols, units=units, acc_bits=acc_bits,
                           rescale=False)
    block = RawEmitter(config)
    rng = random.Random(rows * cols)
    drain, low, tiles = config.drain_cycles, -(1 << acc_bits - 1), 4
    accs = [[[rng.choice([low, -low - 1, rng.randrange(low, -low)]) for _ in range(cols)]
             for _ in range(rows)] for _ in range(tiles)]
    queues = {(col, unit): [] for col in range(cols) for unit in range(units)}
    taken = []

    async def feed(ctx):
        ctx.set(block.begin, 1)
        await ctx.tick()
        ctx.set(block.begin, 0)
        for tile in range(tiles):
            for pixel in range(rows):
                # The top unit has the first pixels.
                unit = units - 1 - pixel // drain
                for col in range(cols):
                    queues[col, unit].append(accs[tile][pixel][col])
            assert not ctx.get(block.request) and not ctx.get(block.o.valid)
            ctx.set(block.arrived, 1)
            for (col, unit), queue in queues.items():
                ctx.set(block.acc[col][unit], queue[0])
            await ctx.tick()
            ctx.set(block.arrived, 0)
            assert ctx.get(block.request) and not ctx.get(block.o.valid)
            await ctx.tick()
            assert ctx.get(block.o.valid)
            taken.extend(await stream_get(ctx, block.o, rows * cols, gap=gap))
            assert not ctx.get(block.request) and not ctx.get(block.o.valid)
            await ctx.tick().repeat(rng.randrange(3) + 1)

    async def rings(ctx):
        pops = [(key, block.pop[key[0]][key[1]]) for key in queues]
        async for _clk, _rst, *values in ctx.tick().sample(*(pop for _key, pop in pops)):
            for (key, _pop), value in zip(pops, values):
                if value:
                    queues[key].pop(0)
                    ctx.set(block.acc[key[0]][key[1]], queues[key][0] if queues[key] else 0)

    watch_tiles, tile_done = recorder(block.tile_done)
    simulate(block, feed, processes=(rings, watch_tiles))
    assert taken == [acc % (1 << 32) for tile in accs for pixel in tile for acc in pixel]
    assert not any(queues.values())
    assert len(tile_done) == tiles


@pytest.mark.parametrize("rows, cols, units, acc_bits", [
    (1, 1, 1, 8), (2, 3, 1, 32), (3, 2, 3, 17), (8, 4, 2, 24), (5, 5, 1, 9), (6, 1, 2, 32)])
def test_tiles(rows, cols, units, acc_bits):
    _bench(rows, cols, units, acc_bits, lambda: 0)


def test_slow_host():
    rng = random.Random(1)
    _bench(4, 3, 2, 20, lambda: rng.choice([0, 0, 1, 7]))
