"""Walks the output pixels of a layer for the writer: where each goes in its reader's layout."""

from typing import NamedTuple

from amaranth.hdl import Module, Mux, Signal, ValueLike
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..common.choice import choose
from ..common.guard import reaches
from ..common.layout import layer_layout
from ..common.raster import Raster
from ..common.turns import last_turn

__all__ = ["OutputPlace", "WriteWalker"]


class OutputPlace(data.StructLayout):
    """Where a pixel of the output map goes: bank, address of a word, and whether it exists."""

    def __init__(self, config):
        super().__init__({"bank": range(max(config.rows, 2)),
                          "address": range(4 * config.activation_depth), "valid": 1})


class _Loop(NamedTuple):
    """A loop of the reader's layout: its name; it ends a turn with this pixel; the banks and words
    to the next turn, and the words if that passes the last bank."""

    name: str
    end: ValueLike
    banks: ValueLike
    words: ValueLike
    wrapped: ValueLike


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
        loops = (
            _Loop("pixel", 1, 0, layer.out_phase_x, 0),
            _Loop("column", last_phase_x | line_end, 1, 0, layer.out_tile_words),
            _Loop("phase", line_end, 0, layer.out_phase_y, 0),
            _Loop("line", line_end & (last_phase_y | image_end),
                  layer.out_line_banks, layer.out_line_words, line_wrapped),
            _Loop("image", image_end,
                  layer.out_image_banks, layer.out_image_words, image_wrapped),
        )

        # The outermost loop that goes on takes along those within: all cursors load the same place.
        cursors = [Signal(cursor, name=loop.name) for loop in loops]
        ends = [loop.end for loop in loops]
        goes = [end & ~outer for end, outer in zip(ends, [*ends[1:], 0], strict=True)]
        origin, moved = Signal(cursor), Signal(cursor)
        banks, words, wrapped = (Signal(range(limit)) for limit in (
            max(rows, 2), 2 * depth, 2 * depth))
        m.d.comb += [
            origin.eq(choose(zip(goes, cursors, strict=True))),
            banks.eq(choose((go, loop.banks) for go, loop in zip(goes, loops, strict=True))),
            words.eq(choose((go, loop.words) for go, loop in zip(goes, loops, strict=True))),
            wrapped.eq(choose((go, loop.wrapped) for go, loop in zip(goes, loops, strict=True))),
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
