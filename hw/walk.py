"""Walks the virtual pixels of a batch in order, once for the feed and once for the writer."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .layout import LayerLayout

__all__ = ["FeedWalker", "OutputPlace", "Position", "WriteWalker"]


class Position(data.Struct):
    """A virtual pixel on its output map."""

    x: 8
    y: 8
    #: The pixel belongs to the batch.
    alive: 1


class _Raster(wiring.Component):
    """Steps through x, y and the images of the batch, one virtual pixel per ``step``."""

    def __init__(self):
        super().__init__({
            "layer": In(LayerLayout), "start": In(1), "step": In(1),
            "position": Out(Position), "line_end": Out(1), "image_end": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        left = Signal(24)
        at = self.position
        m.d.comb += [
            at.alive.eq(left != 0),
            self.line_end.eq(at.x + 1 == self.layer.pitch_x),
            self.image_end.eq(self.line_end & (at.y + 1 == self.layer.pitch_y)),
        ]
        with m.If(self.start):
            m.d.sync += [at.x.eq(0), at.y.eq(0), left.eq(self.layer.pixels)]
        with m.Elif(self.step):
            m.d.sync += at.x.eq(at.x + 1)
            with m.If(at.alive):
                m.d.sync += left.eq(left - 1)
            with m.If(self.line_end):
                m.d.sync += [at.x.eq(0), at.y.eq(at.y + 1)]
            with m.If(self.image_end):
                m.d.sync += at.y.eq(0)
        return m


class _Fill(wiring.Component):
    """Gives ``rows`` strobes after every ``trigger``, the first one in the same cycle."""

    def __init__(self, rows):
        self.rows = rows
        super().__init__({"trigger": In(1), "step": Out(1)})

    def elaborate(self, platform):
        m = Module()
        left = Signal(range(self.rows + 1))
        with m.If(self.trigger):
            m.d.sync += left.eq(self.rows - 1)
        with m.Elif(left != 0):
            m.d.sync += left.eq(left - 1)
        m.d.comb += self.step.eq(self.trigger | (left != 0))
        return m


class FeedWalker(wiring.Component):
    """Positions of all rows of a pixel tile, prepared one per cycle under the tile before.

    ``rows`` cycles after ``start`` or ``advance`` the next tile's positions are ready; the tiles of a
    layer are at least that far apart.

    Members
    -------
    layer : In(LayerLayout)
        The layer; stable from ``start`` on.
    start : In(1)
        Begin at pixel 0.
    advance : In(1)
        Show the next tile from the next cycle on.
    positions : Out(Position).array(rows)
        The tile being fed.
    """

    def __init__(self, rows):
        self.rows = rows
        super().__init__({
            "layer": In(LayerLayout), "start": In(1), "advance": In(1),
            "positions": Out(Position).array(rows),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.raster = raster = _Raster()
        m.submodules.fill = fill = _Fill(self.rows)
        begun = Signal()
        m.d.sync += begun.eq(self.start)
        m.d.comb += [
            raster.layer.eq(self.layer),
            raster.start.eq(self.start),
            fill.trigger.eq(begun | self.advance),
            raster.step.eq(fill.step),
        ]
        coming = [Signal(Position, name=f"coming_{r}") for r in range(self.rows)]
        with m.If(fill.step):
            for r in range(self.rows):
                m.d.sync += coming[r].eq(coming[r + 1] if r + 1 < self.rows else raster.position)
        with m.If(self.advance):
            m.d.sync += [self.positions[r].eq(coming[r]) for r in range(self.rows)]
        return m


class OutputPlace(data.StructLayout):
    """Where a pixel of the output map goes: bank, address of its word 0, and whether it exists."""

    def __init__(self, rows):
        super().__init__({"bank": range(rows) if rows > 1 else 1, "address": 18, "valid": 1})


class WriteWalker(wiring.Component):
    """Places of the pixels of a tile in the reader's layout, as a ring of ``rows`` entries.

    The layout is that of :mod:`hw.spec.descriptor`: line and column advance a (bank, address) pair
    each time their phase wraps, so that no division by stride or rows is ever needed.

    Members
    -------
    layer : In(LayerLayout)
        The layer; stable from ``start`` on.
    start : In(1)
        Begin at pixel 0.
    advance : In(1)
        Show the next tile from the next cycle on; at least ``rows`` cycles apart.
    rotate : In(1)
        Bring the next row to the front.
    place : Out(OutputPlace)
        Place of the row in front.
    """

    def __init__(self, rows):
        self.rows = rows
        super().__init__({
            "layer": In(LayerLayout), "start": In(1), "advance": In(1), "rotate": In(1),
            "place": Out(OutputPlace(rows)),
        })

    def elaborate(self, platform):
        m = Module()
        layer, rows = self.layer, self.rows
        m.submodules.raster = raster = _Raster()
        m.submodules.fill = fill = _Fill(rows)
        begun = Signal()
        m.d.sync += begun.eq(self.start)
        m.d.comb += [
            raster.layer.eq(layer),
            raster.start.eq(self.start),
            fill.trigger.eq(begun | self.advance),
            raster.step.eq(fill.step),
        ]
        place = self._places(m, raster, fill.step)

        coming = [Signal(OutputPlace(rows), name=f"coming_{r}") for r in range(rows)]
        ring = [Signal(OutputPlace(rows), name=f"ring_{r}") for r in range(rows)]
        with m.If(fill.step):
            for r in range(rows):
                m.d.sync += coming[r].eq(coming[r + 1] if r + 1 < rows else place)
        with m.If(self.advance):
            m.d.sync += [ring[r].eq(coming[r]) for r in range(rows)]
        with m.Elif(self.rotate):
            m.d.sync += [ring[r].eq(ring[(r + 1) % rows]) for r in range(rows)]
        m.d.comb += self.place.eq(ring[0])
        return m

    def _places(self, m, raster, step):
        layer, rows = self.layer, self.rows
        cursor = data.StructLayout({"bank": range(rows) if rows > 1 else 1, "address": 18})
        pixel, line, image = (Signal(cursor, name=name) for name in ("pixel", "line", "image"))
        phase_x, phase_y = Signal(4), Signal(4)
        offset_x, offset_y = Signal(18), Signal(18)
        last_phase_x = phase_x + 1 == layer.out_stride_x
        last_phase_y = phase_y + 1 == layer.out_stride_y

        def moved(name, origin, banks, words):
            result = Signal(cursor, name=name)
            bank = Signal(range(2 * rows), name=f"{name}_bank")
            m.d.comb += bank.eq(origin.bank + banks)
            with m.If(bank >= rows):
                m.d.comb += [result.bank.eq(bank - rows),
                             result.address.eq(origin.address + words + layer.out_tile_words)]
            with m.Else():
                m.d.comb += [result.bank.eq(bank), result.address.eq(origin.address + words)]
            return result

        next_pixel = moved("next_pixel", pixel, 1, 0)
        next_line = moved("next_line", line, layer.out_line_banks, layer.out_line_words)
        next_image = moved("next_image", image, layer.out_image_banks, layer.out_image_words)
        with m.If(raster.start):
            for here in (pixel, line, image):
                m.d.sync += [here.bank.eq(0), here.address.eq(layer.out_base)]
            m.d.sync += Cat(phase_x, phase_y, offset_x, offset_y).eq(0)
        with m.Elif(step):
            with m.If(last_phase_x):
                m.d.sync += [phase_x.eq(0), offset_x.eq(0), pixel.eq(next_pixel)]
            with m.Else():
                m.d.sync += [phase_x.eq(phase_x + 1), offset_x.eq(offset_x + layer.out_phase_x)]
            with m.If(raster.line_end):
                m.d.sync += [phase_x.eq(0), offset_x.eq(0), pixel.eq(line)]
                with m.If(last_phase_y):
                    m.d.sync += [phase_y.eq(0), offset_y.eq(0),
                                 line.eq(next_line), pixel.eq(next_line)]
                with m.Else():
                    m.d.sync += [phase_y.eq(phase_y + 1),
                                 offset_y.eq(offset_y + layer.out_phase_y)]
            with m.If(raster.image_end):
                m.d.sync += [phase_y.eq(0), offset_y.eq(0), image.eq(next_image),
                             line.eq(next_image), pixel.eq(next_image)]

        place = Signal(OutputPlace(rows))
        at = raster.position
        m.d.comb += [
            place.bank.eq(pixel.bank),
            place.address.eq(pixel.address + offset_x + offset_y),
            place.valid.eq(at.alive & (at.x < layer.out_width) & (at.y < layer.out_height)),
        ]
        return place
