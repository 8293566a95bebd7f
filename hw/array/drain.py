"""Draining: the counts of a column segment move down to its unit."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Count", "DrainControl"]


class Count(data.StructLayout):
    """A count that leaves a segment: bottom row first, ``drain_cycles`` cycles in a row.

    ``first``: it is the first one of its pass; 0 where there is none. ``count``: mismatches.
    """

    def __init__(self, config):
        super().__init__({"first": 1, "count": config.count_bits})


class DrainControl(wiring.Component):
    """Shifts the counts of one column segment down to its unit, under the next pass.

    The rows of a segment finish from the top down, one cycle apart; so may their next counts. Row q
    (0 at the bottom) therefore shifts for exactly as many cycles as there are rows above it and is
    free for its own next count when the wave of the next pass arrives, ``rows`` cycles later at the
    earliest.

    Parameters
    ----------
    rows : int
        Rows of the segment.

    Members
    -------
    loaded : In(1)
        The bottom row has finished.
    shift : Out(rows)
        Row takes over the count above it.
    valid : Out(1)
        The bottom row shows a count of this pass.
    """

    def __init__(self, rows):
        self.rows = rows
        super().__init__({"loaded": In(1), "shift": Out(rows), "valid": Out(1)})

    def elaborate(self, platform):
        m = Module()
        rows = self.rows
        # waiting[q]: row q still owes a shift; the ones move down and run out at the bottom.
        waiting = Signal(rows)
        below_top = (1 << (rows - 1)) - 1
        with m.If(self.loaded):
            m.d.sync += waiting.eq(below_top >> 1)
        with m.Else():
            m.d.sync += waiting.eq(waiting >> 1)
        m.d.comb += self.shift.eq(waiting | Cat(self.loaded for _ in range(rows - 1)))
        presented = Signal(rows)
        m.d.sync += presented.eq((presented << 1) | self.loaded)
        m.d.comb += self.valid.eq(self.loaded | presented[:rows - 1].any())
        return m
