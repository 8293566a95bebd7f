"""Range checks: comparison with a constant, where most constants are powers of two."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Guard", "reaches"]


def reaches(value, limit):
    """Whether an unsigned value is at least ``limit``.

    The synthesis tool lays a carry chain for every comparison; a power of two needs none.

    Parameters
    ----------
    value : Value
        Taken as unsigned: a negative number is beyond any limit.
    limit : int
        At least 1.

    Returns
    -------
    Value
        One bit.
    """
    value = value.as_unsigned()
    if limit & (limit - 1):
        return value >= limit
    return value[limit.bit_length() - 1:].any()


class Guard(wiring.Component):
    """Lets an address through to a memory, and says whether it lies outside; combinational.

    Parameters
    ----------
    width : int
        Bits of the address that may leave the memory.
    depth : int
        Entries of the memory.

    Members
    -------
    valid : In(1), i : In(width)
        An address that is used.
    o : Out(range(depth))
        The address as the memory takes it.
    fault : Out(1)
        It lies outside.
    """

    def __init__(self, width, depth):
        self.depth = depth
        super().__init__({"valid": In(1), "i": In(width), "o": Out(range(depth)),
                          "fault": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.d.comb += [self.o.eq(self.i), self.fault.eq(self.valid & reaches(self.i, self.depth))]
        return m
