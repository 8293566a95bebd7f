"""Gathers the codes of a tile: undoes the column skew and waits for the last row."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["TileCollector"]


class TileCollector(wiring.Component):
    """Turns the skewed code streams of all units into whole tiles.

    Column c delivers c cycles after column 0, unit 0 after all other units; within a unit the bottom
    row comes first.

    Parameters
    ----------
    config : MachineConfig
        Machine.

    Members
    -------
    valid : In(1).array(cols, units), code : In(code_bits).array(cols, units)
        Codes.
    ready : Out(1)
        ``tile`` is complete from now on until ``rows`` cycles later.
    tile : Out(code_bits).array(rows, cols)
        Codes of the tile.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "valid": In(1).array(config.cols, config.units),
            "code": In(config.code_bits).array(config.cols, config.units),
            "ready": Out(1),
            "tile": Out(config.code_bits).array(config.rows, config.cols),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        segment_rows, last = config.drain_cycles, config.cols - 1
        for unit in range(config.units):
            base = unit * segment_rows
            codes = [self._deskewed(m, c, unit) for c in range(config.cols)]
            with m.If(self.valid[last][unit]):
                for c in range(config.cols):
                    m.d.sync += self.tile[base + segment_rows - 1][c].eq(codes[c])
                    m.d.sync += [self.tile[base + r][c].eq(self.tile[base + r + 1][c])
                                 for r in range(segment_rows - 1)]
        arrived = Signal(range(segment_rows + 1))
        with m.If(self.valid[last][0]):
            m.d.sync += arrived.eq(arrived + 1)
            with m.If(arrived == segment_rows - 1):
                m.d.sync += arrived.eq(0)
        m.d.sync += self.ready.eq(self.valid[last][0] & (arrived == segment_rows - 1))
        return m

    def _deskewed(self, m, column, unit):
        code = self.code[column][unit]
        for stage in range(self.config.cols - 1 - column):
            later = Signal(self.config.code_bits, name=f"code_{column}_{unit}_{stage}")
            m.d.sync += later.eq(code)
            code = later
        return code
