"""Walks the virtual pixels for the feed: where on the map each row of a tile is."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ..common.layout import feed_layout

__all__ = ["FeedWalker", "Origin", "Position", "RasterSignature"]


class Origin(data.StructLayout):
    """Column ``place`` and ``line`` of a tile's row 0."""

    def __init__(self, config):
        layer = feed_layout(config)
        super().__init__({"place": layer["walk"].shape, "line": layer["out_lines"].shape})


class Position(data.StructLayout):
    """Where a row lies, seen from its tile's :class:`Origin`.

    A tile's rows follow each other, so what tells them apart is small. ``lines``: lines below the
    origin. ``place``: column place, if it lies on a lower line; on the origin's line row r lies r
    places right of it. ``alive``: it is a pixel of the map, not a virtual one.
    """

    def __init__(self, config):
        near = ceil_log2(config.rows)
        super().__init__({"place": near, "lines": near, "alive": 1})


class RasterSignature(wiring.Signature):
    """What the raster does.

    Members
    -------
    step, first, new_line : Out(1)
        It goes on to the next pixel, which may be the first one of the map, or of a line; at the
        begin of a layer it goes to the first one without a ``step``.
    advance : Out(1)
        Its pixel is the last one of a tile, which is shown.
    pixel : Out(Origin)
        Its pixel.
    """

    def __init__(self, config):
        super().__init__({"step": Out(1), "first": Out(1), "new_line": Out(1), "advance": Out(1),
                          "pixel": Out(Origin(config))})


class FeedWalker(wiring.Component):
    """Positions of all rows of a tile, prepared one per cycle under the tile before.

    ``rows`` cycles after ``begin`` or ``advance`` the next tile can be shown: tiles are at least
    that far apart. In a layer in pairs two places of a line are prepared per cycle, and half the
    cycles do.

    Parameters
    ----------
    config : MachineConfig
        Machine.

    Members
    -------
    layer : In(feed_layout)
        The layer; stable from ``begin`` on.
    begin : In(1)
        Begin at pixel 0.
    advance, restart : In(1)
        Show the next tile from the next cycle on; with ``advance``: it is the last of its sweep,
        and behind it comes pixel 0 again.
    origin : Out(Origin), positions : Out(Position).array(rows)
        The tile shown.
    raster : Out(RasterSignature)
        What the raster does, for those who count along; in pairs nobody does.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "layer": In(feed_layout(config)),
            "begin": In(1), "advance": In(1), "restart": In(1),
            "origin": Out(Origin(config)), "positions": Out(Position(config)).array(config.rows),
            "raster": Out(RasterSignature(config)),
        })

    def elaborate(self, platform):
        m = Module()
        rows = self.config.rows
        step, fresh, filling, left = Signal(), Signal(), Signal(), Signal(range(max(rows, 2)))
        m.d.comb += step.eq(self.advance | filling)
        m.d.sync += [left.eq(left - 1), filling.eq(filling & (left != 0))]
        with m.If(step):
            m.d.sync += fresh.eq(0)
        with m.If(self.begin | self.advance):
            m.d.sync += [left.eq(self._by_step(rows - 2, rows // 2 - 2)),
                         filling.eq(self._by_step(rows > 1, rows > 2)), fresh.eq(1)]

        position, beside, pixel = self._pixel(m, step)
        begins, coming = Signal(Origin(self.config)), [
            Signal(Position(self.config), name=f"coming_{r}") for r in range(rows - 1)]
        with m.If(step & fresh):
            m.d.sync += begins.eq(pixel)
        # The last rows of a tile come straight from the raster.
        tile = [self._by_step(one, two) for one, two in zip(
            [*coming, position], [*coming, position, beside][1:], strict=True)]
        with m.If(step):
            m.d.sync += [kept.eq(new) for kept, new in zip(coming, tile[1:], strict=True)]
        with m.If(self.advance):
            m.d.sync += self.origin.eq(self._by_step(begins if rows > 1 else pixel,
                                                     begins if rows > 2 else pixel))
            m.d.sync += [shown.eq(new) for shown, new in zip(self.positions, tile, strict=True)]
        return m

    def _by_step(self, one, two):
        """What holds for steps of one pixel, or, in a layer in pairs, of two."""
        return Mux(self.layer.pixel_pairs, two, one) if self.config.pixels_per_cycle == 2 else one

    def _pixel(self, m, step):
        """The raster: the pixel whose turn it is, as one of its tile, the one behind it in a pair,
        and the first of them on its own."""
        config, layer = self.config, self.layer
        position, pixel = Signal(Position(config)), Signal(Origin(config))
        first, line_end, new_line = Signal(), Signal(), Signal()
        m.d.comb += [first.eq(self.begin | (self.advance & self.restart)),
                     new_line.eq(first | (step & line_end)),
                     self.raster.step.eq(step), self.raster.first.eq(first),
                     self.raster.new_line.eq(new_line), self.raster.advance.eq(self.advance),
                     self.raster.pixel.eq(pixel)]
        # Counters come in chains, so that all that is compared stands in a register before.
        place, place_next, place_after = pixel.place, Signal.like(pixel.place), Signal(
            len(pixel.place) + 1)
        line_next, column_alive, line_alive = Signal.like(pixel.line), Signal(), Signal()
        with m.If(step):
            m.d.sync += [place.eq(place_next), place_next.eq(place_after),
                         place_after.eq(place_after + self._by_step(1, 2)),
                         line_end.eq(place_after == layer.walk),
                         column_alive.eq(column_alive & (place_next != layer.walk_width))]
            with m.If(line_end):
                m.d.sync += [pixel.line.eq(line_next), line_next.eq(line_next + 1),
                             line_alive.eq(line_alive & (line_next != layer.out_lines)),
                             position.lines.eq(position.lines + 1)]
        with m.If(new_line):
            m.d.sync += [place.eq(0), place_next.eq(self._by_step(1, 2)),
                         place_after.eq(self._by_step(2, 4)),
                         line_end.eq(layer.walk == self._by_step(1, 2)), column_alive.eq(1)]
        with m.If(first):
            m.d.sync += [pixel.line.eq(0), line_next.eq(1), line_alive.eq(1)]
        with m.If(self.begin | self.advance):
            m.d.sync += position.lines.eq(0)
        m.d.comb += [position.place.eq(place), position.alive.eq(column_alive & line_alive)]
        beside = Signal(Position(config))
        if config.pixels_per_cycle == 2:
            both_alive = self._both_alive(m, step, new_line, place_next, column_alive)
            m.d.comb += [beside.eq(position), beside.place[0].eq(1),
                         beside.alive.eq(both_alive & line_alive)]
        return position, beside, pixel

    def _both_alive(self, m, step, new_line, place_next, column_alive):
        """Whether both columns of a pair are on the map: of an odd width the last one is alone."""
        layer, both = self.layer, Signal(name="both_alive")
        whole = Cat(layer.walk_width[0] & ~layer.pixel_pairs, layer.walk_width[1:])
        with m.If(step):
            end = place_next == whole
            m.d.sync += [both.eq(both & ~end),
                         column_alive.eq(both & (~end | (layer.walk_width[0] & layer.pixel_pairs)))]
        with m.If(new_line):
            m.d.sync += [both.eq(whole.any()), column_alive.eq(1)]
        return both

