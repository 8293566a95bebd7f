"""The virtual pixels of a batch in order; the feed and the writer each walk them once."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .layout import layer_layout
from .turns import last_turn

__all__ = ["Raster"]


class Raster(wiring.Component):
    """Steps through x, y and the images of the batch, one virtual pixel per ``step``.

    Members
    -------
    layer : In(layer_layout)
        The layer; stable from ``start`` on.
    start, step : In(1)
        Go to pixel 0; go on by one.
    x, y : Out(8)
        Place on the map.
    right, below : Out(8)
        Pixels of the output map to the right of it, and below it, if it is ``alive``.
    alive : Out(1)
        The pixel is one of the output map.
    line_end, image_end : Out(1)
        The step wraps.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "layer": In(layer_layout(config)), "start": In(1), "step": In(1),
            "x": Out(8), "y": Out(8), "right": Out(8), "below": Out(8),
            "alive": Out(1), "line_end": Out(1), "image_end": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        layer = self.layer
        left, lines_end = Signal.like(layer.pixels, name="left"), Signal()
        in_line, in_image = Signal(), Signal()
        # One subtraction gives the sign and, inverted, the distance to the last pixel.
        past_line, past_image = self.x - layer.out_width, self.y - layer.out_height
        m.d.comb += [
            in_line.eq(past_line < 0), self.right.eq(~past_line),
            in_image.eq(past_image < 0), self.below.eq(~past_image),
            self.alive.eq((left != 0) & in_line & in_image),
            self.image_end.eq(self.line_end & lines_end),
        ]
        m.d.comb += [
            self.line_end.eq(last_turn(m, "column", layer.pitch_x, begin=self.start,
                                       end=self.step)),
            lines_end.eq(last_turn(m, "line", layer.pitch_y, begin=self.start,
                                   end=self.step & self.line_end)),
        ]
        with m.If(self.start):
            m.d.sync += [self.x.eq(0), self.y.eq(0), left.eq(layer.pixels)]
        with m.Elif(self.step):
            m.d.sync += self.x.eq(self.x + 1)
            with m.If(left != 0):
                m.d.sync += left.eq(left - 1)
            with m.If(self.line_end):
                m.d.sync += [self.x.eq(0), self.y.eq(self.y + 1)]
            with m.If(self.image_end):
                m.d.sync += self.y.eq(0)
        return m
