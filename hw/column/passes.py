"""What follows a column: which scale and bias belong to the counts that arrive."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.guard import Guard
from ..common.layout import column_layout
from ..common.turns import last_turn
from ..spec.descriptor import BORDER_CLASSES
from ..spec.latency import rescale_cycles, rescale_delay

__all__ = ["CLASS_BITS", "PassSequencer", "PassToken", "has_borders"]

CLASS_BITS = (BORDER_CLASSES ** 2 - 1).bit_length()
"""Bits of a border class: ``y_class * 4 + x_class``."""


def has_borders(layer):
    """Whether a layer has biases of 16 border classes, and not a single one."""
    return Cat(layer[f"border_{side}"] for side in ("top", "bottom", "left", "right")).any()


class PassToken(data.StructLayout):
    """The pass whose counts arrive; handed from column to column, one cycle apart.

    What belongs to a pass comes with its first count. ``scale``: entry of the scale bank.
    ``first``, ``final``: first and last pass of its tile. ``opening``: first pass of its sweep.
    ``phase``: half of the threshold memories that its sweep reads. ``last``: its tile is the last
    one of the layer.

    What belongs to a count: ``rescale``, with ``config.rescale``: instead of a count, an
    accumulator is multiplied; ``scale`` is the entry of its multiplier.
    """

    def __init__(self, config):
        fields = {"scale": range(2 * config.scale_depth), "first": 1, "final": 1, "phase": 1,
                  "opening": 1, "last": 1}
        if config.rescale:
            fields["rescale"] = 1
        super().__init__(fields)


class PassSequencer(wiring.Component):
    """Counts passes, tiles and sweeps as they drain at one unit of column 0.

    Parameters
    ----------
    config : MachineConfig
        Machine.

    Members
    -------
    layer : In(column_layout), begin : In(1)
        The layer, and its first cycle.
    drained : In(1)
        Column 0 starts to drain the current pass.
    classes : In(stream.Signature(data.ArrayLayout(CLASS_BITS, drain_cycles)))
        With ``config.border_classes``: border classes of the unit's rows, bottom row first, tile by
        tile; there before the tile's first pass drains.
    token : Out(PassToken)
        The current pass.
    bias : Out(1), bias_entry : Out(range(2 * parameter_depth))
        A count of a tile's first pass drained a cycle before whose bias is another one than before,
        or the first accumulator of a tile was multiplied, which has an addend; and where that lies
        in the parameter bank.
    load : Out(1)
        A sweep opens and another one follows: load the parameters of that one. With ``drained``.
    fault : Out(1)
        The scale of the current pass lies outside the memory, with ``drained``; or a multiplier,
        with ``token.rescale``.
    """

    def __init__(self, config):
        self.config = config
        members = {
            "layer": In(column_layout(config)), "begin": In(1), "drained": In(1),
            "token": Out(PassToken(config)), "bias": Out(1),
            "bias_entry": Out(range(2 * config.parameter_depth)), "load": Out(1), "fault": Out(1),
        }
        if config.border_classes:
            members["classes"] = In(stream.Signature(
                data.ArrayLayout(CLASS_BITS, config.drain_cycles)))
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        layer, token, drained = self.layer, self.token, self.drained
        tile_end, sweep_end = Signal(), Signal()
        last_pass, last_tile, last_sweep = (
            last_turn(m, name, turns, begin=self.begin, end=end) for name, turns, end in (
                ("pass", layer.passes, drained), ("tile", layer.pixel_tiles, tile_end),
                ("sweep", layer.col_tiles, sweep_end)))
        first, opening, phase = Signal(), Signal(), Signal()
        m.d.comb += [
            tile_end.eq(drained & last_pass), sweep_end.eq(tile_end & last_tile),
            token.first.eq(first), token.final.eq(last_pass), token.opening.eq(opening),
            token.phase.eq(phase), token.last.eq(last_tile & last_sweep),
            self.load.eq(drained & opening & ~last_sweep),
        ]
        with m.If(drained):
            m.d.sync += [first.eq(last_pass), opening.eq(sweep_end), phase.eq(phase ^ sweep_end)]
        with m.If(self.begin):
            m.d.sync += [first.eq(1), opening.eq(1), phase.eq(0)]
        multiply, multiplied = Signal(), Signal()
        if self.config.rescale:
            since, delay = Signal(rescale_cycles(self.config) - 1), rescale_delay(self.config)
            m.d.sync += since.eq(Cat(tile_end & layer.rescale & ~layer.raw, since))
            m.d.comb += [multiplied.eq(since[delay - 1:].any()), multiply.eq(since[delay - 1]),
                         token.rescale.eq(multiplied)]
        self._scales(m, sweep_end, multiplied)
        self._biases(m, drained & first, drained & opening, multiply)
        return m

    def _scales(self, m, sweep_end, multiplied):
        """Every tile of a sweep reads the same scales, and then the multiplier behind them."""
        scale = self.token.scale
        sweep, later, following = (Signal.like(scale) for _ in range(3))
        m.submodules.guard_scales = guard = Guard(len(scale), self.config.scale_depth)
        m.d.comb += [
            scale.eq(Mux(self.token.first & ~multiplied, sweep, later)), following.eq(scale + 1),
            guard.valid.eq(self.drained | multiplied), guard.i.eq(scale),
            self.fault.eq(guard.fault),
        ]
        with m.If(self.drained):
            m.d.sync += later.eq(following)
        with m.If(sweep_end | (multiplied & self.token.opening)):
            m.d.sync += sweep.eq(following)
        with m.If(self.begin):
            m.d.sync += sweep.eq(self.layer.scale_base)

    def _biases(self, m, tile, sweep, multiply):
        """With borders, every count has the bias of its row's class; without, all of a sweep have
        one. The addend stands behind them, and takes the place of the bias in the units."""
        layer, drain = self.layer, self.config.drain_cycles
        block, following = Signal.like(self.bias_entry), Signal.like(self.bias_entry)
        waiting, addend = Signal(drain), Signal()
        m.d.comb += [self.bias.eq(waiting[0]), self.bias_entry.eq(block + addend)]
        m.d.sync += [waiting.eq(waiting >> 1), addend.eq(multiply)]
        with m.If(sweep):
            m.d.sync += [block.eq(following), following.eq(following + layer.block)]
        with m.If(sweep | multiply | (tile & layer.rescale)):
            m.d.sync += waiting.eq(1)
        with m.If(self.begin):
            m.d.sync += following.eq(layer.parameter_base)
        if self.config.border_classes:
            classes, bordered = Signal(CLASS_BITS * drain), Signal()
            # When an addend is read, all classes of its tile have been shifted out.
            m.d.comb += [self.classes.ready.eq(tile), self.bias_entry.eq(
                block + Mux(bordered, Cat(classes[:CLASS_BITS], addend), addend))]
            m.d.sync += [
                bordered.eq(has_borders(layer)),
                classes.eq(Mux(tile, self.classes.payload.as_value(), classes >> CLASS_BITS)),
            ]
            with m.If(tile & bordered):
                m.d.sync += waiting.eq(~0)
