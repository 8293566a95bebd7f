"""The sending end of the host link: frames around what others have to say."""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .spec.config import FORMAT_VERSION
from .spec.link import LENGTH_BITS, MAGIC

__all__ = ["FrameSender"]


class FrameSender(wiring.Component):
    """Sends one frame at a time: three words of header, the payload, the CRC.

    Throughput is one word per cycle; a frame with n words of payload costs n + 6 cycles if the host
    is ready.

    Parameters
    ----------
    config : MachineConfig
        Machine.

    Members
    -------
    request : In(1), opcode : In(8), length : In(24)
        A frame that should begin; looked at while idle.
    idle : Out(1)
        A request is taken in this cycle.
    i : In(stream.Signature(32))
        Payload of the frame under way.
    o : Out(stream.Signature(32))
        Words to the host.
    sent : Out(1)
        Last word of a frame leaves.
    checked, first : Out(1)
        The word that leaves counts for the checksum; it is the first one of its frame.
    crc : In(32)
        Checksum of the words that left.
    crc_pending : In(1)
        It is not up to date.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "request": In(1), "opcode": In(8), "length": In(LENGTH_BITS), "idle": Out(1),
            "i": In(stream.Signature(32)), "o": Out(stream.Signature(32)), "sent": Out(1),
            "checked": Out(1), "first": Out(1), "crc": In(32), "crc_pending": In(1),
        })

    def elaborate(self, platform):
        m = Module()
        opcode, left = Signal(8), Signal(LENGTH_BITS)
        leaves = self.o.valid & self.o.ready
        m.d.comb += self.checked.eq(leaves)
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.idle.eq(1)
                with m.If(self.request):
                    m.d.sync += [opcode.eq(self.opcode), left.eq(self.length)]
                    m.next = "TYPE"
            with m.State("TYPE"):
                m.d.comb += [self.o.valid.eq(1), self.first.eq(1),
                             self.o.payload.eq(MAGIC | FORMAT_VERSION << 16 | opcode << 24)]
                with m.If(leaves):
                    m.next = "MACHINE"
            with m.State("MACHINE"):
                m.d.comb += [self.o.valid.eq(1), self.o.payload.eq(self.config.fingerprint)]
                with m.If(leaves):
                    m.next = "LENGTH"
            with m.State("LENGTH"):
                m.d.comb += [self.o.valid.eq(1), self.o.payload.eq(left)]
                with m.If(leaves):
                    m.next = "PAYLOAD"
                    with m.If(left == 0):
                        m.next = "CRC"
            with m.State("PAYLOAD"):
                m.d.comb += [self.o.valid.eq(self.i.valid), self.o.payload.eq(self.i.payload),
                             self.i.ready.eq(self.o.ready)]
                with m.If(leaves):
                    m.d.sync += left.eq(left - 1)
                    with m.If(left == 1):
                        m.next = "CRC"
            with m.State("CRC"):
                m.d.comb += [self.o.valid.eq(~self.crc_pending), self.o.payload.eq(self.crc)]
                with m.If(leaves):
                    m.d.comb += self.sent.eq(1)
                    m.next = "IDLE"
        return m
