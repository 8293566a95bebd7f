"""Gathers the codes of a tile: undoes the column skew, and puts the rows one behind the other."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.choice import choose
from ..common.delay import Delay
from ..spec.descriptor import descriptor_limits

__all__ = ["TileCollector", "code_width", "columns", "map_width"]


def code_width(config):
    """Bits of the widest code that columns deliver."""
    return descriptor_limits(config)["code_bits"][1]


def map_width(config):
    """Bits of the widest code of a map."""
    return descriptor_limits(config)["map_bits"][1]


def columns(config, row):
    """Codes of a row, one per column, from the bits of all of them side by side."""
    return [row.word_select(c, len(row) // config.cols) for c in range(config.cols)]


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
    row : Out(stream.Signature(cols * code_width, always_ready=True))
        Codes of all columns, pixel by pixel, with the code of the last column.
    """

    def __init__(self, config):
        self.config = config
        width = code_width(config)
        super().__init__({
            "codes": In(stream.Signature(width, always_ready=True)
                        ).array(config.cols, config.units),
            "row": Out(stream.Signature(config.cols * width, always_ready=True)),
        })

    def elaborate(self, platform):
        m = Module()
        last, row = self.config.cols - 1, []
        for c, units in enumerate(self.codes):
            m.submodules[f"deskew_{c}"] = later = Delay(code_width(self.config), last - c)
            # With one unit, what is not valid is not looked at.
            m.d.comb += later.i.eq(units[0].payload if len(units) == 1 else choose(
                (unit.valid, unit.payload) for unit in units))
            row.append(later.o)
        valid = Signal(self.config.units)
        m.d.comb += [valid[u].eq(unit.valid) for u, unit in enumerate(self.codes[last])]
        m.d.comb += [self.row.valid.eq(valid.any()), self.row.payload.eq(Cat(row))]
        return m
