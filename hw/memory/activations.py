"""The activation banks: written by the host or by the output, read by the feed."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .bank import Bank, write_signature

__all__ = ["ActivationBanks", "ReadSignature", "WriteSignature"]


class ReadSignature(wiring.Signature):
    """Read port of all activation banks.

    Members
    -------
    valid : Out(1)
        A step reads; for whoever looks at it.
    address : Out(range(activation_depth)).array(rows)
        Entry of every bank.
    rotation : Out(range(rows))
        Bank of row 0.
    """

    def __init__(self, config):
        super().__init__({
            "valid": Out(1), "address": Out(range(config.activation_depth)).array(config.rows),
            "rotation": Out(range(max(config.rows, 2)))})


class WriteSignature(wiring.Signature):
    """Write port of the activation banks: one granule of a word in every bank.

    Members
    -------
    banks : Out(rows)
        Banks to write.
    address : Out(range(activation_depth)).array(rows), data : Out(cols).array(rows)
        Word, and bits of its granule, for every bank.
    granules : Out(granules)
        The granule, one bit for each there is.
    clear : Out(1)
        All other granules of the word become 0.
    """

    def __init__(self, config):
        super().__init__({
            "banks": Out(config.rows),
            "address": Out(range(config.activation_depth)).array(config.rows),
            "data": Out(config.cols).array(config.rows),
            "granules": Out(config.granules), "clear": Out(1),
        })


class ActivationBanks(wiring.Component):
    """One bank per row. Host and output share a port: the host stores while no layer runs.

    A word is stored the cycle after it came; a read takes one cycle.

    Parameters
    ----------
    config : MachineConfig
        Machine.

    Members
    -------
    store : Out(write_signature).array(rows)
        Entries from the host.
    write : In(WriteSignature)
        Words from the output.
    read : In(ReadSignature)
        Addresses from the feed.
    words : Out(lanes).array(rows)
        Words of the banks, one cycle after their addresses.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "store": Out(write_signature(config.lanes, config.activation_depth)
                         ).array(config.rows),
            "write": In(WriteSignature(config)), "read": In(ReadSignature(config)),
            "words": Out(config.lanes).array(config.rows),
        })

    def elaborate(self, platform):
        m = Module()
        config, write = self.config, self.write
        loading, loaded = Signal(), Signal(config.rows)
        m.d.comb += [loaded[b].eq(port.en) for b, port in enumerate(self.store)]
        m.d.comb += loading.eq(loaded.any())
        # What is cleared: a register's reset takes no logic where a gate at every bit would.
        cleared = Signal(config.granules)
        m.d.comb += cleared.eq(Mux(write.clear & ~loading, ~write.granules, 0))
        # The host's entry and its address are the same at all ports, only `en` tells them apart.
        host = self.store[0]
        for b in range(config.rows):
            bank = Bank(config.lanes, config.activation_depth, granules=config.granules)
            m.submodules[f"bank_{b}"] = bank
            granules = Signal(config.granules, name=f"granules_{b}")
            address = Signal(range(config.activation_depth), name=f"address_{b}")
            word = Signal(config.lanes, name=f"word_{b}")
            m.d.sync += [granules.eq(0), address.eq(Mux(loading, host.addr, write.address[b]))]
            for g in range(config.granules):
                part = word.word_select(g, config.cols)
                with m.If(cleared[g]):
                    m.d.sync += part.eq(0)
                with m.Else():
                    m.d.sync += part.eq(Mux(loading, host.data.word_select(g, config.cols),
                                            write.data[b]))
            with m.If(Mux(loading, loaded[b], write.banks[b])):
                m.d.sync += granules.eq(Mux(loading | write.clear, ~0, write.granules))
            m.d.comb += [
                bank.write.en.eq(granules), bank.write.addr.eq(address), bank.write.data.eq(word),
                bank.read.en.eq(1), bank.read.addr.eq(self.read.address[b]),
                self.words[b].eq(bank.read.data),
            ]
        return m
