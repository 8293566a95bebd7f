# amaranth: UnusedElaboratable=no
"""The gate keeps the distances between steps that columns and output need, and no more."""

import random

import pytest

from tests.bench import simulate
from xnorloom.hw.feed.gate import StepGate
from xnorloom.hw.spec.config import MachineConfig
from xnorloom.hw.spec.latency import PARAMETER_CYCLES, first_issue_cycles, rescale_cycles

KINDS = ("drain", "input", "output")


class GateModel:
    """When the waiting step may go, out of the cycles of those before it."""

    def __init__(self, config, layer):
        self.config, self.layer = config, layer
        self.load = layer["block"] + PARAMETER_CYCLES
        #: First cycle in which a step of that kind may go.
        self.drain, self.input = 0, self.load
        self.tile = first_issue_cycles(config) - 1 + (
            config.rows // 2 if layer.get("pixel_pairs") else config.rows)
        self.pending, self.fresh = False, True

    def why_not(self, cycle, pass_last, tile_last):
        """What a step waits for in this cycle, None if it goes."""
        if pass_last and cycle < self.drain:
            return "drain"
        if pass_last and self.fresh and cycle < self.input:
            return "input"
        if (pass_last and self.pending) or (tile_last and cycle < self.tile):
            return "output"
        return None

    def issued(self, cycle, pass_last, tile_last, sweep_last):
        """The step goes."""
        if pass_last:
            rescales = self.layer["rescale"] and tile_last
            self.drain = cycle + (rescale_cycles(self.config) if rescales
                                  else self.config.drain_cycles)
            if self.fresh:
                self.input = cycle + self.load
            self.fresh = sweep_last
        if tile_last:
            self.tile = cycle + self.layer["tile_cycles"]
            self.pending = bool(self.layer["raw"])


@pytest.mark.parametrize("raw, rescale", [(0, 0), (1, 0), (0, 1)])
@pytest.mark.parametrize("rows, units", [(1, 1), (2, 1), (3, 3), (5, 1), (8, 2), (2, 2), (32, 1)])
def test_distances(rows, units, raw, rescale):
    config = MachineConfig(rows=rows, cols=1, lanes=4, units=units)
    gate = StepGate(config)
    rng = random.Random(rows + 2 * raw + rescale)
    stalls = dict.fromkeys(KINDS, 0)

    async def bench(ctx):
        for number in range(8):
            layer = {"raw": raw, "rescale": rescale, "block": (1, 2, 30, 200)[number // 2],
                     "tile_cycles": rows + (0, 1, 20, 3)[number % 4]}
            if config.pixels_per_cycle == 2:
                layer["pixel_pairs"] = int(not raw and number % 3 == 0)
                layer["tile_cycles"] -= layer["pixel_pairs"] * rows // 2
            model = GateModel(config, layer)
            step, busy = None, 1.0 if number % 2 else 0.5
            ctx.set(gate.layer, layer)
            ctx.set(gate.begin, 1)
            ctx.set(gate.valid, 0)
            await ctx.tick()
            ctx.set(gate.begin, 0)
            for cycle in range(1, 300):
                if step is None and cycle >= first_issue_cycles(config) and rng.random() < busy:
                    pass_last = rng.random() < 0.6
                    tile_last = pass_last and rng.random() < 0.5
                    step = pass_last, tile_last, tile_last and rng.random() < 0.5
                raw_done = model.pending and rng.random() < 0.2
                ctx.set(gate.valid, step is not None)
                for name, value in zip(("pass_last", "tile_last", "sweep_last"),
                                       step or (rng.getrandbits(1),) * 3, strict=True):
                    ctx.set(getattr(gate, name), value)
                ctx.set(gate.raw_done, raw_done)
                _clk, _rst, *seen = await ctx.tick().sample(
                    gate.issue, *(getattr(gate, f"stalled_on_{kind}") for kind in KINDS))
                why = model.why_not(cycle, *step[:2]) if step else "nothing to issue"
                assert seen == [why is None, *(why == kind for kind in KINDS)], cycle
                if raw_done:
                    model.pending = False
                if why is None:
                    model.issued(cycle, *step)
                    step = None
                elif why in stalls:
                    stalls[why] += 1

    simulate(gate, bench)
    assert stalls["output"] > 5
    assert stalls["input"] > 5
    assert (config.drain_cycles == 1 and not rescale) or stalls["drain"] > 5
