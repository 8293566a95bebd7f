"""The gate: holds a step back where a drain or the output is late."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..common.layout import layer_layout
from ..spec.cycles import first_issue_cycles, requantize_cycles

__all__ = ["StepGate"]


class StepGate(wiring.Component):
    """Holds a step back while the columns still drain or the output still works.

    The pipeline behind the gate never waits, so distances between issued steps are distances at the
    units. A step that ends a pass keeps ``drain_cycles`` from the one before; a step that ends a
    tile keeps ``layer.code_bits * requantize_cycles`` from the one before, or in a raw layer waits
    until the tile before has left.

    Members
    -------
    layer : In(layer_layout)
        The layer.
    start : In(1)
        A layer begins.
    drain, tile_last, valid : In(1)
        The waiting step, and whether there is one.
    raw_done : In(1)
        A raw tile has left.
    issue : Out(1)
        The step goes.
    stalled_on_drain, stalled_on_output : Out(1)
        Why it does not.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "layer": In(layer_layout(config)), "start": In(1),
            "drain": In(1), "tile_last": In(1), "valid": In(1), "raw_done": In(1),
            "issue": Out(1), "stalled_on_drain": Out(1), "stalled_on_output": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        output_cycles = requantize_cycles(self.config)
        drain_left = Signal(range(self.config.drain_cycles + 1))
        output_left = Signal(range(max(self.config.code_bits * output_cycles,
                                       first_issue_cycles(self.config) + self.config.rows)))
        raw_pending = Signal()
        late = Signal()
        m.d.comb += [
            self.stalled_on_drain.eq(self.valid & self.drain & (drain_left != 0)),
            late.eq((output_left != 0) | (raw_pending & ~self.raw_done)),
            self.stalled_on_output.eq(self.valid & self.tile_last & late & ~self.stalled_on_drain),
            self.issue.eq(self.valid & ~self.stalled_on_drain & ~self.stalled_on_output),
        ]
        with m.If(drain_left != 0):
            m.d.sync += drain_left.eq(drain_left - 1)
        with m.If(output_left != 0):
            m.d.sync += output_left.eq(output_left - 1)
        with m.If(self.raw_done):
            m.d.sync += raw_pending.eq(0)
        with m.If(self.issue & self.drain):
            m.d.sync += drain_left.eq(self.config.drain_cycles - 1)
        with m.If(self.issue & self.tile_last):
            m.d.sync += raw_pending.eq(self.layer.raw)
            with m.If(~self.layer.raw):
                with m.Switch(self.layer.code_bits):
                    for bits in range(1, self.config.code_bits + 1):
                        with m.Case(bits):
                            m.d.sync += output_left.eq(bits * output_cycles - 1)
        with m.If(self.start):
            # The walkers need rows cycles under the first tile to prepare the second.
            m.d.sync += [drain_left.eq(0), raw_pending.eq(0),
                         output_left.eq(first_issue_cycles(self.config) + self.config.rows - 2)]
        return m
