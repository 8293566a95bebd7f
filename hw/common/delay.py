"""A fixed number of cycles."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Delay"]


class Delay(wiring.Component):
    """Hands a value on, so many cycles later; 0 after reset until then.

    Parameters
    ----------
    shape : shape-like
        Of the value.
    cycles : int
        At least 0.

    Members
    -------
    i : In(shape), o : Out(shape)
        The value, and what it was ``cycles`` ago.
    """

    def __init__(self, shape, cycles):
        if not isinstance(cycles, int) or cycles < 0:
            raise ValueError(f"Delay cycles must be an integer of at least 0, not {cycles!r}")
        self.shape = shape
        self.cycles = cycles
        super().__init__({"i": In(shape), "o": Out(shape)})

    def elaborate(self, platform):
        m = Module()
        value = self.i
        for stage in range(self.cycles):
            later = Signal(self.shape, name=f"stage_{stage}")
            m.d.sync += later.eq(value)
            value = later
        m.d.comb += self.o.eq(value)
        return m
