"""A table of records, looked up by the feed."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from ..common.layout import assign_word, record_layout
from .bank import Bank, read_signature, write_signature

__all__ = ["RecordTable"]


class RecordTable(wiring.Component):
    """Records in a bank, unpacked as they are read; a look-up takes one cycle.

    Parameters
    ----------
    record : hw.spec.record.Record
        What an entry is.
    depth : int
        Entries.

    Members
    -------
    store : Out(write_signature)
        Entries from the host, in their link words.
    read : Out(read_signature)
        Look-up: ``en``, ``addr``, and as ``data`` the fields of the record side by side.
    """

    def __init__(self, record, depth):
        self.record = record
        self.depth = depth
        width = 32 * len(record)
        super().__init__({
            "store": Out(write_signature(width, depth)),
            "read": Out(read_signature(record_layout(record), depth)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.bank = bank = Bank(32 * len(self.record), self.depth)
        wiring.connect(m, wiring.flipped(self.store), bank.write)
        m.d.comb += [bank.read.en.eq(self.read.en), bank.read.addr.eq(self.read.addr)]
        fields = Signal(record_layout(self.record))
        for index in range(len(self.record)):
            m.d.comb += assign_word(self.record, fields, index,
                                    bank.read.data.word_select(index, 32))
        m.d.comb += self.read.data.eq(fields)
        return m
