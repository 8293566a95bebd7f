"""Walks the pooled windows that every pixel lies in."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..common.layout import output_layout
from ..common.turns import last_turn
from ..spec.descriptor import MAX_POOL
from ..spec.latency import WINDOW_LATENCY

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


class _Event(data.Struct):
    """What has ended with a pixel. ``step``: it itself; ``line_end``: its line; ``new_line``,
    ``over``: the next one begins a line, a sweep."""

    step: 1
    line_end: 1
    new_line: 1
    over: 1


class _Oldest(data.StructLayout):
    """The oldest window in a line, or in a column. ``place``: the pixel's within it; ``complete``:
    the pixel is its last one; ``edge``: the pixel is the first one of the map; ``entry``: what the
    window adds to that of the line memory."""

    def __init__(self, config):
        super().__init__({"place": OFFSET, "complete": 1, "edge": 1,
                          "entry": range(max(config.pool_depth, 2))})


class _Shown(data.StructLayout):
    """The window in a line, or in a column, that is shown: as in :class:`_Oldest`, and ``behind``:
    the pixel's place within the next one."""

    def __init__(self, config):
        oldest = _Oldest(config)
        super().__init__({"behind": BEHIND, **{name: field.shape for name, field in oldest}})


class WindowWalker(wiring.Component):
    """Shows the windows of a pixel one per cycle, the oldest first.

    Of the windows in a line, and of those in a column, the oldest one in which a pixel lies is
    known: it moves on by one stride when the pixel has been its last one. The windows behind it are
    found one by one. Only the oldest window can be complete, so a pixel completes one window at
    most, and that in its first cycle. Latency is ``WINDOW_LATENCY`` cycles.

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
        visit, event, load = self.visit, Signal(_Event), Signal()
        active, first, searching = Signal(WINDOW_LATENCY), Signal(WINDOW_LATENCY), Signal()
        over = self.begin | (self.step & self.sweep_end)
        line_end = self.step & self.line_end
        # The oldest windows move a cycle behind their pixel, and a search begins a cycle behind.
        m.d.sync += [
            event.step.eq(self.step), event.line_end.eq(line_end), event.over.eq(over),
            event.new_line.eq(over | line_end), load.eq(event.step | event.over),
            active.eq(Cat(self.active, active)), first.eq(Cat(self.first, first)),
        ]
        goes = active[-1]
        x, in_line, next_row = self._columns(m, event, load, goes)
        y = self._lines(m, event, load, goes & next_row)
        with m.If(load):
            m.d.sync += searching.eq(1)
        with m.Elif(goes & next_row & (y.behind < 0)):
            m.d.sync += searching.eq(0)
        m.d.comb += [
            visit.valid.eq(goes & searching & in_line & (x.place >= 0) & (y.place >= 0)),
            visit.entry.eq(x.entry + y.entry),
            visit.first.eq(((x.place == 0) | x.edge) & ((y.place == 0) | y.edge)),
            visit.complete.eq(visit.valid & first[-1] & x.complete & y.complete),
        ]
        return m

    def _columns(self, m, event, load, goes):
        """The windows of a line, which begin anew for every window of the column.

        Returns
        -------
        View of _Shown, Value, Value
            What is shown; it is a window of the line; the next one to be shown is the first one
            again.
        """
        layer = self.layer
        oldest, shown = (Signal(kind(self.config), name=f"x_{name}")
                         for name, kind in (("oldest", _Oldest), ("shown", _Shown)))
        image_end = last_turn(m, "image", layer.images, begin=event.new_line, end=event.step)
        passed, column = image_end & oldest.complete, Signal.like(oldest.entry)
        # Windows from the oldest one to the last one of the line, and, counted up to more than a
        # pixel can lie in, from the one that is shown.
        left, ahead = Signal.like(layer.pool_width), Signal(range(MAX_POOL + 1))
        with m.If(event.step):
            m.d.sync += [oldest.entry.eq(Mux(image_end & ~passed, column, oldest.entry + 1)),
                         left.eq(left - (passed & (left != 0)))]
            with m.If(image_end):
                m.d.sync += oldest.edge.eq(0)
            with m.If(passed):
                m.d.sync += column.eq(oldest.entry + 1)
        with m.If(event.new_line):
            m.d.sync += [oldest.entry.eq(0), column.eq(0), left.eq(layer.pool_width),
                         oldest.edge.eq(1)]
        _move(m, oldest, event.step & image_end, event.new_line, layer.pool_left,
              layer.pool_window_x, layer.pool_stride_x)

        next_row = (shown.behind < 0) | ~ahead[1:].any()
        anew = load | (goes & next_row)
        with m.If(goes):
            m.d.sync += [shown.entry.eq(shown.entry + layer.images), ahead.eq(ahead - 1)]
        with m.If(anew):
            m.d.sync += [shown.entry.eq(oldest.entry),
                         ahead.eq(Mux(left[len(ahead):].any(), MAX_POOL, left))]
        _search(m, shown, oldest, load, anew, goes, layer.pool_stride_x)
        return shown, ahead != 0, next_row

    def _lines(self, m, event, load, goes):
        """The windows of a column; the line memory has a line for each that a pixel can lie in.

        A window below the map's last one does no harm in there, as it has a line of its own, and
        must only not be complete.

        Returns
        -------
        View of _Shown
            What is shown.
        """
        layer = self.layer
        oldest, shown = (Signal(kind(self.config), name=f"y_{name}")
                         for name, kind in (("oldest", _Oldest), ("shown", _Shown)))
        slot, shown_slot = (Signal.like(layer.pool_open_y, name=name)
                            for name in ("slot", "shown_slot"))
        size, below = Signal(range(2 * self.config.pool_depth)), Signal()
        m.d.sync += size.eq(layer.pool_width * layer.images)

        def next_line(entry, slot):
            wraps = slot == layer.pool_open_y
            return [slot.eq(Mux(wraps, 1, slot + 1)), entry.eq(Mux(wraps, 0, entry + size))]

        passed = event.line_end & oldest.complete
        bottom = last_turn(m, "window", layer.pool_lines, begin=event.over, end=passed)
        with m.If(passed):
            m.d.sync += [*next_line(oldest.entry, slot), below.eq(below | bottom)]
        with m.If(event.line_end):
            m.d.sync += oldest.edge.eq(0)
        with m.If(event.over):
            m.d.sync += [oldest.entry.eq(0), slot.eq(1), below.eq(0), oldest.edge.eq(1)]
        _move(m, oldest, event.line_end, event.over, layer.pool_top, layer.pool_window_y,
              layer.pool_stride_y)

        with m.If(goes):
            m.d.sync += next_line(shown.entry, shown_slot)
        with m.If(load):
            m.d.sync += [shown.entry.eq(oldest.entry), shown_slot.eq(slot)]
        _search(m, shown, oldest, load, load, goes, layer.pool_stride_y)
        with m.If(load & below):
            m.d.sync += shown.complete.eq(0)
        return shown


def _move(m, oldest, goes, restart, before, window, stride):
    """Moves a pixel on by one, and by a stride back, into the next window, from the last one of its
    window on."""
    forward, end, place = Signal(OFFSET), Signal.like(window), Signal(OFFSET)
    m.d.sync += [forward.eq(1 - stride), end.eq(window - 1)]
    m.d.comb += place.eq(oldest.place + Mux(oldest.complete, forward, 1))
    with m.If(restart):
        m.d.comb += place.eq(before)
    with m.If(goes | restart):
        m.d.sync += [oldest.place.eq(place), oldest.complete.eq(place == end)]


def _search(m, shown, oldest, load, anew, goes, stride):
    """Goes on to the window behind, or anew to the oldest one."""
    with m.If(goes):
        m.d.sync += [shown.place.eq(shown.behind), shown.behind.eq(shown.behind - stride)]
    with m.If(anew):
        m.d.sync += [shown.place.eq(oldest.place), shown.behind.eq(oldest.place - stride)]
    with m.If(load):
        m.d.sync += [shown.complete.eq(oldest.complete), shown.edge.eq(oldest.edge)]
