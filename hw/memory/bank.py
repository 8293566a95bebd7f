"""One bank of on-chip memory: one write port for the loader, one read port for the machine."""

from amaranth.hdl import Module
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Bank"]


class Bank(wiring.Component):
    """A simple dual-port memory that lands in block RAM.

    A read takes one cycle and holds its data while ``read`` is low. The machine never reads the
    entry it is writing, and says so to the synthesis tool, which would otherwise build a bypass
    around every block RAM. Contents survive reset.

    Parameters
    ----------
    width : int
        Bits of an entry.
    depth : int
        Entries.
    granules : int
        Parts of an entry that can be written on their own; divides ``width``.

    Members
    -------
    write : In(granules)
        Parts of ``write_data`` to store.
    write_address, read_address : In(range(depth))
        Entries.
    write_data : In(width)
        Entry to store.
    read : In(1)
        Fetch an entry.
    read_data : Out(width)
        Entry fetched last.
    """

    def __init__(self, width, depth, *, granules=1):
        self.width = width
        self.depth = depth
        self.granules = granules
        super().__init__({
            "write": In(granules), "write_address": In(range(depth)), "write_data": In(width),
            "read": In(1), "read_address": In(range(depth)), "read_data": Out(width),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.cells = cells = memory.Memory(
            shape=self.width, depth=self.depth, init=[],
            attrs={"no_rw_check": 1, "ram_style": "block"})
        write = cells.write_port(granularity=self.width // self.granules)
        read = cells.read_port()
        m.d.comb += [
            write.en.eq(self.write), write.addr.eq(self.write_address),
            write.data.eq(self.write_data),
            read.en.eq(self.read), read.addr.eq(self.read_address),
            self.read_data.eq(read.data),
        ]
        return m
