# amaranth: UnusedElaboratable=no
"""A column unit turns counts into codes or raw accumulators, with what the loader left in it."""

import random

import pytest

from tests.bench import recorder, simulate
from xnorloom.hw.column.unit import ColumnUnit
from xnorloom.hw.spec.config import MachineConfig
from xnorloom.hw.spec.cycles import requantize_cycles

BITS = 2


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("rows, units", [(1, 1), (2, 1), (3, 1), (6, 2), (8, 1), (4, 4)])
def test_tiles(rows, units, raw):
    config = MachineConfig(rows=rows, cols=1, lanes=4, units=units, count_bits=8, scale_bits=8,
                           acc_bits=18, code_bits=3, scale_depth=16, bias_depth=8,
                           threshold_depth=32)
    unit = ColumnUnit(config)
    rng = random.Random(rows)
    drain = config.drain_cycles
    scales = [rng.randrange(-128, 128) for _ in range(16)]
    biases = [rng.randrange(-9000, 9000) for _ in range(8)]
    levels = [sorted(rng.randrange(-9000, 9000) for _ in range(3)) for _ in range(8)]
    # In heap order, as the search reads them; entry 0 is never read.
    thresholds = [entry for low, middle, high in levels for entry in (0, middle, low, high)]
    tiles = []
    for _ in range(8):
        passes = [(rng.randrange(16), [rng.randrange(256) for _ in range(drain)])
                  for _ in range(rng.randint(1, 3))]
        tiles.append((rng.randrange(8), rng.randrange(8), passes))
    accs = [[biases[bias] + sum(scales[scale] * counts[row] for scale, counts in passes)
             for row in range(drain)] for bias, _block, passes in tiles]
    taken = []

    async def bench(ctx):
        for port, entries in ((unit.scales, scales), (unit.biases, biases),
                              (unit.thresholds, thresholds)):
            ctx.set(port.en, 1)
            for address, entry in enumerate(entries):
                ctx.set(port.addr, address)
                ctx.set(port.data, entry % (1 << len(port.data)))
                await ctx.tick()
            ctx.set(port.en, 0)
        ctx.set(unit.raw, raw)
        ctx.set(unit.code_bits, BITS)
        ctx.set(unit.start, 1)
        await ctx.tick()
        ctx.set(unit.start, 0)
        for bias, block, passes in tiles:
            for number, (scale, counts) in enumerate(passes):
                ctx.set(unit.token, {
                    "scale": scale, "bias": bias, "block": block << BITS, "first": number == 0,
                    "final": number == len(passes) - 1})
                for row, count in enumerate(counts):
                    ctx.set(unit.counts.payload.first, row == 0)
                    ctx.set(unit.counts.valid, 1)
                    ctx.set(unit.counts.payload.count, count)
                    await ctx.tick()
                ctx.set(unit.counts.payload.first, 0)
                ctx.set(unit.counts.valid, 0)
            if raw:
                await ctx.tick().repeat(6)
                taken.append([])
                for _ in range(drain):
                    if rng.getrandbits(1):
                        await ctx.tick()
                    taken[-1].append(ctx.get(unit.raw_acc))
                    ctx.set(unit.pop, 1)
                    await ctx.tick()
                    ctx.set(unit.pop, 0)
            else:
                await ctx.tick().repeat(BITS * requantize_cycles(config) - drain)
        await ctx.tick().repeat(4 * rows + 20)

    watch_accs, arrived = recorder(unit.acc_valid)
    watch_codes, codes = recorder(unit.code.valid, unit.code.payload)
    simulate(unit, bench, processes=(watch_accs, watch_codes))
    assert len(arrived) == len(tiles) * drain
    if raw:
        assert taken == accs
        assert not codes
    else:
        assert [code for _cycle, code in codes] == [
            sum(level <= acc for level in levels[block])
            for (_bias, block, _passes), tile in zip(tiles, accs) for acc in tile]
