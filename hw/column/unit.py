"""All that one column segment needs behind the array: scale, accumulate, requantize."""

from amaranth.hdl import Module, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..array.drain import Count
from ..memory.bank import Bank, write_signature
from ..spec.descriptor import MAX_MAP_BITS
from .loader import LoadToken
from .mode import ColumnMode
from .passes import PassToken
from .rescale import Rescaler
from .scale import ScaleUnit
from .threshold import ThresholdPipeline

__all__ = ["ColumnUnit", "code_width"]


def code_width(config):
    """Bits of the widest code that leaves the columns."""
    return MAX_MAP_BITS if config.rescale else config.code_bits


class ColumnUnit(wiring.Component):
    """Scale-and-accumulate unit, requantization, and their banks.

    The banks hold the channels of one column; a column with several units has a copy in each.

    A code leaves :func:`hw.spec.latency.staircase_latency` cycles after its final count, or
    :func:`hw.spec.latency.rescaled_latency` in a layer with ``rescale``.

    Members
    -------
    scales, parameters : Out(write_signature)
        Entries from the host for the banks.
    mode : In(ColumnMode)
        How accumulators leave.
    counts : In(stream.Signature(Count, always_ready=True))
        Drained counts.
    token : In(PassToken), load : In(LoadToken)
        Their pass, and the parameter to load.
    token_o : Out(PassToken), load_o : Out(LoadToken)
        The same for the next column, one cycle later.
    code : Out(stream.Signature(code_width, always_ready=True))
        Codes in the order of the counts.
    pop, acc, ended, last
        See :class:`hw.column.scale.ScaleUnit`; ``acc`` is the oldest accumulator.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "scales": Out(write_signature(config.scale_bits + 1, config.scale_depth)),
            "parameters": Out(write_signature(config.acc_bits, config.parameter_depth)),
            "mode": In(ColumnMode(config)),
            "counts": In(stream.Signature(Count(config), always_ready=True)),
            "token": In(PassToken(config)), "token_o": Out(PassToken(config)),
            "load": In(LoadToken(config)), "load_o": Out(LoadToken(config)),
            "code": Out(stream.Signature(code_width(config), always_ready=True)),
            "pop": In(1), "acc": Out(signed(config.acc_bits)), "ended": Out(1), "last": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        m.submodules.scale = scale = ScaleUnit(config)
        m.submodules.threshold = threshold = ThresholdPipeline(config)
        m.submodules.scales = scales = Bank(config.scale_bits + 1, config.scale_depth)
        m.submodules.parameters = parameters = Bank(config.acc_bits, config.parameter_depth)
        wiring.connect(m, wiring.flipped(self.scales), scales.write)
        wiring.connect(m, wiring.flipped(self.parameters), parameters.write)
        wiring.connect(m, wiring.flipped(self.counts), scale.counts)
        m.d.sync += [self.token_o.eq(self.token), self.load_o.eq(self.load),
                     threshold.opened.eq(scale.opens)]
        m.d.comb += [
            scales.read.en.eq(self.counts.payload.first), scales.read.addr.eq(self.token.scale),
            parameters.read.en.eq(self.load.en), parameters.read.addr.eq(self.load.address),
            scale.mode.eq(self.mode), scale.token.eq(self.token), scale.scale.eq(scales.read.data),
            scale.pop.eq(self.pop), self.acc.eq(scale.oldest),
            self.ended.eq(scale.ended), self.last.eq(scale.last),
            threshold.levels.eq(self.mode.levels), threshold.valid.eq(scale.valid),
            threshold.acc.eq(scale.acc), threshold.phase.eq(scale.phase),
            # What was read comes a cycle later, when the next column reads.
            threshold.load.eq(self.load_o), threshold.entry.eq(parameters.read.data),
        ]
        if config.rescale:
            with m.If(self.token.rescale):
                m.d.comb += scales.read.en.eq(1)
        with m.If(self.load_o.bias):
            m.d.sync += scale.bias.eq(parameters.read.data)
        self._codes(m, scale, threshold)
        return m

    def _codes(self, m, scale, threshold):
        """A code comes from one of both ways; the other one shows 0."""
        if not self.config.rescale:
            m.d.comb += [self.code.valid.eq(threshold.code.valid),
                         self.code.payload.eq(threshold.code.payload)]
            return
        m.submodules.rescaler = rescaler = Rescaler(self.config)
        m.d.comb += [
            rescaler.largest.eq(self.mode.largest), rescaler.valid.eq(scale.rescaled),
            rescaler.low.eq(scale.acc), rescaler.above.eq(scale.above),
            self.code.valid.eq(threshold.code.valid | rescaler.code.valid),
            self.code.payload.eq(threshold.code.payload | rescaler.code.payload),
        ]
