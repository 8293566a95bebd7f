# amaranth: UnusedElaboratable=no
"""The array counts mismatches of every pass and drains them under the next one."""

import numpy as np
import pytest

from tests.bench import simulate
from xnorloom.hw.array.systolic import SystolicArray
from xnorloom.hw.spec.config import MachineConfig


@pytest.mark.parametrize("rows, cols, lanes, units, stages, doubling", [
    (1, 1, 3, 1, 1, False), (2, 3, 6, 1, 1, True), (4, 2, 20, 2, 2, True), (3, 1, 17, 3, 2, False),
    (5, 4, 36, 1, 2, True)])
def test_counts(rows, cols, lanes, units, stages, doubling):
    config = MachineConfig(rows=rows, cols=cols, lanes=lanes, units=units, doubling=doubling,
                           popcount_stages=stages)
    array = SystolicArray(config)
    rng = np.random.default_rng(rows + cols)
    passes = []
    for length in (config.drain_cycles, config.drain_cycles + 3, config.drain_cycles, 2 * rows):
        steps = [(rng.integers(0, 2, (rows, lanes)), rng.integers(0, 2, (cols, lanes)),
                  k == 0, doubling and k > 0 and bool(rng.integers(2)), k == length - 1)
                 for k in range(length)]
        passes.append(steps)
    expected = []
    for steps in passes:
        count = np.zeros((rows, cols), dtype=int)
        for activations, weights, clear, double, _last in steps:
            count = (0 if clear else (2 if double else 1) * count) + (
                activations[:, None] != weights[None]).sum(-1)
        expected.append(count & 0xFFFF)
    schedule = [step for steps in passes for step in steps]

    def word(bits):
        return int("".join(str(bit) for bit in bits[::-1]), 2)

    async def feed(ctx):
        for cycle in range(len(schedule) + cols):
            valid = cycle < len(schedule)
            ctx.set(array.flags, {"valid": valid})
            if valid:
                activations, _weights, clear, double, last = schedule[cycle]
                for r in range(rows):
                    ctx.set(array.activations[r], word(activations[r]))
                ctx.set(array.flags.clear, int(clear))
                ctx.set(array.flags.double, int(double))
                ctx.set(array.flags.last, int(last))
            for c in range(cols):
                if 0 <= cycle - c < len(schedule):
                    ctx.set(array.weights[c], word(schedule[cycle - c][1][c]))
            await ctx.tick()
        for _ in range(4 * rows + cols + 10):
            await ctx.tick()

    seen = {(c, u): [] for c in range(cols) for u in range(units)}

    async def watch(ctx):
        ports = [(key, array.counts[key[0]][key[1]]) for key in seen]
        async for _clk, _rst, *values in ctx.tick().sample(
                *(value for _, port in ports for value in (port.valid, port.payload.count))):
            for k, (key, _port) in enumerate(ports):
                if values[2 * k]:
                    seen[key].append(values[2 * k + 1])

    simulate(array, feed, processes=(watch,))
    drain = config.drain_cycles
    for (c, u), counts in seen.items():
        wanted = [int(count[u * drain + q, c]) for count in expected for q in range(drain)]
        assert counts == wanted, (c, u)
