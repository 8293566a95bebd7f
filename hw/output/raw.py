"""Raw results: accumulators of a tile leave for the host one by one."""

from amaranth.hdl import Const, Module, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.choice import choose
from ..common.turns import last_turn

__all__ = ["RawEmitter"]


class RawEmitter(wiring.Component):
    """Sends one tile per frame: pixels outer, columns inner, sign-extended to a link word.

    All accumulators of the tile wait in the columns' rings from the cycle after ``arrived`` on; a
    word is offered in every cycle from then on, until the last one is taken.

    Parameters
    ----------
    config : MachineConfig
        Machine.

    Members
    -------
    begin : In(1)
        A layer begins.
    arrived : In(1)
        The last accumulator of a tile enters its ring.
    acc : In(signed(acc_bits)).array(cols, units), pop : Out(1).array(cols, units)
        Oldest accumulator of every unit.
    request : Out(1)
        A tile waits; a frame for it should begin. Until the last word of the tile is taken.
    o : Out(stream.Signature(32))
        Words of the tile.
    tile_done : Out(1)
        The last word of the tile is taken.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "begin": In(1), "arrived": In(1),
            "acc": In(signed(config.acc_bits)).array(config.cols, config.units),
            "pop": Out(1).array(config.cols, config.units),
            "request": Out(1), "o": Out(stream.Signature(32)), "tile_done": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        cols, units, segment_rows = config.cols, config.units, config.drain_cycles
        # One bit per column, and one per unit: the top unit holds the first pixels.
        col, unit = Signal(cols, init=1), Signal(units, init=1)
        taken, row_done, segment_done = Signal(), Signal(), Signal()
        place = [(col[c] & unit[units - 1 - u], c, u) for c in range(cols) for u in range(units)]
        chosen = Signal(signed(config.acc_bits))
        m.d.comb += [
            chosen.eq(choose((here, self.acc[c][u].as_unsigned()) for here, c, u in place)),
            self.o.payload.eq(chosen), self.o.valid.eq(self.request),
            taken.eq(self.o.valid & self.o.ready), row_done.eq(taken & col[-1]),
            segment_done.eq(row_done & last_turn(m, "row", Const(segment_rows), begin=self.begin,
                                                 end=row_done)),
            self.tile_done.eq(segment_done & unit[-1]),
        ]
        m.d.comb += [self.pop[c][u].eq(here & taken) for here, c, u in place]
        with m.If(taken):
            m.d.sync += col.eq(col.rotate_left(1))
        with m.If(segment_done):
            m.d.sync += unit.eq(unit.rotate_left(1))
        with m.If(self.tile_done):
            m.d.sync += self.request.eq(0)
        with m.If(self.arrived):
            m.d.sync += self.request.eq(1)
        with m.If(self.begin):
            m.d.sync += [self.request.eq(0), col.eq(1), unit.eq(1)]
        return m
