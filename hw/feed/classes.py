"""Border classes: which of its biases a pixel takes."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..common.layout import feed_layout
from ..common.turns import last_turn
from .walker import Origin, RasterSignature

__all__ = ["BorderClasses"]


class BorderClasses(wiring.Component):
    """The classes of all rows of a tile, counted along with the raster a cycle behind it.

    The class of a line is its number if it is below ``border_top``, else ``border_top``, and one
    more with every line from ``out_lines - border_bottom`` on; the same with columns.

    Parameters
    ----------
    config : MachineConfig
        Machine.

    Members
    -------
    layer : In(feed_layout)
        The layer. A border is not wider than the map.
    raster : In(RasterSignature)
        What the raster of :class:`~hw.feed.walker.FeedWalker` does.
    classes : Out(ArrayLayout(4, rows))
        Of the tile shown, a cycle after its positions: 4 * line class + column class.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "layer": In(feed_layout(config)), "raster": In(RasterSignature(config)),
            "classes": Out(data.ArrayLayout(4, config.rows))})

    def elaborate(self, platform):
        m = Module()
        layer, rows, raster = self.layer, self.config.rows, self.raster
        step, first, new_line, advance = (Signal(name=name) for name in (
            "step", "first", "new_line", "advance"))
        m.d.sync += [step.eq(raster.step), first.eq(raster.first),
                     new_line.eq(raster.new_line), advance.eq(raster.advance)]
        far = Signal(Origin(self.config))
        m.d.sync += [
            far.line.eq(layer.out_lines - layer.border_bottom),
            far.place.eq(layer.walk_width - (
                Mux(layer.border_right[0], layer.images, 0)
                + Mux(layer.border_right[1], layer.images << 1, 0))),
        ]
        pixel = raster.pixel
        image_last = last_turn(m, "image", layer.images, begin=new_line, end=step)
        now = Signal(4)
        m.d.comb += now.eq(Cat(
            _class(m, "column", layer.border_left, new_line, step & image_last,
                   pixel.place == far.place),
            _class(m, "line", layer.border_top, first, new_line, pixel.line == far.line)))
        coming = [Signal(4, name=f"coming_{r}") for r in range(rows - 1)]
        with m.If(step):
            m.d.sync += [kept.eq(new) for kept, new in zip(coming, [*coming[1:], now],
                                                           strict=False)]
        with m.If(advance):
            m.d.sync += self.classes.eq(Cat(*coming, now))
        return m


def _class(m, name, near_border, restart, move, far_begins):
    """The class of a line or column, which is counted within both borders."""
    number, far = Signal(2, name=f"{name}_number"), Signal(2, name=f"{name}_far")
    with m.If(move):
        m.d.sync += [number.eq(Mux(number.all(), number, number + 1)),
                     far.eq(Mux(far.any(), far + 1, far_begins))]
    with m.If(restart):
        m.d.sync += [number.eq(0), far.eq(far_begins)]
    return Mux(number < near_border, number, near_border + far)[:2]
