"""Frames from the host: header, payload, checksum, and what a whole frame asks for."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..spec.config import FORMAT_VERSION
from ..spec.link import LENGTH_BITS, MAGIC, ErrorCode, Opcode
from .words import ChecksumSignature, LinkWord

__all__ = ["DEFRAMER_ERRORS", "Deframer"]

DEFRAMER_ERRORS = (ErrorCode.MAGIC, ErrorCode.VERSION, ErrorCode.OPCODE, ErrorCode.FINGERPRINT,
                   ErrorCode.LENGTH, ErrorCode.CHECKSUM, ErrorCode.NOT_LOADED)
"""Faults found here, at most one at a time."""


class Deframer(wiring.Component):
    """Takes frames apart, and asks for a run or a read once the checksum is right.

    Throughput is one word per cycle. While a request is carried out no word is taken.

    Parameters
    ----------
    config : MachineConfig
        Machine.

    Members
    -------
    i : In(stream.Signature(32))
        Words from the host.
    o : Out(stream.Signature(LinkWord, always_ready=True))
        Payloads, in the cycles in which their words are taken.
    opcode : Out(Opcode)
        Of the frame; stable from its first word of payload until its request is carried out.
    loaded : Out(1)
        An image has passed all checks.
    run, read : Out(1)
        Request, in its first cycle.
    finished : In(1)
        The request has been carried out.
    open : Out(1), word : Out(24)
        Inside a frame; index of the next word, which is the offending one in case of a fault.
    checksum : Out(ChecksumSignature)
        Words taken.
    fault : Out(7)
        One bit per code of :data:`DEFRAMER_ERRORS`.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "i": In(stream.Signature(32)),
            "o": Out(stream.Signature(LinkWord, always_ready=True)),
            "opcode": Out(range(Opcode.READ + 1)),
            "loaded": Out(1), "run": Out(1), "read": Out(1), "finished": In(1),
            "open": Out(1), "word": Out(LENGTH_BITS),
            "checksum": Out(ChecksumSignature()),
            "fault": Out(len(DEFRAMER_ERRORS)),
        })

    def _raise(self, m, code):
        m.d.comb += self.fault[DEFRAMER_ERRORS.index(code)].eq(1)

    def elaborate(self, platform):
        m = Module()
        word, taken = self.i.payload, Signal()
        length, ended = Signal(LENGTH_BITS), Signal()
        last_word, second_last = Signal(), Signal()
        m.d.comb += [taken.eq(self.i.valid & self.i.ready), self.checksum.checked.eq(taken),
                     self.checksum.data.eq(word),
                     self.o.payload.word.eq(word), self.o.payload.last.eq(last_word)]
        with m.If(taken):
            # Two words lie between the count of words and that of the payload.
            m.d.sync += [self.word.eq(self.word + 1), last_word.eq(second_last),
                         second_last.eq(self.word == length)]
        with m.If(ended):
            m.d.sync += [self.word.eq(0), self.open.eq(0)]
        with m.FSM():
            with m.State("TYPE"):
                m.d.comb += [self.i.ready.eq(1), self.checksum.first.eq(1)]
                with m.If(taken):
                    m.d.sync += [self.opcode.eq(word[24:32]), self.open.eq(1)]
                    m.next = "MACHINE"
                    self._check_type(m, word)
            with m.State("MACHINE"):
                m.d.comb += self.i.ready.eq(1)
                with m.If(taken):
                    m.next = "LENGTH"
                    with m.If(word != self.config.fingerprint):
                        self._raise(m, ErrorCode.FINGERPRINT)
            with m.State("LENGTH"):
                m.d.comb += self.i.ready.eq(1)
                with m.If(taken):
                    m.d.sync += [length.eq(word), last_word.eq(word == 1),
                                 second_last.eq(word == 2)]
                    m.next = "PAYLOAD"
                    self._check_length(m, word)
            with m.State("PAYLOAD"):
                m.d.comb += [self.i.ready.eq(1), self.o.valid.eq(taken)]
                with m.If(taken & last_word):
                    m.next = "CRC"
            with m.State("CRC"):
                m.d.comb += self.i.ready.eq(~self.checksum.pending)
                with m.If(taken):
                    m.d.comb += ended.eq(1)
                    m.next = "TYPE"
                    self._conclude(m, word == self.checksum.crc)
            with m.State("REQUEST"):
                with m.If(self.finished):
                    m.next = "TYPE"
        return m

    def _check_type(self, m, word):
        known = Cat(word[24:32] == code for code in
                    (Opcode.IMAGE, Opcode.WRITE, Opcode.RUN, Opcode.READ)).any()
        with m.If(word[:16] != MAGIC):
            self._raise(m, ErrorCode.MAGIC)
        with m.Elif(word[16:24] != FORMAT_VERSION):
            self._raise(m, ErrorCode.VERSION)
        with m.Elif(~known):
            self._raise(m, ErrorCode.OPCODE)

    def _check_length(self, m, word):
        with m.If(self.opcode == Opcode.IMAGE):
            m.d.sync += self.loaded.eq(0)
        with m.If(word == 0):
            m.next = "CRC"
        with m.If(((self.opcode == Opcode.RUN) & (word != 1))
                  | ((self.opcode == Opcode.READ) & (word != 2)) | word[LENGTH_BITS:].any()):
            self._raise(m, ErrorCode.LENGTH)

    def _conclude(self, m, right):
        """After the checksum: ask for what the frame asks, or be ready for the next one."""
        with m.If(~right):
            self._raise(m, ErrorCode.CHECKSUM)
        with m.Elif(self.opcode == Opcode.IMAGE):
            m.d.sync += self.loaded.eq(1)
        with m.Elif((self.opcode == Opcode.RUN) & ~self.loaded):
            self._raise(m, ErrorCode.NOT_LOADED)
        with m.Elif((self.opcode == Opcode.RUN) | (self.opcode == Opcode.READ)):
            m.d.comb += [self.run.eq(self.opcode == Opcode.RUN),
                         self.read.eq(self.opcode == Opcode.READ)]
            m.next = "REQUEST"
