"""Raw results: accumulators of a tile leave for the host one by one."""

from functools import reduce
from operator import or_

from amaranth.hdl import Const, Module, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.turns import last_turn

__all__ = ["RawEmitter"]


class RawEmitter(wiring.Component):
    """Sends one tile per frame: pixels outer, columns inner, sign-extended to a link word.

    All accumulators of the tile wait in the columns' rings from the cycle after ``arrived`` on. The
    first word is offered the cycle after that, every other one the cycle after the one before was
    taken.

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
        Oldest accumulator of every unit; it is taken over before its word is offered.
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
        loading, load, last = Signal(), Signal(), Signal()
        row_done, segment_done, loaded = Signal(), Signal(), Signal()
        m.d.comb += [
            load.eq(loading & (~self.o.valid | self.o.ready)), row_done.eq(load & col[-1]),
            segment_done.eq(row_done & last_turn(m, "row", Const(segment_rows), begin=self.begin,
                                                 end=row_done)),
            loaded.eq(segment_done & unit[-1]),
            self.tile_done.eq(self.o.valid & self.o.ready & last),
        ]
        words = []
        for c in range(cols):
            for u in range(units):
                # All registers but the one that counts are reset, which takes no logic: what is
                # left to do is an or.
                word = Signal(config.acc_bits, name=f"word_{c}_{u}")
                here = col[c] & unit[units - 1 - u]
                m.d.comb += self.pop[c][u].eq(here & load)
                with m.If(load & ~here):
                    m.d.sync += word.eq(0)
                with m.Elif(load):
                    m.d.sync += word.eq(self.acc[c][u])
                words.append(word)
        chosen = Signal(signed(config.acc_bits))
        m.d.comb += [chosen.eq(reduce(or_, words)), self.o.payload.eq(chosen)]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(load):
            m.d.sync += [self.o.valid.eq(1), last.eq(loaded), col.eq(col.rotate_left(1))]
        with m.If(segment_done):
            m.d.sync += unit.eq(unit.rotate_left(1))
        with m.If(loaded):
            m.d.sync += loading.eq(0)
        with m.If(self.tile_done):
            m.d.sync += self.request.eq(0)
        with m.If(self.arrived):
            m.d.sync += [self.request.eq(1), loading.eq(1)]
        with m.If(self.begin):
            m.d.sync += [self.request.eq(0), loading.eq(0), self.o.valid.eq(0), col.eq(1),
                         unit.eq(1)]
        return m
