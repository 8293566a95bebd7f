"""The inner loops: one step per cycle, through all visits without a bubble."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.guard import reaches
from .terms import Visit

__all__ = ["LoopNest", "Step"]

_KEPT = ("pad_base", "tile_words", "far_pad", "far_weight", "ends_sweep")
"""Fields of a visit that all its steps carry as they are."""


class Step(data.StructLayout):
    """One word of every row and column, before the tables are looked up.

    ``tap_index``, ``pair_index``: entries of the tables. ``word``: word of the pixel and plane.
    ``tile_address``: pixel tile in the activation banks. ``weight``: word in the weight banks, if
    the pair's plane is the first one. ``pair_first``, ``pair_last``: first, last step of its pair.
    ``new_tile``, ``tile_last``: first, last step of its tile. ``layer_last``: last step of the
    layer. ``far``: ``tile_address`` has no meaning, for it lies outside the banks. The other fields
    are those of the step's :class:`~hw.feed.terms.Visit`.

    Every sum has room for one addend more than its memory holds: a layer that leaves a memory is
    noticed at its first step outside.
    """

    def __init__(self, config):
        visit = Visit(config)
        super().__init__({
            "tap_index": range(2 * config.tap_depth), "pair_index": range(2 * config.pair_depth),
            "word": range(2 * config.activation_depth),
            "tile_address": range(2 * config.activation_depth),
            "weight": range(4 * config.weight_depth), "far": 1,
            **{name: visit[name].shape for name in _KEPT},
            "pair_first": 1, "pair_last": 1, "new_tile": 1, "tile_last": 1, "layer_last": 1})


class LoopNest(wiring.Component):
    """Generates the steps of every visit: groups, pairs, taps and words, outermost first.

    Throughput is one step per cycle across all loop ends, those of visits too; the first step of a
    visit follows its taking by one cycle, and a visit is taken with the last step of the one
    before.

    Parameters
    ----------
    config : MachineConfig
        Machine.

    Members
    -------
    i : In(stream.Signature(Visit))
        Visits.
    o : Out(stream.Signature(Step))
        Steps.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({"i": In(stream.Signature(Visit(config))),
                          "o": Out(stream.Signature(Step(config)))})

    def elaborate(self, platform):
        m = Module()
        config, coming, step = self.config, self.i.payload, self.o.payload
        visit = Signal(Visit(config))
        taken, load, visit_end = Signal(), Signal(), Signal()
        word_last, tap_last, in_last_pair, in_last_group = (
            self._loop(m, name, visit, load) for name in (
                "words", "taps_per_group", "pairs", "groups"))
        group_end = Signal()
        m.d.comb += [
            taken.eq(self.o.valid & self.o.ready), load.eq(self.i.valid & self.i.ready),
            self.i.ready.eq(~self.o.valid | (self.o.ready & visit_end)),
            step.pair_last.eq(word_last.last & tap_last.last),
            group_end.eq(step.pair_last & in_last_pair.last),
            visit_end.eq(group_end & in_last_group.last),
            step.tile_last.eq(visit_end & visit.last),
            step.layer_last.eq(step.tile_last & visit.ends_layer),
            word_last.end.eq(taken), tap_last.end.eq(taken & word_last.last),
            in_last_pair.end.eq(taken & step.pair_last), in_last_group.end.eq(taken & group_end),
            *(step[name].eq(visit[name]) for name in _KEPT),
        ]
        with m.If(taken):
            m.d.sync += [step.word.eq(step.word + 1), step.pair_first.eq(step.pair_last),
                         step.new_tile.eq(0), self.o.valid.eq(~visit_end)]
            with m.If(word_last.last):
                m.d.sync += step.word.eq(0)
        self._tables(m, load, visit, word_last.end & word_last.last, in_last_pair.end, group_end)
        self._weights(m, load, taken, step.pair_last, group_end)
        with m.If(load):
            m.d.sync += [
                visit.eq(coming), self.o.valid.eq(1), step.word.eq(0), step.pair_first.eq(1),
                step.new_tile.eq(coming.first), step.tile_address.eq(coming.product + coming.base),
                step.far.eq(coming.far | reaches(coming.product, config.activation_depth)),
            ]
        return m

    def _loop(self, m, name, visit, load):
        """A loop of a visit, as :func:`hw.common.turns.last_turn`; ``end`` is left to drive."""
        turns = visit[name]
        loop = Signal(data.StructLayout({"last": 1, "end": 1}), name=name)
        following = Signal.like(turns, name=f"{name}_following")
        with m.If(loop.end):
            m.d.sync += [following.eq(following + 1), loop.last.eq(following == turns)]
        with m.If(loop.end & loop.last):
            m.d.sync += [following.eq(2), loop.last.eq(visit[f"once_{name}"])]
        with m.If(load):
            m.d.sync += [following.eq(2), loop.last.eq(self.i.payload[f"once_{name}"])]
        return loop

    def _tables(self, m, load, visit, word_end, pair_end, group_end):
        """Entries of the tables; every pair of a group goes through the same taps."""
        step, coming = self.o.payload, self.i.payload
        group_taps = Signal.like(step.tap_index, name="group_taps")
        tap = Signal.like(step.tap_index)
        m.d.comb += tap.eq(step.tap_index + 1)
        with m.If(word_end):
            m.d.sync += step.tap_index.eq(tap)
        with m.If(pair_end):
            m.d.sync += step.pair_index.eq(step.pair_index + 1)
            with m.If(group_end):
                m.d.sync += [group_taps.eq(tap), step.pair_index.eq(visit.pair_base)]
            with m.Else():
                m.d.sync += step.tap_index.eq(group_taps)
        with m.If(load):
            m.d.sync += [step.tap_index.eq(coming.tap_base), group_taps.eq(coming.tap_base),
                         step.pair_index.eq(coming.pair_base)]

    def _weights(self, m, load, taken, pair_last, group_end):
        """Weights lie in the order of steps, but for pairs, whose planes the pair table tells."""
        step, coming = self.o.payload, self.i.payload
        group, weight = Signal.like(step.weight, name="group_weights"), Signal.like(step.weight)
        m.d.comb += weight.eq(step.weight + 1)
        with m.If(pair_last & ~group_end):
            m.d.comb += weight.eq(group)
        with m.If(taken):
            m.d.sync += step.weight.eq(weight)
            with m.If(group_end):
                m.d.sync += group.eq(weight)
        with m.If(load):
            m.d.sync += [step.weight.eq(coming.weight), group.eq(coming.weight)]
