# amaranth: UnusedElaboratable=no
"""The threshold unit finds the number of thresholds at or below each accumulator."""

import numpy as np
import pytest

from tests.bench import simulate
from xnorloom.hw.column.threshold import ThresholdUnit
from xnorloom.hw.spec.config import MachineConfig
from xnorloom.hw.spec.cycles import SEARCH_CYCLES


def heap(thresholds):
    """Rising thresholds in heap order, entry 0 unused."""
    entries = [0] * (len(thresholds) + 1)

    def fill(node, low, high):
        if low < high:
            middle = (low + high) // 2
            entries[node] = int(thresholds[middle])
            fill(2 * node, low, middle)
            fill(2 * node + 1, middle + 1, high)

    fill(1, 0, len(thresholds))
    return entries


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("code_bits", [1, 2, 3, 4])
def test_codes(rows, code_bits):
    config = MachineConfig(rows=rows, cols=1, lanes=4, acc_bits=16)
    unit = ThresholdUnit(config)
    rng = np.random.default_rng(rows * 10 + code_bits)
    tiles, blocks = 5, 3
    period = code_bits * max(rows, SEARCH_CYCLES)
    count = (1 << code_bits) - 1
    tables = [np.sort(rng.integers(-20, 20, count)) for _ in range(blocks)]
    memory = sum((heap(table) for table in tables), [])
    accs = rng.integers(-22, 22, (tiles, rows))
    expected = [int((tables[tile % blocks] <= acc).sum())
                for tile in range(tiles) for acc in accs[tile]]
    seen = []

    async def feed(ctx):
        ctx.set(unit.code_bits, code_bits)
        ctx.set(unit.start, 1)
        await ctx.tick()
        ctx.set(unit.start, 0)
        for tile in range(tiles):
            ctx.set(unit.block, (tile % blocks) << code_bits)
            for acc in accs[tile]:
                ctx.set(unit.valid, 1)
                ctx.set(unit.acc, int(acc))
                await ctx.tick()
            ctx.set(unit.valid, 0)
            for _ in range(period - rows):
                await ctx.tick()
        for _ in range(period + 4):
            await ctx.tick()

    async def bank(ctx):
        async for _clk, _rst, address, read in ctx.tick().sample(unit.address, unit.read):
            if read:
                ctx.set(unit.threshold, memory[address] if address < len(memory) else 0)

    async def watch(ctx):
        async for _clk, _rst, valid, code in ctx.tick().sample(unit.code_valid, unit.code):
            if valid:
                seen.append(code)

    simulate(unit, feed, processes=(bank, watch))
    assert seen == expected
