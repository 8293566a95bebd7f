"""Walks the pixels of the output map: where each goes in its reader's layout."""

from typing import NamedTuple

from amaranth.hdl import Cat, Module, Mux, Signal, ValueLike
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..common.choice import choose
from ..common.guard import reaches
from ..common.layout import output_layout
from ..common.turns import last_turn

__all__ = ["OutputPlace", "PlaceWalker"]


class OutputPlace(data.StructLayout):
    """Where a pixel of the output map goes: bank, and address of a word, which may lie outside."""

    def __init__(self, config):
        super().__init__({"bank": range(max(config.rows, 2)),
                          "address": range(4 * config.activation_depth)})


class _Loop(NamedTuple):
    """A loop of the reader's layout: it goes on with this pixel, and it or one outside; the banks
    and the words to its next turn."""

    goes: ValueLike
    ends: ValueLike
    banks: ValueLike
    words: ValueLike


LOOPS = ("pixel", "phase_x", "column", "phase_y", "line")
"""Loops of the reader's layout, innermost first."""


class _Move(data.StructLayout):
    """How one pixel follows another. ``sweep``: it begins a sweep; ``goes``: which loop goes on;
    ``ends``: loops whose turn begins with it, which is all of them in a new sweep."""

    def __init__(self):
        super().__init__({"sweep": 1, "goes": len(LOOPS), "ends": len(LOOPS)})


