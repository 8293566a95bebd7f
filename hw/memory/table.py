"""A table of records, looked up by the feed."""

from amaranth.hdl import Cat, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from .bank import Bank, read_signature, write_signature

__all__ = ["RecordTable"]


class RecordTable(wiring.Component):
    """Records in a bank, unpacked as they are read; a look-up takes one cycle.

    Parameters
    ----------
    record : hw.spec.record.Record
        What an entry is.
    layout : StructLayout
        Its fields as they are kept. The top bit of one that is narrower than in the record stands
        for all that are left out, too: it is set if any of them is.
    depth : int
        Entries.

    Members
    -------
    store : Out(write_signature)
        Entries from the host, in their link words.
    read : Out(read_signature)
        Look-up: ``en``, ``addr``, and as ``data`` the fields of the record side by side.
    """

    def __init__(self, record, layout, depth):
        self.record = record
        self.layout = layout
        self.depth = depth
        width = 32 * len(record)
        super().__init__({
            "store": Out(write_signature(width, depth)),
            "read": Out(read_signature(layout, depth)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.bank = bank = Bank(self.layout.size, self.depth)
        m.d.comb += [
            bank.write.en.eq(self.store.en), bank.write.addr.eq(self.store.addr),
            bank.write.data.eq(Cat(self._field(name) for name in self.record.fields)),
            bank.read.en.eq(self.read.en), bank.read.addr.eq(self.read.addr),
            self.read.data.eq(bank.read.data),
        ]
        return m

    def _field(self, name):
        """A field of an entry from the host."""
        index, shift = self.record.place(name)
        bits = self.store.data[32 * index + shift:][:self.record.fields[name].bits]
        top = self.layout[name].width - 1
        return Cat(bits[:top], bits[top:].any())
