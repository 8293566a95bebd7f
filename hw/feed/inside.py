"""Which rows of a tile a kernel tap finds inside its map."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ..common.layout import TapLayout
from .walker import Origin, Position

__all__ = ["TapBounds"]


class TapBounds(wiring.Component):
    """Compares the bounds of a tap with the places of all rows; latency is two cycles.

    A row lies a few lines below row 0, or a few places right of it, so the long subtractions are
    done once, and every row looks up its own small distance in what they leave.

    Parameters
    ----------
    config : MachineConfig
        Machine.

    Members
    -------
    tap : In(TapLayout)
        A tap.
    origin : In(Origin)
        Row 0 of the tile it is for; with ``tap``.
    positions : In(Position).array(rows)
        The rows of that tile; a cycle later.
    inside : Out(rows)
        Rows which are alive and for which the tap lies inside; two cycles after ``tap``.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "tap": In(TapLayout), "origin": In(Origin(config)),
            "positions": In(Position(config)).array(config.rows), "inside": Out(config.rows)})

    def elaborate(self, platform):
        m = Module()
        tap, origin = self.tap, self.origin
        right_of = self._within(m, "places", tap.first_place, tap.end_place, origin.place)
        from_left = self._within(m, "left", tap.first_place, tap.end_place, 0)
        lines = self._within(m, "lines", tap.first_line, tap.end_line, origin.line)
        for r, at in enumerate(self.positions):
            place = Mux(at.lines.any(), _pick(from_left, at.place), right_of[r])
            m.d.sync += self.inside[r].eq(at.alive & place & _pick(lines, at.lines))
        return m

    def _within(self, m, name, first, end, origin):
        """One bit per small distance: whether the origin and it together lie in [first, end)."""
        reached = []
        for side, bound in (("first", first), ("end", end)):
            ahead = Signal.like(bound - origin, name=f"{name}_to_{side}")
            passed = Signal(self.config.rows, name=f"{name}_{side}")
            m.d.comb += ahead.eq(bound - origin)
            near = ceil_log2(self.config.rows)
            negative = ahead[-1] if ahead.shape().signed else 0
            m.d.sync += [passed[distance].eq(
                negative | (~ahead[near:].any() & (ahead[:near] <= distance)))
                for distance in range(self.config.rows)]
            reached.append(passed)
        return reached[0] & ~reached[1]


def _pick(bits, number):
    """The bit of that number, of which there may be but one."""
    return Cat(bits).bit_select(number, 1)
