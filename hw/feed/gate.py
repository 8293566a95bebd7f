"""The gate: holds a step back where a drain, parameters or the output are late."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..common.layout import feed_layout
from ..spec.latency import PARAMETER_CYCLES, first_issue_cycles, rescale_cycles

__all__ = ["StepGate"]


class StepGate(wiring.Component):
    """Keeps the distances that columns and output need between steps, and no more.

    The pipeline behind the gate never waits, so distances between issued steps are distances at the
    units. With the layer's first cycle, that of ``begin``, as cycle 0:

    * A step that ends a pass keeps ``drain_cycles`` from the one before,
      :func:`hw.spec.latency.rescale_cycles` behind the last one of a tile if the layer rescales.
    * A step that ends the first pass of a sweep keeps ``block + PARAMETER_CYCLES`` from the one
      before, the first one from cycle 0.
    * In a raw layer, behind a step that ends a tile, a step that ends a pass issues no sooner than
      the cycle after ``raw_done``.
    * A step that ends a tile keeps ``tile_cycles`` from the one before; the first one issues no
      sooner than in cycle ``first_issue_cycles - 1 + rows``, or, in pairs, ``rows / 2``, as the
      positions of the second tile are not there before.

    Parameters
    ----------
    config : MachineConfig
        Machine.

    Members
    -------
    layer : In(feed_layout)
        The layer; stable from ``begin`` to its last step.
    begin : In(1)
        First cycle of a layer.
    valid, pass_last, tile_last, sweep_last : In(1)
        There is a step; what it ends. A step that ends a sweep ends a tile.
    raw_done : In(1)
        A raw tile has left.
    issue : Out(1)
        The step goes.
    stalled_on_drain, stalled_on_input, stalled_on_output : Out(1)
        It does not, for a drain; if not for that, for parameters; if for neither, for the output.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "layer": In(feed_layout(config)), "begin": In(1),
            "valid": In(1), "pass_last": In(1), "tile_last": In(1), "sweep_last": In(1),
            "raw_done": In(1), "issue": Out(1),
            "stalled_on_drain": Out(1), "stalled_on_input": Out(1), "stalled_on_output": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        layer, drain_cycles = self.layer, self.config.drain_cycles
        pass_end, tile_end = self.issue & self.pass_last, self.issue & self.tile_last
        load_cycles = layer.block + PARAMETER_CYCLES
        fresh, fresh_next, raw_late, raw_next = Signal(), Signal(), Signal(), Signal()
        rescaled = rescale_cycles(self.config)
        positions = self.config.rows
        if self.config.pixels_per_cycle == 2:
            positions = Mux(layer.pixel_pairs, positions // 2, positions)
        drain_late, drain_next = _distance(m, "drain", rescaled, [
            (pass_end, Mux(layer.rescale & self.tile_last, rescaled, drain_cycles)),
            (self.begin, 1)])
        input_late, input_next = _distance(
            m, "input", (1 << len(layer.block)) + PARAMETER_CYCLES, [
                ((pass_end & fresh) | self.begin, load_cycles)])
        tile_late, _ = _distance(m, "tile", 1 << len(layer.tile_cycles), [
            (tile_end, layer.tile_cycles),
            (self.begin, first_issue_cycles(self.config) - 1 + positions)])
        m.d.comb += [
            fresh_next.eq(self.begin | Mux(pass_end, self.sweep_last, fresh)),
            raw_next.eq(~self.begin & Mux(tile_end, layer.raw, raw_late & ~self.raw_done)),
        ]
        # Everything waits for a step to issue, so what holds it is summed up a cycle before.
        pass_late = Signal()
        m.d.sync += [fresh.eq(fresh_next), raw_late.eq(raw_next),
                     pass_late.eq(drain_next | raw_next | (fresh_next & input_next))]

        on_drain, on_input, on_output = Signal(), Signal(), Signal()
        m.d.comb += [
            on_drain.eq(self.pass_last & drain_late),
            on_input.eq(self.pass_last & fresh & input_late),
            on_output.eq((self.pass_last & raw_late) | (self.tile_last & tile_late)),
            self.issue.eq(self.valid & ~(self.pass_last & pass_late)
                          & ~(self.tile_last & tile_late)),
            self.stalled_on_drain.eq(self.valid & on_drain),
            self.stalled_on_input.eq(self.valid & on_input & ~on_drain),
            self.stalled_on_output.eq(self.valid & on_output & ~on_drain & ~on_input),
        ]
        return m


def _distance(m, name, most, events):
    """Adds a counter that tells, out of a register, whether a distance is still to be kept.

    Parameters
    ----------
    m : Module
        Where the registers go.
    name : str
        Of the distance.
    most : int
        Largest distance.
    events : list of (condition, cycles)
        From what on it counts, and the distance, at least 1; a later one in the list wins.

    Returns
    -------
    Signal, Signal
        The last event lies less than its distance back; the same of the next cycle.
    """
    left, late = Signal(range(most + 1), name=f"{name}_left"), Signal(name=f"{name}_late")
    late_next = Signal(name=f"{name}_next")
    m.d.comb += late_next.eq(late & (left != 2))
    m.d.sync += [left.eq(left - 1), late.eq(late_next)]
    for condition, cycles in events:
        with m.If(condition):
            # It runs off two cycles early: the event's own counts, and the register shows it late.
            m.d.sync += left.eq(cycles)
            m.d.comb += late_next.eq(cycles != 1)
    return late, late_next
