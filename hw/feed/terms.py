"""The outer loops: which term is visited when, with its addresses."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.guard import reaches
from ..common.layout import feed_layout, term_layout
from ..common.spare import Spare
from ..common.turns import last_turn
from ..memory.bank import read_signature

__all__ = ["TermWalker", "Visit"]

LOOPS = ("words", "taps_per_group", "pairs", "groups")
"""Turns of the loops within a visit, innermost first."""


class Visit(data.StructLayout):
    """A term of a tile, as the loop nest takes it.

    ``words``, ``taps_per_group``, ``pairs``, ``groups``: turns of its loops, and ``once_...``
    whether that is one. ``tap_base``, ``pair_base``: its table entries. ``product`` and ``base``:
    their sum is the address of the pixel tile. ``tile_words``, ``pad_base``: as in the term.
    ``weight``: its first weight word. ``first``, ``last``: first, last term of its tile.
    ``ends_sweep``, ``ends_layer``: the tile is the last of its sweep, of the layer. ``far``,
    ``far_pad``, ``far_weight``, ``far_tables``: an address left its memory before it was as wide
    as these fields are.
    """

    def __init__(self, config):
        depth, term = config.activation_depth, term_layout(config)
        super().__init__({
            **{name: term[name].shape for name in LOOPS},
            **{f"once_{name}": 1 for name in LOOPS},
            "tap_base": range(2 * config.tap_depth), "pair_base": range(2 * config.pair_depth),
            "product": range(1 << (2 * depth.bit_length())), "base": range(depth),
            "tile_words": range(depth + 1), "pad_base": range(depth),
            "weight": range(4 * config.weight_depth),
            "first": 1, "last": 1, "ends_sweep": 1, "ends_layer": 1,
            "far": 1, "far_pad": 1, "far_weight": 1, "far_tables": 1})


class Turn(data.StructLayout):
    """What is known of a visit before its term, ``entry`` of the table, is read."""

    def __init__(self, config):
        super().__init__({
            "entry": range(2 * config.term_depth),
            "index": range(config.activation_depth), "far_index": 1,
            "weight": range(4 * config.weight_depth),
            "first": 1, "last": 1, "ends_sweep": 1, "ends_layer": 1})


class TermWalker(wiring.Component):
    """Goes through column tiles, pixel tiles and terms, outermost first, reading the terms ahead.

    The first visit is offered 4 cycles after ``begin``; then one per cycle, as fast as they are
    taken.

    Parameters
    ----------
    config : MachineConfig
        Machine.

    Members
    -------
    layer : In(feed_layout)
        The layer; stable while its terms are visited.
    begin : In(1)
        Begin the layer; all visits of the one before have been taken.
    terms : In(read_signature)
        Look-ups in the term table.
    o : Out(stream.Signature(Visit))
        Visits.
    fault : Out(1)
        An entry beyond the term table is read.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "layer": In(feed_layout(config)), "begin": In(1),
            "terms": In(read_signature(term_layout(config), config.term_depth)),
            "o": Out(stream.Signature(Visit(config))), "fault": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        m.submodules.spare = spare = Spare(Turn(config))
        go, valid = Signal(), [spare.o.valid, *(Signal(name=f"valid_{stage}") for stage in (1, 2))]
        turn = spare.o.payload
        self._loops(m, spare.i)
        turn_read, turn_kept = (Signal.like(turn, name=f"turn_{stage}") for stage in (1, 2))
        term = Signal(term_layout(config))
        m.d.comb += [
            go.eq(~self.o.valid | self.o.ready), spare.o.ready.eq(go),
            self.terms.en.eq(go), self.terms.addr.eq(turn.entry),
            self.fault.eq(valid[0] & reaches(turn.entry, config.term_depth)),
        ]
        with m.If(go):
            m.d.sync += [valid[1].eq(valid[0]), turn_read.eq(turn),
                         valid[2].eq(valid[1]), turn_kept.eq(turn_read), term.eq(self.terms.data),
                         self.o.valid.eq(valid[2])]
            self._visit(m, turn_kept, term)
        return m

    def _loops(self, m, visits):
        """The loops; as their body, what is known of a visit.

        All of them turn with a step that issues, at the far end of the feed: a spare place keeps
        that out of their way.
        """
        config, layer = self.config, self.layer
        visit_end, tile_end, sweep_end = Signal(), Signal(), Signal()
        m.d.comb += visit_end.eq(visits.valid & visits.ready)
        term_last = last_turn(m, "term", layer.terms, begin=self.begin, end=visit_end)
        m.d.comb += tile_end.eq(visit_end & term_last)
        tile_last = last_turn(m, "tile", layer.pixel_tiles, begin=self.begin, end=tile_end)
        m.d.comb += sweep_end.eq(tile_end & tile_last)
        line_last = last_turn(m, "line", layer.line_tiles, begin=self.begin | sweep_end,
                              end=tile_end)
        col_last = last_turn(m, "col", layer.col_tiles, begin=self.begin, end=sweep_end)
        period_last = last_turn(m, "period", layer.term_period, begin=self.begin, end=sweep_end)
        with m.If(self.begin):
            m.d.sync += visits.valid.eq(1)
        with m.Elif(sweep_end & col_last):
            m.d.sync += visits.valid.eq(0)

        entry = Signal(range(2 * config.term_depth))
        first_entry = Signal.like(entry)
        with m.If(visit_end):
            m.d.sync += entry.eq(entry + 1)
        with m.If(tile_end & ~(tile_last & period_last)):
            m.d.sync += entry.eq(first_entry)
        with m.If(sweep_end & period_last):
            m.d.sync += first_entry.eq(entry + 1)
        with m.If(self.begin):
            m.d.sync += [entry.eq(layer.term_base), first_entry.eq(layer.term_base)]

        # An index beyond the banks is one of padding, or a fault at its first visit.
        index = Signal(range(config.activation_depth + (1 << len(layer.line_skip)) + 1))
        first, weight = Signal(), Signal(range(4 * config.weight_depth))
        with m.If(tile_end):
            # One adder: the ones below carry in the tile itself.
            m.d.sync += index.eq((Cat(1, index) + Cat(1, Mux(line_last, layer.line_skip, 0)))[1:])
        with m.If(visit_end):
            m.d.sync += first.eq(term_last)
        with m.If(sweep_end):
            m.d.sync += weight.eq(weight + layer.col_tile_words)
        with m.If(self.begin | sweep_end):
            m.d.sync += index.eq(0)
        with m.If(self.begin):
            m.d.sync += [first.eq(1), weight.eq(layer.weight_base)]
        turn = visits.payload
        m.d.comb += [
            turn.entry.eq(entry), turn.index.eq(index),
            turn.far_index.eq(reaches(index, config.activation_depth)),
            turn.weight.eq(weight), turn.first.eq(first), turn.last.eq(term_last),
            turn.ends_sweep.eq(tile_last), turn.ends_layer.eq(tile_last & col_last),
        ]

    def _visit(self, m, turn, term):
        """Joins what is known of a visit with its term."""
        config, visit = self.config, self.o.payload
        depth, weight_depth = config.activation_depth, config.weight_depth
        m.d.sync += [
            *(visit[name].eq(term[name]) for name in (
                *LOOPS, "tap_base", "pair_base", "tile_words", "pad_base")),
            *(visit[f"once_{name}"].eq(term[name] == 1) for name in LOOPS),
            *(visit[name].eq(turn[name]) for name in (
                "first", "last", "ends_sweep", "ends_layer")),
            visit.base.eq(term.activation_base),
            visit.product.eq(turn.index * term.tile_words[:depth.bit_length()]),
            visit.weight.eq(turn.weight + term.weight_offset),
            visit.far.eq(turn.far_index | reaches(term.activation_base, depth)
                         | reaches(term.tile_words, 1 << depth.bit_length())),
            visit.far_pad.eq(reaches(term.pad_base, depth)),
            visit.far_weight.eq(reaches(turn.weight, weight_depth)
                                | reaches(term.weight_offset, weight_depth)),
            visit.far_tables.eq(reaches(term.tap_base, config.tap_depth)
                                | reaches(term.pair_base, config.pair_depth)),
        ]
