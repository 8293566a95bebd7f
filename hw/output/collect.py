"""Gathers the codes of a tile: undoes the column skew, and puts the rows one behind the other."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.choice import choose
from ..common.delay import Delay
from ..spec.descriptor import descriptor_limits

__all__ = ["TileCollector", "code_width", "columns", "map_width", "pixels_of"]


def code_width(config):
    """Bits of the widest code that columns deliver."""
    return descriptor_limits(config)["code_bits"][1]


def map_width(config):
    """Bits of the widest code of a map."""
    return descriptor_limits(config)["map_bits"][1]


def columns(config, row):
    """Codes of a row, one per column, from the bits of all of them side by side."""
    return [row.word_select(c, len(row) // config.cols) for c in range(config.cols)]


def pixels_of(config, row):
    """What belongs to each of the pixels of a cycle, from the bits of all of them side by side."""
    return [row.word_select(k, len(row) // config.pixels_per_cycle)
            for k in range(config.pixels_per_cycle)]


class TileCollector(wiring.Component):
    """Brings the skewed code streams of all columns side by side; combinational for the last
    column.

    Column c delivers c cycles after column 0; the units of a column deliver one after the other,
    the top one first, which has the first pixels. Tiles follow each other by at least ``rows``
    cycles, so that never two units deliver at a time; or, in pairs, by half as many, so that never
    two units of one half do.

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
    second : Out(stream.Signature(cols * code_width, always_ready=True))
        With two pixels a cycle: those of the second half of a tile, and ``row`` has the first.
    """

    def __init__(self, config):
        self.config = config
        width = code_width(config)
        row = Out(stream.Signature(config.cols * width, always_ready=True))
        super().__init__({
            "codes": In(stream.Signature(width, always_ready=True)
                        ).array(config.cols, config.units),
            "row": row, **({"second": row} if config.pixels_per_cycle == 2 else {}),
        })

    def elaborate(self, platform):
        m = Module()
        units = self.config.units
        if self.config.pixels_per_cycle == 1:
            self._rows(m, self.row, range(units))
        else:
            self._rows(m, self.row, range(units // 2, units))
            self._rows(m, self.second, range(units // 2), prefix="second_")
        return m

    def _rows(self, m, row, units, prefix=""):
        """The rows of some units."""
        last, together = self.config.cols - 1, []
        for c, column in enumerate(self.codes):
            later = Delay(code_width(self.config), last - c)
            m.submodules[f"{prefix}deskew_{c}"] = later
            # With one unit, what is not valid is not looked at.
            m.d.comb += later.i.eq(column[units[0]].payload if len(units) == 1 else choose(
                (column[u].valid, column[u].payload) for u in units))
            together.append(later.o)
        valid = Signal(len(units), name=f"{prefix}valid")
        m.d.comb += [bit.eq(self.codes[last][u].valid) for bit, u in zip(valid, units)]
        m.d.comb += [row.valid.eq(valid.any()), row.payload.eq(Cat(together))]
