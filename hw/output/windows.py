"""Walks the pooled windows that every pixel lies in."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..common.layout import output_layout
from ..common.turns import last_turn
from ..spec.descriptor import MAX_POOL

__all__ = ["Visit", "WindowWalker"]

OFFSET = signed(MAX_POOL.bit_length() + 1)
"""A pixel's place within a window, or, negative, before it."""

BEHIND = signed(MAX_POOL.bit_length() + 2)
"""The same within the window behind."""


class Visit(data.StructLayout):
    """A pixel meets a window.

    ``valid``: there is a window; ``entry``: that of the line memory; ``first``: the pixel is the
    first one of the window; ``complete``: it is the last one.
    """

    def __init__(self, config):
        super().__init__({"valid": 1, "entry": range(max(config.pool_depth, 2)), "first": 1,
                          "complete": 1})


class WindowWalker(wiring.Component):
    """Shows the windows of a pixel one per cycle, the oldest first; combinational.

    Of the windows in a line, and of those in a column, the oldest one in which a pixel lies is
    known: it moves on by one stride when the pixel has been its last one. The windows behind it are
    found one by one. Only the oldest window can be complete, so a pixel completes one window at
    most, and that in its first cycle.

    Parameters
    ----------
    config : MachineConfig
        Machine.

    Members
    -------
    layer : In(output_layout), begin : In(1)
        The layer, and its first cycle.
    active : In(1), first : In(1), step : In(1)
        A pixel is there; this is its first, its last cycle.
    line_end, sweep_end : In(1)
        The pixel is the last one of its line, of its sweep.
    visit : Out(Visit)
        A window that the pixel lies in.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "layer": In(output_layout(config)), "begin": In(1), "active": In(1), "first": In(1),
            "step": In(1), "line_end": In(1), "sweep_end": In(1), "visit": Out(Visit(config)),
        })

    def elaborate(self, platform):
        m = Module()
        visit = self.visit
        over, new_line, load = Signal(), Signal(), Signal()
        next_row, searching = Signal(), Signal()
        m.d.comb += [over.eq(self.begin | (self.step & self.sweep_end)),
                     new_line.eq(over | (self.step & self.line_end)),
                     load.eq(self.begin | self.step)]
        x, y = self._columns(m, new_line, load, next_row), self._lines(m, over, load, next_row)
        m.d.comb += next_row.eq(x.last)
        with m.If(load):
            m.d.sync += searching.eq(1)
        with m.Elif(self.active & x.last & y.last):
            m.d.sync += searching.eq(0)
        m.d.comb += [
            visit.valid.eq(self.active & searching & x.exists & y.exists),
            visit.entry.eq(x.entry + y.entry), visit.first.eq(x.first & y.first),
            visit.complete.eq(visit.valid & self.first & x.complete & y.complete),
        ]
        return m

    def _axis(self):
        return Signal(data.StructLayout({
            "exists": 1, "first": 1, "last": 1, "complete": 1,
            "entry": range(max(self.config.pool_depth, 2))}), name="axis")

    def _columns(self, m, new_line, load, next_row):
        """The windows of a line, which begin anew for every window of the column."""
        layer, axis = self.layer, self._axis()
        here, oldest, following = (Signal(OFFSET, name=f"x_{name}") for name in (
            "here", "oldest", "following"))
        entry, start, column, next_start = (Signal.like(axis.entry, name=f"x_{name}") for name in (
            "entry", "start", "column", "next_start"))
        # Windows from the oldest one to the last one of the line, and, counted up to more than a
        # pixel can lie in, from the one that is shown.
        left, next_left = Signal.like(layer.pool_width), Signal.like(layer.pool_width)
        ahead, most = Signal(range(MAX_POOL + 1)), Signal(range(MAX_POOL + 1))
        behind, passed, at_left = Signal(BEHIND, name="x_behind"), Signal(), Signal()
        image_end = last_turn(m, "image", layer.images, begin=new_line, end=self.step)
        m.d.comb += [
            axis.complete.eq(oldest + 1 == layer.pool_window_x),
            passed.eq(image_end & axis.complete),
            following.eq(oldest + image_end - Mux(passed, layer.pool_stride_x, 0)),
            next_left.eq(left - (passed & (left != 0))),
            next_start.eq(Mux(image_end & ~axis.complete, column, start + 1)),
        ]
        with m.If(new_line):
            m.d.comb += [following.eq(layer.pool_left), next_left.eq(layer.pool_width),
                         next_start.eq(0)]
            m.d.sync += [column.eq(0), at_left.eq(1)]
        with m.Elif(self.step & image_end):
            m.d.sync += at_left.eq(0)
            with m.If(axis.complete):
                m.d.sync += column.eq(next_start)
        m.d.comb += [most.eq(Mux(left[len(most):].any(), MAX_POOL, left)),
                     behind.eq(here - layer.pool_stride_x),
                     axis.last.eq((behind < 0) | ~ahead[1:].any())]
        with m.If(load):
            m.d.sync += [oldest.eq(following), left.eq(next_left), start.eq(next_start)]
            m.d.sync += [here.eq(following), entry.eq(next_start),
                         ahead.eq(Mux(next_left[len(most):].any(), MAX_POOL, next_left))]
        with m.Elif(self.active & next_row):
            m.d.sync += [here.eq(oldest), entry.eq(start), ahead.eq(most)]
        with m.Elif(self.active):
            m.d.sync += [here.eq(behind), entry.eq(entry + layer.images), ahead.eq(ahead - 1)]
        m.d.comb += [axis.exists.eq((here >= 0) & (ahead != 0)),
                     axis.first.eq((here == 0) | at_left), axis.entry.eq(entry)]
        return axis

    def _lines(self, m, over, load, next_row):
        """The windows of a column; the line memory has a line for each that a pixel can lie in.

        A window below the map's last one does no harm in there, as it has a line of its own, and
        must only not be complete.
        """
        layer, axis = self.layer, self._axis()
        here, oldest, following = (Signal(OFFSET, name=f"y_{name}") for name in (
            "here", "oldest", "following"))
        entry, start, next_start = (Signal.like(axis.entry, name=f"y_{name}") for name in (
            "entry", "start", "next_start"))
        slot, line, next_line = (Signal.like(layer.pool_open_y, name=f"y_{name}") for name in (
            "slot", "line", "next_line"))
        size = Signal(range(2 * self.config.pool_depth))
        ended, passed, at_top, below = Signal(), Signal(), Signal(), Signal()
        behind, inside = Signal(BEHIND, name="y_behind"), Signal()
        m.d.sync += size.eq(layer.pool_width * layer.images)
        m.d.comb += [
            ended.eq(self.step & self.line_end), inside.eq(oldest + 1 == layer.pool_window_y),
            passed.eq(ended & inside),
            following.eq(oldest + ended - Mux(passed, layer.pool_stride_y, 0)),
            next_start.eq(start), next_line.eq(line), axis.complete.eq(inside & ~below),
        ]
        bottom = last_turn(m, "window", layer.pool_lines, begin=over, end=passed)
        with m.If(passed):
            m.d.comb += self._next_line(start, line, next_start, next_line, size)
            with m.If(bottom):
                m.d.sync += below.eq(1)
        with m.If(ended):
            m.d.sync += at_top.eq(0)
        with m.If(over):
            m.d.comb += [following.eq(layer.pool_top), next_start.eq(0), next_line.eq(1)]
            m.d.sync += [at_top.eq(1), below.eq(0)]
        m.d.comb += [behind.eq(here - layer.pool_stride_y), axis.last.eq(behind < 0)]
        with m.If(load):
            m.d.sync += [oldest.eq(following), start.eq(next_start), line.eq(next_line)]
            m.d.sync += [here.eq(following), entry.eq(next_start), slot.eq(next_line)]
        with m.Elif(self.active & next_row):
            m.d.sync += [here.eq(behind), *self._next_line(entry, slot, entry, slot, size)]
        m.d.comb += [axis.exists.eq(here >= 0), axis.first.eq((here == 0) | at_top),
                     axis.entry.eq(entry)]
        return axis

    def _next_line(self, entry, slot, next_entry, next_slot, size):
        wraps = slot == self.layer.pool_open_y
        return [next_slot.eq(Mux(wraps, 1, slot + 1)),
                next_entry.eq(Mux(wraps, 0, entry + size))]
