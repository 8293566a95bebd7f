"""The weight banks, addressed systolically."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .bank import Bank, write_signature

__all__ = ["WeightBanks"]


class WeightBanks(wiring.Component):
    """One bank per column; column c reads c cycles after column 0.

    The word of column 0 follows its address by two cycles: bank and output register.

    Parameters
    ----------
    config : MachineConfig
        Machine.

    Members
    -------
    store : Out(write_signature).array(cols)
        Entries from the host.
    address : In(range(weight_depth))
        Entry of column 0.
    words : Out(lanes).array(cols)
        Words of the columns.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "store": Out(write_signature(config.lanes, config.weight_depth)).array(config.cols),
            "address": In(range(config.weight_depth)),
            "words": Out(config.lanes).array(config.cols),
        })

    def elaborate(self, platform):
        m = Module()
        config, address = self.config, self.address
        for c in range(config.cols):
            bank = Bank(config.lanes, config.weight_depth)
            m.submodules[f"bank_{c}"] = bank
            wiring.connect(m, wiring.flipped(self.store[c]), bank.write)
            m.d.sync += self.words[c].eq(bank.read.data)
            m.d.comb += [bank.read.en.eq(1), bank.read.addr.eq(address)]
            later = Signal.like(address, name=f"address_{c}")
            m.d.sync += later.eq(address)
            address = later
        return m
