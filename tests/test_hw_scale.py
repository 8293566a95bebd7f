# amaranth: UnusedElaboratable=no
"""The scale-and-accumulate unit adds scale times count to one accumulator per row."""

import random

import pytest

from tests.bench import recorder, simulate
from xnorloom.hw.column.scale import ScaleUnit
from xnorloom.hw.spec.config import MachineConfig
from xnorloom.hw.spec.cycles import SCALE_LATENCY


def _wrapped(value, bits):
    return (value + (1 << bits - 1)) % (1 << bits) - (1 << bits - 1)


@pytest.mark.parametrize("rows, units, scale_bits, count_bits, acc_bits, extreme", [
    (1, 1, 16, 16, 32, False), (2, 1, 4, 4, 16, False), (3, 1, 18, 17, 32, False),
    (8, 2, 16, 16, 32, False), (5, 5, 2, 6, 8, False), (4, 1, 18, 17, 32, True),
    (2, 1, 2, 4, 32, True)])
def test_accumulators(rows, units, scale_bits, count_bits, acc_bits, extreme):
    config = MachineConfig(
        rows=rows, cols=1, lanes=8, units=units, scale_bits=scale_bits, count_bits=count_bits,
        acc_bits=acc_bits, scale_depth=64, bias_depth=16, threshold_depth=32)
    unit = ScaleUnit(config)
    rng = random.Random(rows)
    drain, low = config.drain_cycles, -(1 << scale_bits - 1)
    scales = [rng.choice([low, -low - 1]) if extreme else rng.randrange(low, -low)
              for _ in range(64)]
    biases = [rng.randrange(-(1 << acc_bits - 1), 1 << acc_bits - 1) for _ in range(16)]

    schedule, expected, time = {}, [], 2
    for _tile in range(12):
        passes, bias, block = rng.choice([1, 2, 5]), rng.randrange(16), rng.randrange(32)
        accs = [biases[bias]] * drain
        for number in range(passes):
            scale, final = rng.randrange(64), number == passes - 1
            token = {"scale": scale, "bias": bias, "block": block, "first": number == 0,
                     "final": final}
            for row in range(drain):
                count = (1 << count_bits) - 1 if extreme else rng.getrandbits(count_bits)
                schedule[time + row] = (token, count, row == 0)
                accs[row] += scales[scale] * count
                if final:
                    expected.append((time + row + SCALE_LATENCY, _wrapped(accs[row], acc_bits),
                                     block))
            time += drain + rng.choice([0, 0, 1, 3])

    async def feed(ctx):
        for cycle in range(time + SCALE_LATENCY + 2):
            if cycle in schedule:
                token, count, start = schedule[cycle]
                ctx.set(unit.token, token if start else {})
                ctx.set(unit.counts.payload.count, count)
                ctx.set(unit.counts.payload.first, start)
            else:
                ctx.set(unit.token, {})
                ctx.set(unit.counts.payload.first, 0)
                ctx.set(unit.counts.payload.count, rng.getrandbits(count_bits))
            ctx.set(unit.counts.valid, cycle in schedule)
            await ctx.tick()

    async def banks(ctx):
        async for _clk, _rst, fetch, token in ctx.tick().sample(unit.fetch, unit.token):
            if fetch:
                ctx.set(unit.scale, scales[token.scale])
                ctx.set(unit.bias, biases[token.bias])

    watch, seen = recorder(unit.valid, unit.acc, unit.block)
    simulate(unit, feed, processes=(banks, watch))
    assert seen == expected