class PlaceWalker(wiring.Component):
    """Place of one pixel after the other, in the order in which they are written.

    The layout is that of :mod:`hw.spec.descriptor`: every loop of it, image, horizontal phase,
    column, vertical phase and line, keeps the place at which its turn began, so that no division by
    stride or rows is ever needed. A line has ``out_walk`` places. In pairs a step moves on by two
    pixels, which lie in banks next to each other.

    In the cycle of a step it is found which loop goes on, in the next one the bank, and then the
    address. Latency is ``PLACE_LATENCY`` cycles; throughput is one pixel per cycle. The first step
    comes two cycles after ``begin`` at the earliest.

    Parameters
    ----------
    config : MachineConfig
        Machine.

    Members
    -------
    layer : In(output_layout), begin : In(1)
        The layer, and its first cycle.
    step : In(1)
        A pixel.
    restart : In(1)
        Behind the pixel, or this cycle, comes pixel 0 of the next sweep.
    place : Out(OutputPlace)
        Place of the pixel, in the word of the sweep.
    second : Out(OutputPlace)
        With two pixels a cycle: place of the second pixel of a pair.
    granules : Out(granules)
        The granule of the word that is the sweep's, one bit for each there is.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "layer": In(output_layout(config)), "begin": In(1), "step": In(1), "restart": In(1),
            "place": Out(OutputPlace(config)), "granules": Out(config.granules),
            **({"second": Out(OutputPlace(config))} if config.pixels_per_cycle == 2 else {}),
        })

    def elaborate(self, platform):
        m = Module()
        restart, line_end = Signal(), Signal()
        m.d.sync += restart.eq(self.begin)
        sweep = restart | self.restart
        layer, new_line = self.layer, sweep | (self.step & line_end)
        walk, pixels, most = layer.out_walk, 1, max(self.config.rows, 2)
        if self.config.pixels_per_cycle == 2:
            walk = Mux(layer.pixel_pairs, walk >> 1, walk)
            pixels, most = Mux(layer.pixel_pairs, 2, 1), self.config.rows + 1
        m.d.comb += line_end.eq(last_turn(m, "place", walk, begin=sweep, end=self.step))
        image_end = last_turn(m, "image", layer.images, begin=new_line, end=self.step)
        if self.config.pixels_per_cycle == 2:
            # All pixels of a line are next to each other, those of different columns, too.
            image_end = image_end & ~layer.pixel_pairs
        last_phase_x = last_turn(m, "phase_x", layer.out_stride_x, begin=new_line,
                                 end=self.step & image_end)
        last_phase_y = last_turn(m, "phase_y", layer.out_stride_y, begin=sweep,
                                 end=self.step & line_end)
        column_end = image_end & last_phase_x
        loops = (
            _Loop(~image_end & ~line_end, 1, pixels, 0),
            _Loop(image_end & ~last_phase_x & ~line_end, image_end | line_end,
                  layer.out_phase_x_banks, layer.out_phase_x),
            _Loop(column_end & ~line_end, column_end | line_end,
                  layer.out_column_banks, layer.out_column_words),
            _Loop(line_end & ~last_phase_y, line_end, layer.out_phase_y_banks, layer.out_phase_y),
            _Loop(line_end & last_phase_y, line_end & last_phase_y,
                  layer.out_line_banks, layer.out_line_words),
        )
        move, banks = Signal(_Move()), Signal(range(most))
        words = Signal(range(2 * self.config.activation_depth))
        m.d.sync += [
            move.sweep.eq(sweep), move.goes.eq(Cat(~sweep & loop.goes for loop in loops)),
            move.ends.eq(Cat(sweep | (self.step & loop.ends) for loop in loops)),
            banks.eq(choose((loop.goes, loop.banks) for loop in loops)),
            words.eq(choose((loop.goes, loop.words) for loop in loops)),
        ]
        self._address(m, *self._bank(m, move, banks, words))
        return m

    def _bank(self, m, move, banks, words):
        """Moves the bank; behind the last one comes the first one again, a slot on.

        Returns
        -------
        View of _Move, Signal
            The move of the address, and its words.
        """
        rows = self.config.rows
        cursors = [Signal(self.place.bank.shape(), name=f"{loop}_bank") for loop in LOOPS]
        bank, wraps = Signal(range(2 * max(rows, 2))), Signal()
        m.d.comb += [bank.eq(choose(zip(move.goes, cursors)) + banks),
                     wraps.eq(~move.sweep & reaches(bank, rows))]
        for ends, here in zip(move.ends, cursors):
            with m.If(ends):
                m.d.sync += here.eq(Mux(wraps, bank - rows, bank))
        with m.If(move.sweep):
            m.d.sync += [here.eq(0) for here in cursors]
        if self.config.pixels_per_cycle == 2:
            m.d.sync += self.second.bank.eq(Mux(cursors[0] == rows - 1, 0, cursors[0] + 1))
        later, all_words = Signal(_Move()), Signal(len(self.place.address))
        m.d.sync += [self.place.bank.eq(cursors[0]), later.eq(move),
                     all_words.eq(words + Mux(wraps, self.layer.out_tile_words, 0))]
        return later, all_words

    def _address(self, m, move, words):
        """Moves the address; words are filled granule by granule, so that a sweep begins in the
        word of the one before, or in the next one."""
        config = self.config
        origin = Signal.like(self.place.address)
        cursors = [Signal.like(origin, name=f"{loop}_address") for loop in LOOPS]
        moved = Signal.like(origin)
        m.d.comb += [
            moved.eq(choose(zip(move.goes, cursors)) + words),
            self.place.address.eq(cursors[0]),
        ]
        if config.pixels_per_cycle == 2:
            m.d.comb += self.second.address.eq(
                cursors[0] + Mux(self.second.bank == 0, self.layer.out_tile_words, 0))
        with m.If(move.sweep):
            m.d.comb += moved.eq(origin)
        for ends, here in zip(move.ends, cursors):
            with m.If(ends):
                m.d.sync += here.eq(moved)
        filled = self.granules.rotate_left(1)[-1]
        with m.If(move.sweep):
            m.d.sync += [self.granules.eq(self.granules.rotate_left(1)), origin.eq(origin + filled)]
        with m.If(self.begin):
            m.d.sync += [self.granules.eq(1 << config.granules - 1),
                         origin.eq(self.layer.out_base)]
