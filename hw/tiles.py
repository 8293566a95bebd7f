"""Counts the tiles of a layer as they leave."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .layout import layer_layout

__all__ = ["TileCounter", "TileSignature"]


class TileSignature(wiring.Signature):
    """The tile that leaves.

    Members
    -------
    last_col : Out(1)
        Its column tile is the last one.
    last : Out(1)
        It is the last tile of the layer.
    """

    def __init__(self):
        super().__init__({"last_col": Out(1), "last": Out(1)})


class TileCounter(wiring.Component):
    """Column tiles inside, pixel tiles outside.

    Parameters
    ----------
    config : MachineConfig
        Machine.

    Members
    -------
    layer : In(layer_layout), start : In(1)
        The layer, and its begin.
    step : In(1)
        A tile has left; at most every other cycle.
    tile : Out(TileSignature)
        The tile that leaves next.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "layer": In(layer_layout(config)), "start": In(1), "step": In(1),
            "tile": Out(TileSignature()),
        })

    def elaborate(self, platform):
        m = Module()
        layer = self.layer
        col = Signal.like(layer.col_tiles, name="col", init=1)
        pixel = Signal.like(layer.pixel_tiles, name="pixel", init=1)
        last_col, last_pixel = Signal(), Signal()
        # Tiles leave some cycles apart: time for the comparison to be in a register.
        m.d.sync += [last_col.eq(col == layer.col_tiles), last_pixel.eq(pixel == layer.pixel_tiles)]
        m.d.comb += [self.tile.last_col.eq(last_col), self.tile.last.eq(last_col & last_pixel)]
        with m.If(self.step):
            m.d.sync += col.eq(col + 1)
        with m.If(self.step & last_col):
            m.d.sync += [col.eq(1), pixel.eq(pixel + 1)]
        with m.If(self.start):
            m.d.sync += [col.eq(1), pixel.eq(1)]
        return m
