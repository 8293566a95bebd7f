"""Walks the pooled windows that every pixel lies in."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..common.layout import output_layout
from ..common.turns import last_turn
from ..spec.descriptor import MAX_MAP, MAX_POOL

__all__ = ["Visit", "WindowWalker"]


class Visit(data.StructLayout):
    """A pixel meets a window.

    ``valid``: there is a window; ``entry``: that of the line memory; ``first``: the pixel is the
    first one of the window; ``complete``: it is the last one.
    """

    def __init__(self, config):
        super().__init__({"valid": 1, "entry": range(max(config.pool_depth, 2)), "first": 1,
                          "complete": 1})


class _Axis(data.StructLayout):
    """A window, one of those in a line or one of those in a column.

    ``offset``: of the pixel within the window, negative before it; ``left``: windows from this one
    to the last one; ``entry``: its share of the entry; ``slot``: its line of the line memory.
    """

    def __init__(self, config):
        super().__init__({"offset": signed(MAX_POOL.bit_length() + 1), "left": range(MAX_MAP + 1),
                          "entry": range(max(config.pool_depth, 2)),
                          "slot": range(MAX_POOL + 1)})


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
    active : In(1), step : In(1)
        A pixel is there; this is its last cycle.
    line_end, sweep_end : In(1)
        The pixel is the last one of its line, of the sweep.
    visit : Out(Visit)
        A window that the pixel lies in.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "layer": In(output_layout(config)), "begin": In(1), "active": In(1), "step": In(1),
            "line_end": In(1), "sweep_end": In(1), "visit": Out(Visit(config)),
        })

    def elaborate(self, platform):
        m = Module()
        config, layer, visit = self.config, self.layer, self.visit
        axis = _Axis(config)
        # The oldest windows of this pixel and of the next one, and the windows that are shown.
        x, next_x, here_x = Signal(axis), Signal(axis), Signal(axis)
        y, next_y, here_y = Signal(axis), Signal(axis), Signal(axis)
        at_left, at_top, first_cycle, searching = Signal(), Signal(), Signal(), Signal()
        over = self.begin | (self.step & self.sweep_end)
        new_line = over | (self.step & self.line_end)
        line = Signal(range(2 * config.pool_depth))
        m.d.sync += line.eq(layer.pool_width * layer.images)
        image_end = last_turn(m, "image", layer.images, begin=new_line, end=self.step)

        column = Signal.like(x.entry)
        done_x, done_y = Signal(), Signal()
        m.d.comb += [done_x.eq(x.offset + 1 == layer.pool_window_x),
                     done_y.eq(y.offset + 1 == layer.pool_window_y)]
        m.d.comb += [next_x.eq(x), next_y.eq(y)]
        with m.If(new_line):
            m.d.comb += [next_x.offset.eq(layer.pool_left), next_x.left.eq(layer.pool_width),
                         next_x.entry.eq(0)]
        with m.Elif(image_end & done_x):
            m.d.comb += self._passed(x, next_x, layer.pool_stride_x)
            m.d.comb += next_x.entry.eq(x.entry + 1)
        with m.Elif(image_end):
            m.d.comb += [next_x.offset.eq(x.offset + 1), next_x.entry.eq(column)]
        with m.Else():
            m.d.comb += next_x.entry.eq(x.entry + 1)
        with m.If(new_line):
            m.d.sync += [column.eq(0), at_left.eq(1)]
        with m.Elif(self.step & image_end):
            m.d.sync += at_left.eq(0)
            with m.If(done_x):
                m.d.sync += column.eq(x.entry + 1)

        with m.If(over):
            m.d.comb += [next_y.offset.eq(layer.pool_top), next_y.left.eq(layer.pool_lines),
                         next_y.entry.eq(0), next_y.slot.eq(1)]
            m.d.sync += at_top.eq(1)
        with m.Elif(self.step & self.line_end):
            m.d.sync += at_top.eq(0)
            with m.If(done_y):
                m.d.comb += self._passed(y, next_y, layer.pool_stride_y)
                m.d.comb += self._next_line(y, next_y, line)
            with m.Else():
                m.d.comb += next_y.offset.eq(y.offset + 1)

        last_x = (here_x.offset < layer.pool_stride_x) | (here_x.left == 1)
        last_y = (here_y.offset < layer.pool_stride_y) | (here_y.left == 1)
        with m.If(self.begin | self.step):
            m.d.sync += [x.eq(next_x), y.eq(next_y), here_x.eq(next_x), here_y.eq(next_y),
                         first_cycle.eq(1), searching.eq(1)]
        with m.Elif(self.active):
            m.d.sync += first_cycle.eq(0)
            with m.If(last_x):
                m.d.sync += here_x.eq(x)
                m.d.sync += [*self._passed(here_y, here_y, layer.pool_stride_y, ahead=0),
                             *self._next_line(here_y, here_y, line)]
                with m.If(last_y):
                    m.d.sync += searching.eq(0)
            with m.Else():
                m.d.sync += self._passed(here_x, here_x, layer.pool_stride_x, ahead=0)
                m.d.sync += here_x.entry.eq(here_x.entry + layer.images)
        exists = [(here.offset >= 0) & (here.left != 0) for here in (here_x, here_y)]
        m.d.comb += [
            visit.valid.eq(self.active & searching & exists[0] & exists[1]),
            visit.entry.eq(here_x.entry + here_y.entry),
            visit.first.eq(((here_x.offset == 0) | at_left) & ((here_y.offset == 0) | at_top)),
            visit.complete.eq(first_cycle & done_x & done_y),
        ]
        return m

    def _passed(self, window, following, stride, *, ahead=1):
        """From a window to the one behind it, for the pixel that is ``ahead`` of this one."""
        return [following.offset.eq(window.offset + ahead - stride),
                following.left.eq(Mux(window.left == 0, 0, window.left - 1))]

    def _next_line(self, window, following, line):
        """The line memory has a line for every window that a pixel can lie in, and begins anew."""
        wraps = window.slot == self.layer.pool_open_y
        return [following.slot.eq(Mux(wraps, 1, window.slot + 1)),
                following.entry.eq(Mux(wraps, 0, window.entry + line))]
