"""Raw results: accumulators of a tile leave for the host one by one."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .tiles import TileSignature

__all__ = ["RawEmitter"]


class RawEmitter(wiring.Component):
    """Sends one tile per frame: pixels outer, columns inner, sign-extended to a link word.

    The last unit to fill is unit 0 of the last column; from then on all accumulators of the tile
    wait in the threshold units' rings.

    Parameters
    ----------
    config : MachineConfig
        Machine.

    Members
    -------
    raw : In(1), start : In(1)
        The layer is raw; it begins.
    tile : In(TileSignature)
        The tile that leaves.
    arrived : In(1)
        An accumulator arrives at unit 0 of the last column.
    acc : In(signed(acc_bits)).array(cols, units), pop : Out(1).array(cols, units)
        Oldest accumulator of every unit.
    request : Out(1)
        A tile waits; a frame for it should begin. Until the last word of the tile is taken.
    o : Out(stream.Signature(32))
        Words of the tile.
    tile_done, done : Out(1)
        The tile has left; it was the last one of the layer.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "raw": In(1), "start": In(1), "tile": In(TileSignature()), "arrived": In(1),
            "acc": In(signed(config.acc_bits)).array(config.cols, config.units),
            "pop": Out(1).array(config.cols, config.units),
            "request": Out(1), "o": Out(stream.Signature(32)),
            "tile_done": Out(1), "done": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        cols, units, segment_rows = config.cols, config.units, config.drain_cycles
        count = Signal(range(segment_rows + 1))
        col, row, unit = (Signal(range(max(limit, 2)), name=name) for limit, name in (
            (cols, "col"), (segment_rows, "row"), (units, "units_done")))
        col_last, row_last, unit_last = (
            col == cols - 1, row == segment_rows - 1, unit == units - 1)
        taken = Signal()
        chosen = Signal(signed(32))
        for c in range(cols):
            for u in range(units):
                # The top unit holds the first pixels.
                here = (col == c) & (unit == units - 1 - u)
                with m.If(here):
                    m.d.comb += chosen.eq(self.acc[c][u])
                m.d.comb += self.pop[c][u].eq(here & taken)
        m.d.comb += [
            self.o.payload.eq(chosen), self.o.valid.eq(self.request),
            taken.eq(self.o.valid & self.o.ready),
            self.tile_done.eq(taken & col_last & row_last & unit_last),
            self.done.eq(self.tile_done & self.tile.last),
        ]
        with m.If(taken):
            m.d.sync += col.eq(Mux(col_last, 0, col + 1))
            with m.If(col_last):
                m.d.sync += row.eq(Mux(row_last, 0, row + 1))
                with m.If(row_last):
                    m.d.sync += unit.eq(Mux(unit_last, 0, unit + 1))
        with m.If(self.tile_done):
            m.d.sync += self.request.eq(0)
        with m.If(self.arrived & self.raw):
            m.d.sync += count.eq(count + 1)
            with m.If(count == segment_rows - 1):
                m.d.sync += [count.eq(0), self.request.eq(1)]
        with m.If(self.start):
            m.d.sync += [self.request.eq(0), count.eq(0), col.eq(0), row.eq(0), unit.eq(0)]
        return m
