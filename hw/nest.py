"""The loop nest: one step per cycle, through all loops of a layer without a bubble."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .layout import layer_layout

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
            "word": range(config.activation_depth),
            "tile_address": range(4 * config.activation_depth),
            "weight_address": range(4 * config.weight_depth),
            "weight_word": range(config.weight_depth),
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
        tap, pair, group, col, pixel = (
            Signal.like(layer[limit], name=name) for name, limit in (
                ("tap", "taps_per_group"), ("pair", "pairs"), ("group", "groups"),
                ("col", "col_tiles"), ("pixel", "pixel_tiles")))
        group_taps = Signal.like(step.tap_index, name="group_taps")
        tile_weights = Signal.like(step.weight_address, name="tile_weights")
        begun = Signal()
        m.d.sync += begun.eq(self.start)

        word_last, tap_last, pair_last, group_last, col_last, pixel_last = (
            Signal(name=f"{loop}_last") for loop in ("word", "tap", "pair", "group", "col",
            "pixel"))
        m.d.comb += [
            word_last.eq(step.word + 1 == layer.words),
            tap_last.eq(tap + 1 == layer.taps_per_group),
            pair_last.eq(pair + 1 == layer.pairs),
            group_last.eq(group + 1 == layer.groups),
            col_last.eq(col + 1 == layer.col_tiles),
            pixel_last.eq(pixel + 1 == layer.pixel_tiles),
            step.pair_first.eq((tap == 0) & (step.word == 0)),
            step.pair_last.eq(word_last & tap_last),
            step.tile_last.eq(step.pair_last & pair_last & group_last),
        ]

        with m.If(begun):
            m.d.sync += [
                Cat(tap, pair, group, col, pixel, step.word, step.weight_word).eq(0),
                step.tap_index.eq(layer.tap_base), group_taps.eq(layer.tap_base),
                step.pair_index.eq(layer.pair_base),
                step.tile_address.eq(layer.activation_base),
                step.weight_address.eq(layer.weight_base), tile_weights.eq(layer.weight_base),
                step.new_tile.eq(1),
                self.o.valid.eq(1),
            ]
        with m.Elif(self.o.valid & self.o.ready):
            m.d.sync += [step.new_tile.eq(0), step.word.eq(step.word + 1),
                         step.weight_word.eq(step.weight_word + 1)]
            with m.If(word_last):
                m.d.sync += [step.word.eq(0), tap.eq(tap + 1),
                             step.tap_index.eq(step.tap_index + 1)]
            with m.If(step.pair_last):
                m.d.sync += [tap.eq(0), step.weight_word.eq(0), step.tap_index.eq(group_taps),
                             pair.eq(pair + 1), step.pair_index.eq(step.pair_index + 1)]
                with m.If(pair_last):
                    m.d.sync += [pair.eq(0), step.pair_index.eq(layer.pair_base),
                                 group.eq(group + 1),
                                 group_taps.eq(step.tap_index + 1),
                                 step.tap_index.eq(step.tap_index + 1),
                                 step.weight_address.eq(step.weight_address
                                                        + step.weight_word + 1)]
            with m.If(step.tile_last):
                m.d.sync += [group.eq(0), group_taps.eq(layer.tap_base),
                             step.tap_index.eq(layer.tap_base),
                             col.eq(col + 1),
                             tile_weights.eq(tile_weights + layer.col_tile_words),
                             step.weight_address.eq(tile_weights + layer.col_tile_words)]
                with m.If(col_last):
                    m.d.sync += [col.eq(0), tile_weights.eq(layer.weight_base),
                                 step.weight_address.eq(layer.weight_base),
                                 pixel.eq(pixel + 1), step.new_tile.eq(1),
                                 step.tile_address.eq(step.tile_address + layer.tile_words)]
                    with m.If(pixel_last):
                        m.d.sync += self.o.valid.eq(0)
        return m
