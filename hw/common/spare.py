"""A spare place before a pipeline, so that what fills it does not wait for its far end."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Spare"]


class Spare(wiring.Component):
    """Keeps one payload that is not taken at once: ``i.ready`` comes out of a register.

    Latency is 0 cycles; throughput is one payload per cycle.

    Parameters
    ----------
    shape : shape-like
        Of a payload.

    Members
    -------
    i : In(stream.Signature(shape)), o : Out(stream.Signature(shape))
        Both ends.
    """

    def __init__(self, shape):
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform):
        m = Module()
        full, kept = Signal(), Signal.like(self.i.payload)
        m.d.comb += [
            self.i.ready.eq(~full), self.o.valid.eq(self.i.valid | full),
            self.o.payload.eq(Mux(full, kept, self.i.payload)),
        ]
        m.d.sync += full.eq(self.o.valid & ~self.o.ready)
        with m.If(~full):
            m.d.sync += kept.eq(self.i.payload)
        return m
