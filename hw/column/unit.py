"""All that one column segment needs behind the array: scale, accumulate, requantize."""

from amaranth.hdl import Module, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..array.systolic import CountSignature
from ..memory.bank import Bank
from .passes import PassToken
from .scale import ScaleUnit
from .threshold import ThresholdUnit

__all__ = ["ColumnUnit", "LoadSignature"]


class LoadSignature(wiring.Signature):
    """Write port through which the host link fills parameter banks.

    Members
    -------
    scales, biases, thresholds : Out(1)
        Store in that bank.
    address : Out(16), data : Out(32)
        Entry.
    """

    def __init__(self):
        super().__init__({"scales": Out(1), "biases": Out(1), "thresholds": Out(1),
                          "address": Out(16), "data": Out(32)})


class ColumnUnit(wiring.Component):
    """Scale-and-accumulate unit, threshold unit and their banks.

    The banks hold the channels of one column; a column with several units has a copy in each.

    Members
    -------
    load : In(LoadSignature)
        Fills the banks.
    raw, code_bits, start
        See :class:`hw.column.threshold.ThresholdUnit`.
    counts : In(CountSignature), token : In(PassToken)
        Drained counts, and their pass.
    acc_valid : Out(1)
        An accumulator of a finished tile enters the threshold unit.
    code_valid, code, pop, raw_acc
        See :class:`hw.column.threshold.ThresholdUnit`.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "load": In(LoadSignature()),
            "raw": In(1), "code_bits": In(3), "start": In(1),
            "counts": In(CountSignature(config)), "token": In(PassToken(config)),
            "acc_valid": Out(1),
            "code_valid": Out(1), "code": Out(config.code_bits),
            "pop": In(1), "raw_acc": Out(signed(config.acc_bits)),
        })

    def elaborate(self, platform):
        m = Module()
        config, load = self.config, self.load
        m.submodules.scale = scale = ScaleUnit(config)
        m.submodules.threshold = threshold = ThresholdUnit(config)
        m.submodules.scales = scales = Bank(config.scale_bits, config.scale_depth)
        m.submodules.biases = biases = Bank(config.acc_bits, config.bias_depth)
        m.submodules.thresholds = thresholds = Bank(config.acc_bits, config.threshold_depth)
        for bank, write in ((scales, load.scales), (biases, load.biases),
                            (thresholds, load.thresholds)):
            m.d.comb += [bank.write.eq(write), bank.write_address.eq(load.address),
                         bank.write_data.eq(load.data)]
        m.d.comb += [
            scale.counts.start.eq(self.counts.start), scale.counts.valid.eq(self.counts.valid),
            scale.counts.count.eq(self.counts.count), scale.token.eq(self.token),
            scales.read.eq(scale.fetch), scales.read_address.eq(self.token.scale),
            biases.read.eq(scale.fetch), biases.read_address.eq(self.token.bias),
            scale.scale.eq(scales.read_data), scale.bias.eq(biases.read_data),

            threshold.raw.eq(self.raw), threshold.code_bits.eq(self.code_bits),
            threshold.start.eq(self.start),
            threshold.valid.eq(scale.valid), threshold.acc.eq(scale.acc),
            threshold.block.eq(scale.block),
            thresholds.read.eq(threshold.read), thresholds.read_address.eq(threshold.address),
            threshold.threshold.eq(thresholds.read_data),
            threshold.pop.eq(self.pop),

            self.acc_valid.eq(scale.valid),
            self.code_valid.eq(threshold.code_valid), self.code.eq(threshold.code),
            self.raw_acc.eq(threshold.raw_acc),
        ]
        return m
