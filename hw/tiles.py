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
        A tile has left.
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
        layer, tile = self.layer, self.tile
        col = Signal.like(layer.col_tiles, name="col")
        pixel = Signal.like(layer.pixel_tiles, name="pixel")
        m.d.comb += [
            tile.last_col.eq(col == 1),
            tile.last.eq(tile.last_col & (pixel == 1)),
        ]
        # Both count down what is left.
        with m.If(self.step):
            m.d.sync += col.eq(col - 1)
            with m.If(tile.last_col):
                m.d.sync += [col.eq(layer.col_tiles), pixel.eq(pixel - 1)]
        with m.If(self.start):
            m.d.sync += [col.eq(layer.col_tiles), pixel.eq(layer.pixel_tiles)]
        return m
