# amaranth: UnusedElaboratable=no
"""The threshold pipeline finds the number of thresholds at or below each accumulator."""

import random

import pytest

from tests.bench import play, recorder, simulate
from tests.columns import heap
from xnorloom.hw.column.threshold import ThresholdPipeline
from xnorloom.hw.spec.config import MachineConfig


@pytest.mark.parametrize("widest, code_bits", [
    (widest, bits) for widest in (1, 2, 3, 4) for bits in range(1, widest + 1)])
@pytest.mark.parametrize("rescale", [False, True])
def test_codes(widest, code_bits, rescale):
    config = MachineConfig(rows=1, cols=1, lanes=4, acc_bits=8, scale_bits=8, code_bits=widest,
                           rescale=rescale)
    unit = ThresholdPipeline(config)
    levels = widest
    rng = random.Random(code_bits)
    first, extremes = levels - code_bits, [-128, 127]
    sweeps, expected = 4, []
    tables = [sorted(rng.choice([*extremes, rng.randrange(-20, 20)])
                     for _ in range((1 << code_bits) - 1)) for _ in range(sweeps)]

    async def load(ctx, sweep):
        """A block, root first, beside accumulators of the sweep before."""
        for node, entry in enumerate(heap(tables[sweep]), 1):
            depth = node.bit_length() - 1
            ctx.set(unit.entry, entry)
            ctx.set(unit.load, {"levels": 1 << first + depth, "place": node - (1 << depth),
                                "phase": sweep % 2})
            await ctx.tick()
        ctx.set(unit.load, {})

    async def bench(ctx):
        cycle = (1 << code_bits) - 1
        ctx.set(unit.levels, (1 << levels) - (1 << first))
        await load(ctx, 0)
        for sweep, table in enumerate(tables):
            ctx.set(unit.opened, 1)
            ctx.set(unit.valid, 0)
            await ctx.tick()
            ctx.set(unit.opened, 0)
            ctx.set(unit.phase, sweep % 2)
            cycle += 1
            for count in range(60):
                below = [max(bound - 1, -128) for bound in table]
                acc = rng.choice([*extremes, *table, *below, rng.randrange(-22, 22)])
                valid = rng.getrandbits(2) != 0
                ctx.set(unit.valid, valid)
                ctx.set(unit.acc, acc)
                if valid:
                    expected.append((cycle + levels, sum(bound <= acc for bound in table)))
                # The sweep before has left all levels by now.
                if levels <= count < levels + len(table) and sweep + 1 < sweeps:
                    node = count - levels + 1
                    depth = node.bit_length() - 1
                    ctx.set(unit.entry, heap(tables[sweep + 1])[node - 1])
                    ctx.set(unit.load, {"levels": 1 << first + depth,
                                        "place": node - (1 << depth), "phase": ~sweep % 2})
                else:
                    ctx.set(unit.load, {})
                await ctx.tick()
                cycle += 1
        ctx.set(unit.valid, 0)
        await ctx.tick().repeat(levels + 1)

    watch, seen = recorder(unit.code.valid, unit.code.payload)
    simulate(unit, bench, processes=(watch,))
    assert seen == expected
    assert {code for _cycle, code in seen} - {0}


def test_no_level_searches():
    unit = ThresholdPipeline(MachineConfig(rows=1, cols=1, lanes=4, acc_bits=8, scale_bits=8))
    cycles = [[(unit.load.levels, 1 << level), (unit.entry, -77)] for level in range(4)]
    cycles += [[(unit.load.levels, 0), (unit.opened, 1)]]
    cycles += [[(unit.valid, 1), (unit.acc, acc)] for acc in range(-5, 5)]
    assert play(unit, cycles, [unit.code.valid, unit.code.payload]) == [(0, 0)] * len(cycles)
