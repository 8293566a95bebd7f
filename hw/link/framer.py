"""Frames for the host, around what others have to say."""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.choice import choose
from ..spec.config import FORMAT_VERSION
from ..spec.link import MAGIC
from ..spec.memory import longest_answer
from .words import ChecksumSignature, LinkWord

__all__ = ["Framer"]


class Framer(wiring.Component):
    """Sends one frame at a time: three words of header, the payload, the CRC.

    Throughput is one word per cycle; a frame with n words of payload costs n + 6 cycles if the host
    is ready.

    Parameters
    ----------
    config : MachineConfig
        Machine.

    Members
    -------
    request : In(1), opcode : In(8), length : In(range(longest_answer + 1))
        A frame that should begin; looked at while idle.
    idle : Out(1)
        A request is taken in this cycle.
    i : In(stream.Signature(32))
        Payload of the frame under way.
    o : Out(stream.Signature(LinkWord))
        Words to the host.
    sent : Out(1)
        Last word of a frame leaves.
    checksum : Out(ChecksumSignature)
        Words that leave.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "request": In(1), "opcode": In(8),
            "length": In(range(longest_answer(config) + 1)), "idle": Out(1),
            "i": In(stream.Signature(32)), "o": Out(stream.Signature(LinkWord)), "sent": Out(1),
            "checksum": Out(ChecksumSignature()),
        })

    def elaborate(self, platform):
        m = Module()
        opcode, left = Signal(8), Signal.like(self.length)
        begins, last = self.idle & self.request, left == 1
        leaves, paid = Signal(), Signal()
        m.d.comb += [
            leaves.eq(self.o.valid & self.o.ready), self.checksum.checked.eq(leaves),
            self.checksum.data.eq(self.o.payload.word),
        ]
        with m.If(begins):
            m.d.sync += [opcode.eq(self.opcode), left.eq(self.length)]
        with m.Elif(paid):
            m.d.sync += left.eq(left - 1)
        with m.FSM() as fsm:
            with m.State("IDLE"):
                m.d.comb += self.idle.eq(1)
                with m.If(begins):
                    m.next = "TYPE"
            with m.State("TYPE"):
                m.d.comb += [self.o.valid.eq(1), self.checksum.first.eq(1)]
                with m.If(leaves):
                    m.next = "MACHINE"
            with m.State("MACHINE"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(leaves):
                    m.next = "LENGTH"
            with m.State("LENGTH"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(leaves):
                    m.next = "PAYLOAD"
                    with m.If(left == 0):
                        m.next = "CRC"
            with m.State("PAYLOAD"):
                m.d.comb += [self.o.valid.eq(self.i.valid), self.i.ready.eq(self.o.ready),
                             paid.eq(leaves)]
                with m.If(leaves & last):
                    m.next = "CRC"
            with m.State("CRC"):
                m.d.comb += [self.o.valid.eq(~self.checksum.pending), self.o.payload.last.eq(1)]
                with m.If(leaves):
                    m.d.comb += self.sent.eq(1)
                    m.next = "IDLE"
        m.d.comb += self.o.payload.word.eq(choose((fsm.ongoing(state), word) for state, word in (
            ("TYPE", MAGIC | FORMAT_VERSION << 16 | opcode << 24),
            ("MACHINE", self.config.fingerprint), ("LENGTH", left),
            ("PAYLOAD", self.i.payload), ("CRC", self.checksum.crc))))
        return m
