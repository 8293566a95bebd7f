"""Walks the output pixels of a layer for the feed: how far each is from the borders of its map."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..common.guard import reaches
from ..common.layout import layer_layout
from ..common.raster import Raster
from ..spec.descriptor import MAX_BORDER

__all__ = ["FeedWalker", "Position"]


class Position(data.Struct):
    """Distances of an output pixel from the borders of its map, at most ``MAX_BORDER``."""

    above: 3
    below: 3
    left: 3
    right: 3
    #: The pixel is one of the output map, not a virtual one.
    alive: 1


class FeedWalker(wiring.Component):
    """Positions of all pixels of a tile, prepared one per cycle under the tile before.

    ``rows`` cycles after ``start`` or ``advance`` the next tile's positions are ready; the tiles
    of a layer are at least that far apart.

    Parameters
    ----------
    config : MachineConfig
        Machine.

    Members
    -------
    layer : In(layer_layout)
        The layer; stable from ``start`` on.
    start : In(1)
        Begin at pixel 0.
    advance : In(1)
        Show the next tile from the next cycle on.
    positions : Out(Position).array(rows)
        The tile being fed.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "layer": In(layer_layout(config)), "start": In(1), "advance": In(1),
            "positions": Out(Position).array(config.rows),
        })

    def elaborate(self, platform):
        m = Module()
        layer, rows = self.layer, self.config.rows
        m.submodules.raster = raster = Raster(self.config)
        begun, step = Signal(), Signal()
        left = Signal(range(rows + 1))
        m.d.sync += begun.eq(self.start)
        m.d.comb += [
            raster.layer.eq(layer), raster.start.eq(self.start), raster.step.eq(step),
            step.eq(begun | self.advance | (left != 0)),
        ]
        with m.If(begun | self.advance):
            m.d.sync += left.eq(rows - 1)
        with m.Elif(left != 0):
            m.d.sync += left.eq(left - 1)

        position = Signal(Position)
        m.d.comb += [
            position.above.eq(_capped(raster.y)),
            position.below.eq(_capped(raster.below)),
            position.left.eq(_capped(raster.x)),
            position.right.eq(_capped(raster.right)),
            position.alive.eq(raster.alive),
        ]
        coming = [Signal(Position, name=f"coming_{r}") for r in range(rows)]
        with m.If(step):
            for r in range(rows):
                m.d.sync += coming[r].eq(coming[r + 1] if r + 1 < rows else position)
        with m.If(self.advance):
            m.d.sync += [self.positions[r].eq(coming[r]) for r in range(rows)]
        return m


def _capped(distance):
    return Mux(reaches(distance, MAX_BORDER + 1), MAX_BORDER, distance)
