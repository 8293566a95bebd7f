"""A table of records, looked up by the feed."""

from amaranth.hdl import Cat, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from ..common.layout import record_layout
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
        layout = record_layout(self.record)
        # Of the link words only the bits that are fields are kept.
        places = [(index * 32 + shift, self.record.fields[name].bits)
                  for name in self.record.fields
                  for index, shift in [self.record.place(name)]]
        m.submodules.bank = bank = Bank(layout.size, self.depth)
        m.d.comb += [
            bank.write.en.eq(self.store.en), bank.write.addr.eq(self.store.addr),
            bank.write.data.eq(Cat(self.store.data[at:at + bits] for at, bits in places)),
            bank.read.en.eq(self.read.en), bank.read.addr.eq(self.read.addr),
            self.read.data.eq(bank.read.data),
        ]
        return m
