"""From addresses to operands: the banks, their registers and the rotator."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..array.element import Flags
from ..common.delay import Delay
from ..memory.activations import ActivationBanks, ReadSignature, WriteSignature
from ..memory.bank import write_signature
from ..memory.weights import WeightBanks
from .rotator import Rotator

__all__ = ["Operands"]

OPERAND_CYCLES = 3
"""Cycles from an activation's address to its row: bank, its output register and the rotator."""


class Operands(wiring.Component):
    """Activation and weight banks, up to the edge of the array.

    An activation comes to its row :data:`OPERAND_CYCLES` after its address, with its flags; a
    weight, whose address comes a cycle later, to column 0 with it.

    Parameters
    ----------
    config : MachineConfig
        Machine.

    Members
    -------
    activations : Out(write_signature).array(rows), weights : Out(write_signature).array(cols)
        Entries from the host.
    write : In(WriteSignature)
        Words from the output.
    read : In(ReadSignature), flags : In(Flags)
        Addresses of a step's activations, and its flags.
    address : In(range(weight_depth))
        Entry of column 0 of the weight banks.
    rows : Out(lanes).array(rows), row_flags : Out(Flags), cols : Out(lanes).array(cols)
        Operands of the array. The top unit delivers first, so its rows take the first pixels of a
        tile.
    probed : Out(lanes)
        The word of pixel 0, for a host that reads.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "activations": Out(write_signature(config.lanes, config.activation_depth)
                               ).array(config.rows),
            "weights": Out(write_signature(config.lanes, config.weight_depth)).array(config.cols),
            "write": In(WriteSignature(config)), "read": In(ReadSignature(config)),
            "flags": In(Flags), "address": In(range(config.weight_depth)),
            "rows": Out(config.lanes).array(config.rows), "row_flags": Out(Flags),
            "cols": Out(config.lanes).array(config.cols), "probed": Out(config.lanes),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        m.submodules.activation_banks = activations = ActivationBanks(config)
        m.submodules.weight_banks = weights = WeightBanks(config)
        m.submodules.rotator = rotator = Rotator(config.rows, config.lanes)
        m.submodules.flags = flags = Delay(Flags, OPERAND_CYCLES)
        for banks, entries in ((activations, self.activations), (weights, self.weights)):
            for bank, port in zip(banks.store, entries, strict=True):
                wiring.connect(m, wiring.flipped(port), bank)
        wiring.connect(m, wiring.flipped(self.write), activations.write)
        wiring.connect(m, wiring.flipped(self.read), activations.read)
        m.d.sync += rotator.rotation.eq(self.read.rotation)
        m.d.comb += [
            flags.i.eq(self.flags), self.row_flags.eq(flags.o),
            weights.address.eq(self.address), self.probed.eq(rotator.rows[0]),
        ]
        m.d.comb += [rotator.banks[b].eq(word) for b, word in enumerate(activations.words)]
        m.d.comb += [self.cols[c].eq(word) for c, word in enumerate(weights.words)]
        for pixel in range(config.rows):
            unit, row = divmod(pixel, config.drain_cycles)
            bottom = (config.units - 1 - unit) * config.drain_cycles
            m.d.comb += self.rows[bottom + row].eq(rotator.rows[pixel])
        return m
