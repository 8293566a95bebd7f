"""Gathers the codes of a tile: undoes the column skew, and puts the rows one behind the other."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.choice import choose
from ..common.delay import Delay
from ..spec.descriptor import descriptor_limits

__all__ = ["Row", "TileCollector", "code_width", "map_width"]


def code_width(config):
    """Bits of the widest code that columns deliver."""
    return descriptor_limits(config)["code_bits"][1]


def map_width(config):
    """Bits of the widest code of a map."""
    return descriptor_limits(config)["map_bits"][1]


class Row(data.ArrayLayout):
    """Codes of one pixel, one per column."""

    def __init__(self, config, width):
        super().__init__(width, config.cols)


class TileCollector(wiring.Component):
    """Brings the skewed code streams of all columns side by side; combinational for the last
    column.

    Column c delivers c cycles after column 0; the units of a column deliver one after the other,
    the top one first, which has the first pixels. Tiles follow each other by at least ``rows``
    cycles, so that never two units deliver at a time.

    Parameters
    ----------
    config : MachineConfig
        Machine.

    Members
    -------
    codes : In(stream.Signature(code_width, always_ready=True)).array(cols, units)
        Codes.
    row : Out(stream.Signature(Row, always_ready=True))
        Codes of all columns, pixel by pixel, with the code of the last column.
    """

    def __init__(self, config):
        self.config = config
        width = code_width(config)
        super().__init__({
            "codes": In(stream.Signature(width, always_ready=True)
                        ).array(config.cols, config.units),
            "row": Out(stream.Signature(Row(config, width), always_ready=True)),
        })

    def elaborate(self, platform):
        m = Module()
        last = self.config.cols - 1
        for c, units in enumerate(self.codes):
            m.submodules[f"deskew_{c}"] = later = Delay(code_width(self.config), last - c)
            m.d.comb += [later.i.eq(choose((unit.valid, unit.payload) for unit in units)),
                         self.row.payload[c].eq(later.o)]
        valid = Signal(self.config.units)
        m.d.comb += [valid[u].eq(unit.valid) for u, unit in enumerate(self.codes[last])]
        m.d.comb += self.row.valid.eq(valid.any())
        return m
