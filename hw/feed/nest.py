"""The loop nest: one step per cycle, through all loops of a layer without a bubble."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.layout import layer_layout
from ..common.turns import last_turn

__all__ = ["LoopNest", "Step"]


class Step(data.StructLayout):
    """One word of every row and column, before the tables are looked up.

    ``tap_index``, ``pair_index``: entries of the tables. ``word``: word of the pixel and plane.
    ``tile_address``: pixel tile in the activation banks. ``weight``: word in the weight banks, if
    the pair's plane is the first one. ``pair_first``, ``pair_last``: first, last step of its pair.
    ``tile_last``: last step of its tile. ``new_tile``, ``sweep_last``: first, last step of a pixel
    tile, which goes through all column tiles.

    Every sum has room for one addend more than its memory holds: a descriptor that leaves a memory
    is noticed at its first step outside.
    """

    def __init__(self, config):
        super().__init__({
            "tap_index": range(2 * config.tap_depth), "pair_index": range(2 * config.pair_depth),
            "word": range(2 * config.activation_depth),
            "tile_address": range(4 * config.activation_depth),
            "weight": range(4 * config.weight_depth),
            "pair_first": 1, "pair_last": 1, "tile_last": 1, "sweep_last": 1, "new_tile": 1})


class LoopNest(wiring.Component):
    """Generates the steps of a layer in the order of :mod:`hw.spec.descriptor`.

    Throughput is one step per cycle across all loop ends; the first step follows ``start`` by one
    cycle.

    Members
    -------
    layer : In(layer_layout)
        The layer; stable while steps are generated.
    start : In(1)
        Begin the layer.
    o : Out(stream.Signature(Step))
        Steps.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "layer": In(layer_layout(config)), "start": In(1),
            "o": Out(stream.Signature(Step(config))),
        })

    def elaborate(self, platform):
        m = Module()
        layer, step = self.layer, self.o.payload
        begun, taken, word_last = Signal(), Signal(), Signal()
        m.d.sync += begun.eq(self.start)
        m.d.comb += taken.eq(self.o.valid & self.o.ready)

        def last(name, turns, ends):
            return last_turn(m, name, turns, begin=begun, end=taken & ends)

        tap_last = last("tap", layer.taps_per_group, word_last)
        m.d.comb += step.pair_last.eq(word_last & tap_last)
        group_end = Signal()
        m.d.comb += group_end.eq(step.pair_last & last("pair", layer.pairs, step.pair_last))
        m.d.comb += step.tile_last.eq(group_end & last("group", layer.groups, group_end))
        m.d.comb += step.sweep_last.eq(step.tile_last
                                       & last("col", layer.col_tiles, step.tile_last))
        pixel_last = last("pixel", layer.pixel_tiles, step.sweep_last)

        with m.If(begun | taken):
            m.d.sync += [
                step.word.eq(step.word + 1), word_last.eq(step.word + 2 == layer.words),
                step.pair_first.eq(begun | step.pair_last),
                step.new_tile.eq(begun | step.sweep_last)]
        with m.If(begun | (taken & word_last)):
            m.d.sync += [step.word.eq(0), word_last.eq(layer.words == 1)]
        self._tables(m, begun, taken & word_last, taken & step.pair_last, taken & group_end,
                     step.tile_last)
        self._addresses(m, begun, taken, group_end)
        with m.If(begun):
            m.d.sync += self.o.valid.eq(1)
        with m.Elif(taken & step.sweep_last & pixel_last):
            m.d.sync += self.o.valid.eq(0)
        return m

    def _tables(self, m, begun, word_end, pair_end, group_end, tile_end):
        """Entries of the tables; every pair of a group goes through the same taps."""
        layer, step = self.layer, self.o.payload
        group_taps = Signal.like(step.tap_index, name="group_taps")
        tap, pair = Signal.like(step.tap_index), Signal.like(step.pair_index)
        m.d.comb += [tap.eq(step.tap_index + 1), pair.eq(step.pair_index + 1)]
        with m.If(pair_end & ~group_end):
            m.d.comb += tap.eq(group_taps)
        with m.If(begun | tile_end):
            m.d.comb += tap.eq(layer.tap_base)
        with m.If(begun | group_end):
            m.d.comb += pair.eq(layer.pair_base)
            m.d.sync += group_taps.eq(tap)
        with m.If(begun | word_end):
            m.d.sync += step.tap_index.eq(tap)
        with m.If(begun | pair_end):
            m.d.sync += step.pair_index.eq(pair)

    def _addresses(self, m, begun, taken, group_end):
        """Pixel tile and weight; a loop that goes on takes along the weights of those within."""
        layer, step = self.layer, self.o.payload
        group, tile, weight = (Signal.like(step.weight, name=name)
                               for name in ("group_weights", "tile_weights", "next_weight"))
        m.d.comb += weight.eq(step.weight + 1)
        with m.If(begun | step.sweep_last):
            m.d.comb += weight.eq(layer.weight_base)
        with m.Elif(step.tile_last):
            m.d.comb += weight.eq(tile + layer.col_tile_words)
        with m.Elif(step.pair_last & ~group_end):
            m.d.comb += weight.eq(group)
        with m.If(begun | taken):
            m.d.sync += step.weight.eq(weight)
        with m.If(begun | (taken & group_end)):
            m.d.sync += group.eq(weight)
        with m.If(begun | (taken & step.tile_last)):
            m.d.sync += tile.eq(weight)
        with m.If(begun):
            m.d.sync += step.tile_address.eq(layer.activation_base)
        with m.Elif(taken & step.sweep_last):
            m.d.sync += step.tile_address.eq(step.tile_address + layer.tile_words)
