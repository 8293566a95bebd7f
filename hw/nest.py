"""The loop nest: one step per cycle, through all loops of a layer without a bubble."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .layout import layer_layout
from .turns import last_turn

__all__ = ["LoopNest", "Step"]


class Step(data.StructLayout):
    """One word of every row and column, before the tables are looked up.

    ``tap_index``, ``pair_index``: entries of the tables. ``word``: word of the pixel and plane.
    ``tile_address``: pixel tile in the activation banks. ``weight_address``: column tile and group
    in the weight banks. ``weight_word``: word within the pair's share of the group. ``pair_first``,
    ``pair_last``: first, last step of its pair. ``tile_last``: last step of its tile.
    ``new_tile``: first step of a pixel tile.

    Every sum has room for one addend more than its memory holds: a descriptor that leaves a memory
    is noticed at its first step outside.
    """

    def __init__(self, config):
        super().__init__({
            "tap_index": range(2 * config.tap_depth), "pair_index": range(2 * config.pair_depth),
            "word": range(2 * config.activation_depth),
            "tile_address": range(4 * config.activation_depth),
            "weight_address": range(4 * config.weight_depth),
            "weight_word": range(2 * config.weight_depth),
            "pair_first": 1, "pair_last": 1, "tile_last": 1, "new_tile": 1})


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
        group_taps = Signal.like(step.tap_index, name="group_taps")
        tile_weights = Signal.like(step.weight_address, name="tile_weights")
        begun, taken, word_last = Signal(), Signal(), Signal()
        m.d.sync += begun.eq(self.start)
        m.d.comb += taken.eq(self.o.valid & self.o.ready)

        def last(name, turns, ends):
            return last_turn(m, name, turns, begin=begun, end=taken & ends)

        tap_last = last("tap", layer.taps_per_group, word_last)
        m.d.comb += step.pair_last.eq(word_last & tap_last)
        pair_last = last("pair", layer.pairs, step.pair_last)
        group_last = last("group", layer.groups, step.pair_last & pair_last)
        m.d.comb += step.tile_last.eq(step.pair_last & pair_last & group_last)
        col_last = last("col", layer.col_tiles, step.tile_last)
        pixel_last = last("pixel", layer.pixel_tiles, step.tile_last & col_last)
        with m.If(begun | taken):
            m.d.sync += [word_last.eq(step.word + 2 == layer.words),
                         step.pair_first.eq(begun | step.pair_last)]
            with m.If(begun | word_last):
                m.d.sync += word_last.eq(layer.words == 1)

        with m.If(begun):
            m.d.sync += [
                step.word.eq(0), step.weight_word.eq(0),
                step.tap_index.eq(layer.tap_base), group_taps.eq(layer.tap_base),
                step.pair_index.eq(layer.pair_base),
                step.tile_address.eq(layer.activation_base),
                step.weight_address.eq(layer.weight_base), tile_weights.eq(layer.weight_base),
                step.new_tile.eq(1),
                self.o.valid.eq(1),
            ]
        with m.Elif(taken):
            m.d.sync += [step.new_tile.eq(0), step.word.eq(step.word + 1),
                         step.weight_word.eq(step.weight_word + 1)]
            with m.If(word_last):
                m.d.sync += [step.word.eq(0), step.tap_index.eq(step.tap_index + 1)]
            with m.If(step.pair_last):
                m.d.sync += [step.weight_word.eq(0), step.tap_index.eq(group_taps),
                             step.pair_index.eq(step.pair_index + 1)]
                with m.If(pair_last):
                    m.d.sync += [step.pair_index.eq(layer.pair_base),
                                 group_taps.eq(step.tap_index + 1),
                                 step.tap_index.eq(step.tap_index + 1),
                                 step.weight_address.eq(step.weight_address
                                                        + step.weight_word + 1)]
            with m.If(step.tile_last):
                m.d.sync += [group_taps.eq(layer.tap_base),
                             step.tap_index.eq(layer.tap_base),
                             tile_weights.eq(tile_weights + layer.col_tile_words),
                             step.weight_address.eq(tile_weights + layer.col_tile_words)]
                with m.If(col_last):
                    m.d.sync += [tile_weights.eq(layer.weight_base),
                                 step.weight_address.eq(layer.weight_base),
                                 step.new_tile.eq(1),
                                 step.tile_address.eq(step.tile_address + layer.tile_words)]
                    with m.If(pixel_last):
                        m.d.sync += self.o.valid.eq(0)
        return m
