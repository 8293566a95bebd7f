"""Counts the tiles of a layer as they leave."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..common.layout import layer_layout
from ..common.turns import last_turn

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
        last_col = last_turn(m, "col", self.layer.col_tiles, begin=self.start, end=self.step)
        last_pixel = last_turn(m, "pixel", self.layer.pixel_tiles, begin=self.start,
                               end=self.step & last_col)
        m.d.comb += [self.tile.last_col.eq(last_col), self.tile.last.eq(last_col & last_pixel)]
        return m
