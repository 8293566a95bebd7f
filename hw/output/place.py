"""Walks the pixels of the output map: where each goes in its reader's layout."""

from typing import NamedTuple

from amaranth.hdl import Module, Mux, Signal, ValueLike
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
    """A loop of the reader's layout: its name; it goes on with this pixel, and it or one outside;
    the banks and the words to its next turn."""

    name: str
    goes: ValueLike
    ends: ValueLike
    banks: ValueLike
    words: ValueLike


class PlaceWalker(wiring.Component):
    """Place of one pixel after the other, in the order in which they are written.

    The layout is that of :mod:`hw.spec.descriptor`: every loop of it, image, horizontal phase,
    column, vertical phase and line, keeps the place at which its turn began, so that no division by
    stride or rows is ever needed. A line has ``out_walk`` places. The first place is shown two
    cycles after ``begin``, every other one the cycle after its step.

    Parameters
    ----------
    config : MachineConfig
        Machine.

    Members
    -------
    layer : In(output_layout), begin : In(1)
        The layer, and its first cycle.
    step : In(1)
        Go on to the next pixel.
    restart : In(1)
        Go to pixel 0 of the next sweep instead.
    place : Out(OutputPlace)
        Place of the pixel, in the word of the sweep.
    granules : Out(granules)
        The granule of the word that is the sweep's, one bit for each there is.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "layer": In(output_layout(config)), "begin": In(1), "step": In(1), "restart": In(1),
            "place": Out(OutputPlace(config)), "granules": Out(config.granules),
        })

    def elaborate(self, platform):
        m = Module()
        config, layer = self.config, self.layer
        restart, line_end = Signal(), Signal()
        m.d.sync += restart.eq(self.begin)
        sweep = restart | self.restart

        # Where the sweep after this one begins: words are filled granule by granule.
        origin = Signal.like(self.place.address)
        filled = self.granules.rotate_left(1)[-1]
        with m.If(sweep):
            m.d.sync += [self.granules.eq(self.granules.rotate_left(1)), origin.eq(origin + filled)]
        with m.If(self.begin):
            m.d.sync += [self.granules.eq(1 << config.granules - 1), origin.eq(layer.out_base)]

        new_line = sweep | (self.step & line_end)
        m.d.comb += line_end.eq(last_turn(m, "place", layer.out_walk, begin=sweep, end=self.step))
        image_end = last_turn(m, "image", layer.images, begin=new_line, end=self.step)
        last_phase_x = last_turn(m, "phase_x", layer.out_stride_x, begin=new_line,
                                 end=self.step & image_end)
        last_phase_y = last_turn(m, "phase_y", layer.out_stride_y, begin=sweep,
                                 end=self.step & line_end)
        column_end = image_end & last_phase_x
        loops = (
            _Loop("pixel", ~image_end & ~line_end, 1, 1, 0),
            _Loop("phase_x", image_end & ~last_phase_x & ~line_end, image_end | line_end,
                  layer.out_phase_x_banks, layer.out_phase_x),
            _Loop("column", column_end & ~line_end, column_end | line_end,
                  layer.out_column_banks, layer.out_column_words),
            _Loop("phase_y", line_end & ~last_phase_y, line_end,
                  layer.out_phase_y_banks, layer.out_phase_y),
            _Loop("line", line_end & last_phase_y, line_end & last_phase_y,
                  layer.out_line_banks, layer.out_line_words),
        )
        self._move(m, loops, sweep, origin)
        return m

    def _move(self, m, loops, sweep, origin):
        """Keeps a cursor for every loop; the one that goes on takes along those within."""
        config, layer = self.config, self.layer
        cursors = [Signal(OutputPlace(config), name=loop.name) for loop in loops]
        chosen, moved = Signal(OutputPlace(config)), Signal(OutputPlace(config))
        banks = Signal(range(max(config.rows, 2)))
        words = Signal(range(2 * config.activation_depth))
        bank = Signal(range(2 * max(config.rows, 2)))
        wraps = Signal()
        m.d.comb += [
            chosen.eq(choose((loop.goes, here) for loop, here in zip(loops, cursors))),
            banks.eq(choose((loop.goes, loop.banks) for loop in loops)),
            words.eq(choose((loop.goes, loop.words) for loop in loops)),
            bank.eq(chosen.bank + banks), wraps.eq(reaches(bank, config.rows)),
            moved.bank.eq(Mux(wraps, bank - config.rows, bank)),
            moved.address.eq(chosen.address + words + Mux(wraps, layer.out_tile_words, 0)),
        ]
        with m.If(sweep):
            m.d.comb += [moved.bank.eq(0), moved.address.eq(origin)]
        for loop, here in zip(loops, cursors):
            with m.If(sweep | (self.step & loop.ends)):
                m.d.sync += here.eq(moved)
        m.d.comb += self.place.eq(cursors[0])
        return m
