"""Walks the virtual pixels of a layer as their codes come: which are written, where lines end."""

from amaranth.hdl import Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..common.layout import output_layout
from ..common.turns import last_turn

__all__ = ["PixelWalker"]


class PixelWalker(wiring.Component):
    """Steps through the column places of the lines that are walked, one virtual pixel per step, or,
    in a layer in pairs, two.

    Parameters
    ----------
    config : MachineConfig
        Machine.

    Members
    -------
    layer : In(output_layout), begin : In(1)
        The layer, and its first cycle.
    step : In(1)
        Go on to the next pixel.
    sweep_last : In(1)
        The tile is the last one of its sweep: pixel 0 follows it.
    alive : Out(1)
        The pixel lies on the map.
    second : Out(1)
        With two pixels a cycle, in a layer in pairs: so does the one behind it.
    line_end, tile_end, sweep_end : Out(1)
        It is the last one of its line, of its tile, of the sweep.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "layer": In(output_layout(config)), "begin": In(1), "step": In(1),
            "sweep_last": In(1),
            "alive": Out(1), "line_end": Out(1), "tile_end": Out(1), "sweep_end": Out(1),
            **({"second": Out(1)} if config.pixels_per_cycle == 2 else {}),
        })

    def elaborate(self, platform):
        m = Module()
        layer = self.layer
        # In steps; ``odd``: a step is of two pixels, and the last one of a line stands alone.
        walk, width, rows, odd = (
            layer.walk, layer.walk_width, Const(self.config.rows), Const(0))
        if self.config.pixels_per_cycle == 2:
            walk, width, rows = (Mux(layer.pixel_pairs, pixels >> 1, pixels)
                                 for pixels in (walk, width, rows))
            odd = layer.pixel_pairs & layer.walk_width[0]
        over = self.begin | (self.step & self.sweep_end)
        new_line = over | (self.step & self.line_end)
        # One counter serves two comparisons, each a pixel ahead: the end of what is walked, and of
        # what is written.
        following = Signal(len(layer.walk), init=2)
        edge, in_line = Signal(), Signal()
        both = Signal()
        with m.If(self.step):
            m.d.sync += [following.eq(following + 1), self.line_end.eq(following == walk),
                         edge.eq(following == width)]
            with m.If(edge):
                m.d.sync += in_line.eq(odd)
        if self.config.pixels_per_cycle == 2:
            with m.If(self.step & edge):
                m.d.sync += both.eq(0)
            with m.If(self.step & ~both):
                m.d.sync += in_line.eq(0)
            with m.If(new_line):
                m.d.sync += both.eq(width != 0)
        with m.If(new_line):
            m.d.sync += [following.eq(2), self.line_end.eq(walk == 1), edge.eq(width == 1),
                         in_line.eq(1)]

        bottom = last_turn(m, "line", layer.out_lines, begin=over, end=self.step & self.line_end)
        in_map = Signal()
        with m.If(self.step & self.line_end & bottom):
            m.d.sync += in_map.eq(0)
        with m.If(over):
            m.d.sync += in_map.eq(1)
        m.d.comb += [
            self.alive.eq(in_line & in_map),
            self.tile_end.eq(last_turn(m, "row", rows, begin=self.begin, end=self.step)),
            self.sweep_end.eq(self.tile_end & self.sweep_last),
        ]
        if self.config.pixels_per_cycle == 2:
            m.d.comb += self.second.eq(both & in_map)
        return m
