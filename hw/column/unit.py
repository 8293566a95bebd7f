"""All that one column segment needs behind the array: scale, accumulate, requantize."""

from amaranth.hdl import Module, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..array.drain import Count
from ..memory.bank import Bank, write_signature
from .passes import PassToken
from .scale import ScaleUnit
from .threshold import ThresholdUnit

__all__ = ["ColumnUnit"]


class ColumnUnit(wiring.Component):
    """Scale-and-accumulate unit, threshold unit and their banks.

    The banks hold the channels of one column; a column with several units has a copy in each.

    Members
    -------
    scales, biases, thresholds : Out(write_signature)
        Entries from the host for the banks.
    raw, code_bits, start
        See :class:`hw.column.threshold.ThresholdUnit`.
    counts : In(stream.Signature(Count, always_ready=True)), token : In(PassToken)
        Drained counts, and their pass.
    acc_valid : Out(1)
        An accumulator of a finished tile enters the threshold unit.
    code : Out(stream.Signature(code_bits, always_ready=True))
        Codes in the order of the accumulators.
    pop, raw_acc
        See :class:`hw.column.threshold.ThresholdUnit`.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "scales": Out(write_signature(config.scale_bits, config.scale_depth)),
            "biases": Out(write_signature(config.acc_bits, config.bias_depth)),
            "thresholds": Out(write_signature(config.acc_bits, config.threshold_depth)),
            "raw": In(1), "code_bits": In(3), "start": In(1),
            "counts": In(stream.Signature(Count(config), always_ready=True)),
            "token": In(PassToken(config)),
            "acc_valid": Out(1),
            "code": Out(stream.Signature(config.code_bits, always_ready=True)),
            "pop": In(1), "raw_acc": Out(signed(config.acc_bits)),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        m.submodules.scale = scale = ScaleUnit(config)
        m.submodules.threshold = threshold = ThresholdUnit(config)
        m.submodules.scales = scales = Bank(config.scale_bits, config.scale_depth)
        m.submodules.biases = biases = Bank(config.acc_bits, config.bias_depth)
        m.submodules.thresholds = thresholds = Bank(config.acc_bits, config.threshold_depth)
        for bank, port in ((scales, self.scales), (biases, self.biases),
                           (thresholds, self.thresholds)):
            wiring.connect(m, wiring.flipped(port), bank.write)
        wiring.connect(m, wiring.flipped(self.counts), scale.counts)
        m.d.comb += [
            scale.token.eq(self.token),
            scales.read.en.eq(scale.fetch), scales.read.addr.eq(self.token.scale),
            biases.read.en.eq(scale.fetch), biases.read.addr.eq(self.token.bias),
            scale.scale.eq(scales.read.data), scale.bias.eq(biases.read.data),

            threshold.raw.eq(self.raw), threshold.code_bits.eq(self.code_bits),
            threshold.start.eq(self.start),
            threshold.valid.eq(scale.valid), threshold.acc.eq(scale.acc),
            threshold.block.eq(scale.block),
            thresholds.read.en.eq(threshold.read), thresholds.read.addr.eq(threshold.address),
            threshold.threshold.eq(thresholds.read.data),
            threshold.pop.eq(self.pop),

            self.acc_valid.eq(scale.valid),
            self.code.valid.eq(threshold.code_valid), self.code.payload.eq(threshold.code),
            self.raw_acc.eq(threshold.raw_acc),
        ]
        return m
