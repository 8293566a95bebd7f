"""Gathers the codes of a tile: undoes the column skew and notices the last row."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

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
    valid : In(1).array(cols, units), code : In(code_bits).array(cols, units)
        Codes.
    row_valid : Out(1).array(units), row : Out(cols * code_bits).array(units)
        Codes of all columns of one row.
    ready : Out(1)
        The last row of the tile came in the cycle before.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "start": In(1),
            "valid": In(1).array(config.cols, config.units),
            "code": In(config.code_bits).array(config.cols, config.units),
            "row_valid": Out(1).array(config.units),
            "row": Out(config.cols * config.code_bits).array(config.units),
            "ready": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        last_row, last_column = config.drain_cycles - 1, config.cols - 1
        for unit in range(config.units):
            m.d.comb += [
                self.row_valid[unit].eq(self.valid[last_column][unit]),
                self.row[unit].eq(Cat(self._deskewed(m, c, unit) for c in range(config.cols))),
            ]
        arrived = Signal(range(config.drain_cycles + 1))
        m.d.sync += self.ready.eq(0)
        with m.If(self.start):
            m.d.sync += arrived.eq(0)
        with m.Elif(self.row_valid[0]):
            m.d.sync += arrived.eq(arrived + 1)
            with m.If(arrived == last_row):
                m.d.sync += [arrived.eq(0), self.ready.eq(1)]
        return m

    def _deskewed(self, m, column, unit):
        code = self.code[column][unit]
        for stage in range(self.config.cols - 1 - column):
            later = Signal(self.config.code_bits, name=f"code_{column}_{unit}_{stage}")
            m.d.sync += later.eq(code)
            code = later
        return code
