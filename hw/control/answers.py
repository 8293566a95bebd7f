"""Who may send: a raw tile first, then the end of the run, or what a read asked for."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.choice import choose
from ..spec.link import Opcode
from ..spec.memory import longest_answer

__all__ = ["AnswerArbiter"]


class AnswerArbiter(wiring.Component):
    """Asks the framer for one frame after the other, and gives each its payload.

    Parameters
    ----------
    config : MachineConfig
        Machine.

    Members
    -------
    raw_request : In(1), raw : In(stream.Signature(32))
        A tile of accumulators waits; its words.
    done : In(1), layers : In(16)
        Strobe: the run has ended; layers run, stable until it is told.
    read : In(1), length : In(range(longest_answer + 1)), entries : In(stream.Signature(32))
        Strobe: a read begins; its words, and how many there are.
    request, opcode, length_o, idle, sent
        See :class:`hw.link.framer.Framer`.
    o : Out(stream.Signature(32))
        Payload of the frame under way.
    pending : Out(1)
        An answer is asked for, or on its way.
    finished : Out(1)
        The request from the host has been carried out: its last frame has left.
    """

    def __init__(self, config):
        self.config = config
        length = range(longest_answer(config) + 1)
        super().__init__({
            "raw_request": In(1), "raw": In(stream.Signature(32)),
            "done": In(1), "layers": In(16),
            "read": In(1), "length": In(length), "entries": In(stream.Signature(32)),
            "request": Out(1), "opcode": Out(8), "length_o": Out(length), "idle": In(1),
            "sent": In(1), "o": Out(stream.Signature(32)),
            "pending": Out(1), "finished": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        done, reading = Signal(), Signal()
        # What the frame under way brings.
        brings = Signal(data.StructLayout({"result": 1, "done": 1, "data": 1}))
        with m.If(self.read):
            m.d.sync += reading.eq(1)
        with m.If(self.done):
            m.d.sync += done.eq(1)
        with m.If(self.finished):
            m.d.sync += [done.eq(0), reading.eq(0)]
        m.d.comb += [
            self.request.eq(self.raw_request | done | reading),
            self.pending.eq(self.request | ~self.idle),
            self.finished.eq(self.sent & ~brings.result),
            self.opcode.eq(Mux(self.raw_request, Opcode.RESULT,
                               Mux(done, Opcode.DONE, Opcode.DATA))),
            self.length_o.eq(Mux(self.raw_request, config.rows * config.cols,
                                 Mux(done, 1, self.length))),
        ]
        with m.If(self.idle):
            m.d.sync += [brings.result.eq(self.raw_request),
                         brings.done.eq(~self.raw_request & done),
                         brings.data.eq(~self.raw_request & ~done)]
        m.d.comb += [
            self.o.payload.eq(choose([
                (brings.result, self.raw.payload), (brings.done, self.layers),
                (brings.data, self.entries.payload)])),
            self.o.valid.eq((brings.result & self.raw.valid) | brings.done
                            | (brings.data & self.entries.valid)),
            self.raw.ready.eq(brings.result & self.o.ready),
            self.entries.ready.eq(brings.data & self.o.ready),
        ]
        return m
