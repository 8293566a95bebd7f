"""Gathers the codes of a tile: undoes the column skew and notices the last row."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.delay import Delay

__all__ = ["TileCollector"]


class TileCollector(wiring.Component):
    """Brings the skewed code streams of all columns side by side.

    Column c delivers c cycles after column 0, unit 0 after all other units; within a unit the
    bottom row comes first.

    Parameters
    ----------
    config : MachineConfig
        Machine.

    Members
    -------
    start : In(1)
        A layer begins.
    codes : In(stream.Signature(code_bits, always_ready=True)).array(cols, units)
        Codes.
    rows : Out(stream.Signature(cols * code_bits, always_ready=True)).array(units)
        Codes of all columns of one row.
    ready : Out(1)
        The last row of the tile came in the cycle before.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "start": In(1),
            "codes": In(stream.Signature(config.code_bits, always_ready=True)
                        ).array(config.cols, config.units),
            "rows": Out(stream.Signature(config.cols * config.code_bits, always_ready=True)
                        ).array(config.units),
            "ready": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        last_row, last_column = config.drain_cycles - 1, config.cols - 1
        for unit, row in enumerate(self.rows):
            codes = [self._deskewed(m, c, unit) for c in range(config.cols)]
            m.d.comb += [row.valid.eq(self.codes[last_column][unit].valid),
                         row.payload.eq(Cat(codes))]
        arrived = Signal(range(config.drain_cycles + 1))
        m.d.sync += self.ready.eq(0)
        with m.If(self.start):
            m.d.sync += arrived.eq(0)
        with m.Elif(self.rows[0].valid):
            m.d.sync += arrived.eq(arrived + 1)
            with m.If(arrived == last_row):
                m.d.sync += [arrived.eq(0), self.ready.eq(1)]
        return m

    def _deskewed(self, m, column, unit):
        later = Delay(self.config.code_bits, self.config.cols - 1 - column)
        m.submodules[f"deskew_{column}_{unit}"] = later
        m.d.comb += later.i.eq(self.codes[column][unit].payload)
        return later.o
