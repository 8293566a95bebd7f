"""What follows a column: which scale, bias and thresholds belong to the counts that arrive."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..common.guard import Guard
from ..common.layout import layer_layout

__all__ = ["PassEnd", "PassSequencer", "PassToken"]


class PassEnd(data.Struct):
    """What ends with a pass; comes from the loop nest, as late as the counts."""

    #: Its tile.
    tile: 1
    #: All column tiles of its pixel tile.
    sweep: 1


class PassToken(data.StructLayout):
    """The pass whose counts arrive; handed from column to column, one cycle apart.

    ``scale``, ``bias``: entries of those banks. ``block``: first entry of the threshold block.
    ``first``: first pass of its tile, begin with the bias. ``final``: last pass, hand the
    accumulators on.
    """

    def __init__(self, config):
        super().__init__({
            "scale": range(2 * config.scale_depth), "bias": range(2 * config.bias_depth),
            "block": range(2 * config.threshold_depth), "first": 1, "final": 1})


class PassSequencer(wiring.Component):
    """Knows the parameters of every pass: they lie in the order in which passes drain.

    Parameters
    ----------
    config : MachineConfig
        Machine.

    Members
    -------
    layer : In(layer_layout)
        The layer.
    start : In(1)
        A layer begins.
    drained : In(1), ends : In(PassEnd)
        Column 0 starts to drain the current pass, and what ends with it.
    token : Out(PassToken)
        The current pass.
    fault_scales, fault_biases, fault_thresholds : Out(1)
        The current pass lies outside that memory; with ``drained``.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "layer": In(layer_layout(config)), "start": In(1), "drained": In(1),
            "ends": In(PassEnd), "token": Out(PassToken(config)),
            "fault_scales": Out(1), "fault_biases": Out(1), "fault_thresholds": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        layer, token = self.layer, self.token
        first = Signal()
        m.d.comb += [token.first.eq(first), token.final.eq(self.ends.tile)]
        for name, fault, address, depth, used in (
                ("scales", self.fault_scales, token.scale, self.config.scale_depth, 1),
                ("biases", self.fault_biases, token.bias, self.config.bias_depth, 1),
                ("thresholds", self.fault_thresholds, token.block, self.config.threshold_depth,
                 ~layer.raw)):
            m.submodules[f"guard_{name}"] = guard = Guard(len(address), depth)
            m.d.comb += [guard.valid.eq(self.drained & used), guard.i.eq(address),
                         fault.eq(guard.fault)]
        with m.If(self.drained):
            m.d.sync += [first.eq(self.ends.tile), token.scale.eq(token.scale + 1)]
            with m.If(self.ends.tile):
                m.d.sync += [token.bias.eq(token.bias + 1),
                             token.block.eq(token.block + (1 << layer.code_bits))]
        with m.If(self.start | (self.drained & self.ends.sweep)):
            m.d.sync += [first.eq(1), token.scale.eq(layer.scale_base),
                         token.bias.eq(layer.bias_base), token.block.eq(layer.threshold_base)]
        return m
