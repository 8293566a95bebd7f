# amaranth: UnusedElaboratable=no
"""The gate keeps the distances between steps that drain and output need, and no more."""

import random

import pytest

from tests.bench import simulate
from xnorloom.hw.feed.gate import StepGate
from xnorloom.hw.spec.config import MachineConfig
from xnorloom.hw.spec.cycles import first_issue_cycles, requantize_cycles


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("rows, units, code_bits", [
    (1, 1, 1), (2, 1, 2), (3, 3, 4), (5, 1, 3), (8, 2, 4), (32, 1, 4)])
def test_distances(rows, units, code_bits, raw):
    config = MachineConfig(rows=rows, cols=1, lanes=4, units=units, code_bits=code_bits)
    gate = StepGate(config)
    rng = random.Random(rows + raw)
    stalls = {"drain": 0, "output": 0}

    async def bench(ctx):
        for _layer in range(4):
            bits = rng.randint(1, code_bits)
            ctx.set(gate.layer, {"raw": raw, "code_bits": bits})
            ctx.set(gate.start, 1)
            ctx.set(gate.valid, 0)
            await ctx.tick()
            ctx.set(gate.start, 0)
            # Cycles from the layer's start, in which the next such step may go.
            drain_free = 0
            output_free = first_issue_cycles(config) + rows - 1
            pending = False
            step = None
            busy = rng.choice([0.5, 1.0])
            for cycle in range(1, 300):
                if step is None and cycle >= first_issue_cycles(config) and rng.random() < busy:
                    drain = rng.random() < 0.6
                    step = drain, drain and rng.random() < 0.5
                raw_done = pending and rng.random() < 0.2
                ctx.set(gate.valid, step is not None)
                ctx.set(gate.drain, step[0] if step else rng.getrandbits(1))
                ctx.set(gate.tile_last, step[1] if step else rng.getrandbits(1))
                ctx.set(gate.raw_done, raw_done)
                _clk, _rst, *seen = await ctx.tick().sample(
                    gate.issue, gate.stalled_on_drain, gate.stalled_on_output)
                if raw_done:
                    pending = False
                if step is None:
                    assert seen == [0, 0, 0]
                    continue
                on_drain = step[0] and cycle < drain_free
                on_output = not on_drain and step[1] and (cycle < output_free or pending)
                assert seen == [not on_drain and not on_output, on_drain, on_output], cycle
                stalls["drain"] += on_drain
                stalls["output"] += on_output
                if seen[0]:
                    if step[0]:
                        drain_free = cycle + config.drain_cycles
                    if step[1]:
                        pending = raw
                        if not raw:
                            output_free = cycle + bits * requantize_cycles(config)
                    step = None

    simulate(gate, bench)
    assert stalls["output"] > 5
    assert config.drain_cycles == 1 or stalls["drain"] > 5
