"""Walks the virtual pixels of a batch in order, once for the feed and once for the writer."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .layout import layer_layout
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
    alive : Out(1)
        The pixel is one of the output map.
    line_end, image_end : Out(1)
        The step wraps.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "layer": In(layer_layout(config)), "start": In(1), "step": In(1),
            "x": Out(8), "y": Out(8), "alive": Out(1), "line_end": Out(1), "image_end": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        layer = self.layer
        left, lines_end = Signal.like(layer.pixels, name="left"), Signal()
        m.d.comb += [
            self.alive.eq((left != 0) & (self.x < layer.out_width) & (self.y < layer.out_height)),
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
            position.below.eq(_capped((layer.out_height - raster.y - 1)[:8])),
            position.left.eq(_capped(raster.x)),
            position.right.eq(_capped((layer.out_width - raster.x - 1)[:8])),
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
    return Mux(distance > MAX_BORDER, MAX_BORDER, distance)


class OutputPlace(data.StructLayout):
    """Where a pixel of the output map goes: bank, address of its word 0, and whether it exists."""

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
    place : Out(OutputPlace)
        Place of the pixel in front.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "layer": In(layer_layout(config)), "start": In(1), "rotate": In(1), "replace": In(1),
            "place": Out(OutputPlace(config)),
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
            m.d.sync += ring[-1].eq(Mux(step, place, ring[0]))
            m.d.sync += [ring[r].eq(ring[r + 1]) for r in range(rows - 1)]
        m.d.comb += self.place.eq(ring[0])
        return m

    def _places(self, m, raster, step):
        """The raster's pixel in the reader's layout; three cursors and two phases follow it."""
        layer, rows, depth = self.layer, self.config.rows, self.config.activation_depth
        cursor = data.StructLayout({"bank": range(max(rows, 2)), "address": range(4 * depth)})
        pixel, line, image = (Signal(cursor, name=name) for name in ("pixel", "line", "image"))
        offset_x, offset_y = (Signal(range(2 * depth), name=f"offset_{axis}") for axis in "xy")
        next_line = step & raster.line_end
        last_phase_x = last_turn(m, "phase_x", layer.out_stride_x, begin=raster.start | next_line,
                                 end=step)
        last_phase_y = last_turn(m, "phase_y", layer.out_stride_y,
                                 begin=raster.start | (step & raster.image_end), end=next_line)

        # The way to the next bank is worked out beforehand for both cases, with and without a step
        # to the next tile, so that one sum and one choice are left.
        origin, moved = Signal(cursor), Signal(cursor)
        banks, words = Signal(range(max(rows, 2))), Signal(range(depth + 1))
        words_wrapped = Signal(range(2 * depth))
        line_wrapped, image_wrapped = Signal(range(2 * depth)), Signal(range(2 * depth))
        bank = Signal(range(2 * max(rows, 2)))
        m.d.sync += [line_wrapped.eq(layer.out_line_words + layer.out_tile_words),
                     image_wrapped.eq(layer.out_image_words + layer.out_tile_words)]
        m.d.comb += [origin.eq(pixel), banks.eq(1), words.eq(0),
                     words_wrapped.eq(layer.out_tile_words)]
        with m.If(raster.image_end):
            m.d.comb += [origin.eq(image), banks.eq(layer.out_image_banks),
                         words.eq(layer.out_image_words), words_wrapped.eq(image_wrapped)]
        with m.Elif(raster.line_end):
            m.d.comb += [origin.eq(line), banks.eq(layer.out_line_banks),
                         words.eq(layer.out_line_words), words_wrapped.eq(line_wrapped)]
        wraps = bank >= rows
        m.d.comb += [
            bank.eq(origin.bank + banks),
            moved.bank.eq(Mux(wraps, bank - rows, bank)),
            moved.address.eq(Mux(wraps, (origin.address + words_wrapped)[:len(moved.address)],
                                 (origin.address + words)[:len(moved.address)])),
        ]

        with m.If(raster.start):
            for here in (pixel, line, image):
                m.d.sync += [here.bank.eq(0), here.address.eq(layer.out_base)]
            m.d.sync += Cat(offset_x, offset_y).eq(0)
        with m.Elif(step):
            with m.If(raster.line_end | last_phase_x):
                m.d.sync += [offset_x.eq(0), pixel.eq(moved)]
            with m.Else():
                m.d.sync += offset_x.eq(offset_x + layer.out_phase_x)
            with m.If(raster.image_end):
                m.d.sync += [offset_y.eq(0), image.eq(moved), line.eq(moved)]
            with m.Elif(raster.line_end):
                with m.If(last_phase_y):
                    m.d.sync += [offset_y.eq(0), line.eq(moved)]
                with m.Else():
                    m.d.sync += [pixel.eq(line), offset_y.eq(offset_y + layer.out_phase_y)]

        place = Signal(OutputPlace(self.config))
        m.d.comb += [
            place.bank.eq(pixel.bank),
            place.address.eq(pixel.address + offset_x + offset_y),
            place.valid.eq(raster.alive),
        ]
        return place
