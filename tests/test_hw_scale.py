# amaranth: UnusedElaboratable=no
"""The scale-and-accumulate unit adds scale times count to one accumulator per row, and multiplies
finished ones."""

import random

import pytest

from tests.bench import recorder, simulate
from tests.columns import wrapped
from xnorloom.hw.column.scale import ScaleUnit
from xnorloom.hw.spec.config import MachineConfig
from xnorloom.hw.spec.descriptor import RESCALE_SHIFTS
from xnorloom.hw.spec.latency import SCALE_LATENCY, rescale_cycles, rescale_delay


@pytest.mark.parametrize("rows, units, scale_bits, count_bits, acc_bits, extreme", [
    (1, 1, 16, 16, 32, False), (2, 1, 4, 4, 16, False), (3, 1, 18, 17, 32, False),
    (8, 2, 16, 16, 32, False), (5, 5, 2, 6, 8, False), (4, 1, 18, 17, 32, True),
    (2, 1, 2, 4, 32, True)])
@pytest.mark.parametrize("shift", [None, 0, 1, 2])
def test_accumulators(rows, units, scale_bits, count_bits, acc_bits, extreme, shift):
    config = MachineConfig(
        rows=rows, cols=1, lanes=8, units=units, scale_bits=scale_bits, count_bits=count_bits,
        acc_bits=acc_bits, scale_depth=64, parameter_depth=32, rescale=shift is not None)
    unit = ScaleUnit(config)
    rng = random.Random(rows)
    drain, low, wide = config.drain_cycles, -(1 << scale_bits - 1), 1 << acc_bits - 1

    # By cycle: count, whether it is the first of its pass; token; scale entry; bias or addend;
    # whether an accumulator is multiplied.
    counts, tokens, scales, biases, slots = {}, {}, {}, {}, set()
    accs, sums, time = [], [], 2
    for tile in range(12):
        passes = rng.choice([1, 2, 5])
        values = [rng.randrange(-wide, wide) for _ in range(drain)]
        for row, bias in enumerate(values):
            biases[time + row + 3] = bias
        for number in range(passes):
            scale = rng.choice([low, -low - 1]) if extreme else rng.randrange(low, -low)
            relu, final = rng.getrandbits(1), number == passes - 1
            tokens[time] = {"first": number == 0, "final": final, "phase": tile % 2,
                            "opening": number == 0, "last": 0}
            scales[time + 1] = scale % (1 << scale_bits) + (relu << scale_bits)
            for row in range(drain):
                count = (1 << count_bits) - 1 if extreme else rng.getrandbits(count_bits)
                counts[time + row] = (count, row == 0)
                values[row] = wrapped((max(values[row], 0) if relu else values[row])
                                      + scale * count, acc_bits)
            opened, time = time, time + drain + rng.choice([0, 0, 1, 3])
        accs += [(opened + row + SCALE_LATENCY, acc, tile % 2) for row, acc in enumerate(values)]
        if shift is not None:
            multiplier = rng.choice([low, -low - 1])
            addend = rng.choice([-wide, wide - 1, rng.randrange(-wide, wide)])
            scales[opened + rescale_delay(config) + 1] = multiplier % (1 << scale_bits)
            for row, acc in enumerate(values):
                slot = opened + rescale_delay(config) + row
                slots.add(slot)
                biases[slot + 3] = addend
                sums.append((slot + SCALE_LATENCY, addend + multiplier * wrapped(
                    acc >> RESCALE_SHIFTS[shift], count_bits + 1)))
            time = max(time, opened + rescale_cycles(config))

    async def feed(ctx):
        if shift is not None:
            ctx.set(unit.mode.rescale, 1)
            ctx.set(unit.mode.shifts, 1 << shift)
        for cycle in range(time + SCALE_LATENCY + 2):
            count, start = counts.get(cycle, (rng.getrandbits(count_bits), 0))
            token = dict(tokens.get(cycle, {}))
            if shift is not None:
                token["rescale"] = cycle in slots
            ctx.set(unit.token, token)
            ctx.set(unit.counts.payload, {"first": start, "count": count})
            ctx.set(unit.counts.valid, cycle in counts)
            ctx.set(unit.bias, biases.get(cycle, rng.randrange(-wide, wide)))
            if cycle in scales:
                ctx.set(unit.scale, scales[cycle])
            await ctx.tick()

    watch, seen = recorder(unit.valid, unit.acc, unit.phase)
    watchers, multiplied = [watch], []
    if shift is not None:
        other, multiplied = recorder(unit.rescaled, unit.acc, unit.above)
        watchers.append(other)
    simulate(unit, feed, processes=watchers)
    assert seen == accs
    width = acc_bits + len(unit.above) if shift is not None else 0
    assert [(cycle, wrapped(acc % (1 << acc_bits) + (above << acc_bits), width))
            for cycle, acc, above in multiplied] == sums
