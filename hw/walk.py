"""Walks the virtual pixels of a batch in order, once for the feed and once for the writer."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .choice import choose
from .layout import layer_layout
from .limit import reaches
from .spec.descriptor import MAX_BORDER
from .turns import last_turn

__all__ = ["FeedWalker", "OutputPlace", "Position", "Raster", "WriteWalker"]


class Position(data.Struct):
    """Distances of an output pixel from the borders of its map, at most ``MAX_BORDER``."""

    above: 3
    below: 3
    left: 3
    right: 3
    #: The pixel is one of the output map, not a virtual one.
    alive: 1


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


class OutputPlace(data.StructLayout):
    """Where a pixel of the output map goes: bank, address of a word, and whether it exists."""

    def __init__(self, config):
        super().__init__({"bank": range(max(config.rows, 2)),
                          "address": range(4 * config.activation_depth), "valid": 1})


class WriteWalker(wiring.Component):
    """Places of the pixels of a tile in the reader's layout, as a ring of ``rows`` entries.

    The layout is that of :mod:`hw.spec.descriptor`: line and column advance a (bank, address) pair
    each time their phase wraps, so that no division by stride or rows is ever needed. The places of
    the first tile are ready ``rows + 2`` cycles after ``start``.

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
    rotate : In(1)
        Bring the next pixel to the front; the front one goes to the back.
    replace : In(1)
        With ``rotate``: the front one is done with, a pixel of the next tile takes its place.
    next_word : In(1)
        With ``rotate``: the front one returns with the address of its next word.
    place : Out(OutputPlace)
        Place of the pixel in front.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "layer": In(layer_layout(config)), "start": In(1), "rotate": In(1), "replace": In(1),
            "next_word": In(1), "place": Out(OutputPlace(config)),
        })

    def elaborate(self, platform):
        m = Module()
        rows = self.config.rows
        m.submodules.raster = raster = Raster(self.config)
        filling, begun = Signal(range(rows + 1)), Signal()
        step = Signal()
        m.d.sync += begun.eq(self.start)
        with m.If(begun):
            m.d.sync += filling.eq(rows)
        with m.Elif(filling != 0):
            m.d.sync += filling.eq(filling - 1)
        m.d.comb += [
            raster.layer.eq(self.layer), raster.start.eq(self.start), raster.step.eq(step),
            step.eq((filling != 0) | (self.rotate & self.replace)),
        ]
        place = self._places(m, raster, step)
        ring = [Signal(OutputPlace(self.config), name=f"ring_{r}") for r in range(rows)]
        with m.If(step | self.rotate):
            m.d.sync += [ring[-1].eq(ring[0]),
                         ring[-1].address.eq(ring[0].address + self.next_word)]
            m.d.sync += [ring[r].eq(ring[r + 1]) for r in range(rows - 1)]
        with m.If(step):
            m.d.sync += ring[-1].eq(place)
        m.d.comb += self.place.eq(ring[0])
        return m

    def _places(self, m, raster, step):
        """The raster's pixel in the reader's layout, kept by a cursor for every loop of it."""
        layer, rows, depth = self.layer, self.config.rows, self.config.activation_depth
        cursor = data.StructLayout({"bank": range(max(rows, 2)), "address": range(4 * depth)})
        line_end, image_end = raster.line_end, raster.image_end
        last_phase_x = last_turn(m, "phase_x", layer.out_stride_x,
                                 begin=raster.start | (step & line_end), end=step)
        last_phase_y = last_turn(m, "phase_y", layer.out_stride_y,
                                 begin=raster.start | (step & image_end), end=step & line_end)
        # The way to the next bank is worked out beforehand for both cases, with and without a step
        # to the next tile, so that one choice and one sum are left.
        line_wrapped, image_wrapped = Signal(range(2 * depth)), Signal(range(2 * depth))
        m.d.sync += [line_wrapped.eq(layer.out_line_words + layer.out_tile_words),
                     image_wrapped.eq(layer.out_image_words + layer.out_tile_words)]
        loops = (("pixel", 1, 0, layer.out_phase_x, 0),
                 ("column", last_phase_x | line_end, 1, 0, layer.out_tile_words),
                 ("phase", line_end, 0, layer.out_phase_y, 0),
                 ("line", line_end & (last_phase_y | image_end),
                  layer.out_line_banks, layer.out_line_words, line_wrapped),
                 ("image", image_end, layer.out_image_banks, layer.out_image_words, image_wrapped))

        # The outermost loop that goes on takes along those within: all cursors load the same place.
        cursors = [Signal(cursor, name=name) for name, *_ in loops]
        ends = [end for _name, end, *_ in loops]
        goes = [end & ~outer for end, outer in zip(ends, [*ends[1:], 0], strict=True)]
        origin, moved = Signal(cursor), Signal(cursor)
        banks, words, wrapped = (Signal(range(limit)) for limit in (
            max(rows, 2), 2 * depth, 2 * depth))
        m.d.comb += [
            origin.eq(choose(zip(goes, cursors, strict=True))),
            banks.eq(choose((go, loop[2]) for go, loop in zip(goes, loops, strict=True))),
            words.eq(choose((go, loop[3]) for go, loop in zip(goes, loops, strict=True))),
            wrapped.eq(choose((go, loop[4]) for go, loop in zip(goes, loops, strict=True))),
        ]
        for here, end in zip(cursors, ends, strict=True):
            with m.If(raster.start | (step & end)):
                m.d.sync += here.eq(moved)
        bank = Signal(range(2 * max(rows, 2)))
        wraps = reaches(bank, rows)
        m.d.comb += [
            bank.eq(origin.bank + banks),
            moved.bank.eq(Mux(wraps, bank - rows, bank)),
            moved.address.eq(origin.address + Mux(wraps, wrapped, words)),
        ]
        with m.If(raster.start):
            m.d.comb += [moved.bank.eq(0), moved.address.eq(layer.out_base)]
        place = Signal(OutputPlace(self.config))
        m.d.comb += [place.bank.eq(cursors[0].bank), place.address.eq(cursors[0].address),
                     place.valid.eq(raster.alive)]
        return place
