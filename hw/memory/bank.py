"""One bank of on-chip memory: one port to write it, one to read it."""

from amaranth.hdl import Module
from amaranth.lib import memory, wiring
from amaranth.lib.memory import ReadPort, WritePort
from amaranth.lib.wiring import Out
from amaranth.utils import ceil_log2

__all__ = ["Bank", "read_signature", "write_signature"]


def read_signature(width, depth):
    """Signature of a read port of a :class:`Bank`, ``Out`` at the bank and ``In`` at the user."""
    return ReadPort.Signature(addr_width=ceil_log2(depth), shape=width)


def write_signature(width, depth, *, granules=1):
    """Signature of a write port of a :class:`Bank`, ``Out`` at the bank and ``In`` at the user."""
    return WritePort.Signature(addr_width=ceil_log2(depth), shape=width,
                               granularity=width // granules)


class Bank(wiring.Component):
    """A simple dual-port memory that lands in block RAM.

    A read takes one cycle and holds its data while ``read.en`` is low. The machine never looks at
    what it reads of an entry while it writes it, and says so to the synthesis tool, which would
    otherwise build a bypass around every block RAM. Contents survive reset.

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
    write : Out(write_signature)
        ``en``: parts of ``data`` to store; ``addr``: entry.
    read : Out(read_signature)
        ``en``: fetch the entry ``addr``; ``data``: entry fetched last.
    """

    def __init__(self, width, depth, *, granules=1):
        self.width = width
        self.depth = depth
        self.granules = granules
        super().__init__({"write": Out(write_signature(width, depth, granules=granules)),
                          "read": Out(read_signature(width, depth))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.cells = cells = memory.Memory(
            shape=self.width, depth=self.depth, init=[],
            attrs={"no_rw_check": 1, "ram_style": "block"})
        write = cells.write_port(granularity=self.width // self.granules)
        wiring.connect(m, wiring.flipped(self.write), write)
        wiring.connect(m, wiring.flipped(self.read), cells.read_port())
        return m
