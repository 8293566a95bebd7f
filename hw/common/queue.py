"""A queue between two streams."""

from amaranth.hdl import Module, Value
from amaranth.lib import fifo, stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Queue"]


class Queue(wiring.Component):
    """Keeps up to ``depth`` payloads; neither end's handshake depends on the other's within a
    cycle.

    A payload is seen at ``o`` two cycles after ``i`` took it, at the earliest; throughput is one
    payload per cycle.

    Parameters
    ----------
    shape : shape-like
        Of a payload.
    depth : int
        At least 3, below which the throughput would fall.

    Members
    -------
    i : In(stream.Signature(shape)), o : Out(stream.Signature(shape))
        Both ends.
    empty : Out(1)
        Nothing is kept.
    """

    def __init__(self, shape, depth):
        if not isinstance(depth, int) or depth < 3:
            raise ValueError(f"Queue depth must be an integer of at least 3, not {depth!r}")
        self.depth = depth
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape)),
                          "empty": Out(1)})

    def elaborate(self, platform):
        m = Module()
        # A payload may have a layout; the memory keeps its bits.
        taken, shown = Value.cast(self.i.payload), Value.cast(self.o.payload)
        m.submodules.fifo = kept = fifo.SyncFIFOBuffered(width=len(taken), depth=self.depth)
        m.d.comb += [
            kept.w_data.eq(taken), kept.w_en.eq(self.i.valid), self.i.ready.eq(kept.w_rdy),
            shown.eq(kept.r_data), self.o.valid.eq(kept.r_rdy),
            kept.r_en.eq(self.o.ready), self.empty.eq(kept.level == 0),
        ]
        return m
