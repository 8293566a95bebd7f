"""The receiving end of the host link: frames, sections, and every check on them."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .spec.config import FORMAT_VERSION
from .spec.link import LENGTH_BITS, MAGIC, ErrorCode, Opcode
from .spec.memory import banks

__all__ = ["FrameReceiver", "StoreSignature"]

RECEIVER_ERRORS = (ErrorCode.MAGIC, ErrorCode.VERSION, ErrorCode.OPCODE, ErrorCode.FINGERPRINT,
                   ErrorCode.LENGTH, ErrorCode.SECTION, ErrorCode.CHECKSUM, ErrorCode.NOT_LOADED)
"""Faults the receiver finds, in order of precedence."""


class StoreSignature(wiring.Signature):
    """Entries on their way into the memories.

    Members
    -------
    strobe : Out(1)
        Store an entry.
    memory : Out(8), bank : Out(8), address : Out(16)
        Where.
    entry : Out(width)
        What, in the low bits.
    """

    def __init__(self, width):
        super().__init__({"strobe": Out(1), "memory": Out(8), "bank": Out(8),
                          "address": Out(16), "entry": Out(width)})


class SectionHeader(data.Struct):
    """The two words that name a range of entries."""

    memory: 8
    bank: 8
    unused: 16
    start: 16
    count: 16


class FrameReceiver(wiring.Component):
    """Takes frames apart, stores sections as they come, and asks for a run or a read once the CRC
    is right.

    Throughput is one word per cycle. While a request is carried out no word is taken.

    Parameters
    ----------
    config : MachineConfig
        Machine.

    Members
    -------
    i : In(stream.Signature(32))
        Words from the host.
    store : Out(StoreSignature)
        Entries for the memories.
    loaded : Out(1)
        An image has passed all checks.
    run, read : Out(1)
        Request, in its first cycle.
    argument : Out(32)
        Payload of ``run``.
    section : Out(SectionHeader)
        Payload of ``read``.
    finished : In(1)
        The request has been carried out.
    open : Out(1), word : Out(24)
        Inside a frame; index of the next word, which is the offending one in case of a fault.
    checked, first : Out(1)
        The word taken counts for the checksum; it is the first one of its frame.
    crc : In(32)
        Checksum of the words taken.
    crc_pending : In(1)
        It is not up to date.
    fault : Out(8)
        One bit per code of ``RECEIVER_ERRORS``.
    """

    def __init__(self, config):
        self.config = config
        self.width = 32 * max(bank.entry_words for bank in banks(config).values())
        super().__init__({
            "i": In(stream.Signature(32)),
            "store": Out(StoreSignature(self.width)),
            "loaded": Out(1), "run": Out(1), "read": Out(1), "argument": Out(32),
            "section": Out(SectionHeader), "finished": In(1),
            "open": Out(1), "word": Out(LENGTH_BITS),
            "checked": Out(1), "first": Out(1), "crc": In(32), "crc_pending": In(1),
            "fault": Out(len(RECEIVER_ERRORS)),
        })

    def _raise(self, m, code):
        m.d.comb += self.fault[RECEIVER_ERRORS.index(code)].eq(1)

    def elaborate(self, platform):
        m = Module()
        word, taken = self.i.payload, Signal()
        opcode, left = Signal(8), Signal(LENGTH_BITS)
        m.d.comb += [taken.eq(self.i.valid & self.i.ready), self.checked.eq(taken)]
        with m.If(taken):
            m.d.sync += [self.word.eq(self.word + 1), left.eq(left - 1)]
        m.d.sync += self.store.strobe.eq(0)
        m.d.comb += [self.store.memory.eq(self.section.memory),
                     self.store.bank.eq(self.section.bank)]
        named = Signal()
        exists, fits, entry_words = self._known(m, word, opcode, named)

        with m.FSM():
            with m.State("TYPE"):
                m.d.comb += [self.i.ready.eq(1), self.first.eq(1)]
                with m.If(taken):
                    m.d.sync += [opcode.eq(word[24:32]), self.open.eq(1)]
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
                    m.d.sync += left.eq(word)
                    m.next = "SECTION"
                    with m.If(opcode == Opcode.IMAGE):
                        m.d.sync += self.loaded.eq(0)
                    with m.If(opcode == Opcode.RUN):
                        m.next = "ARGUMENT"
                    with m.If(word == 0):
                        m.next = "CRC"
                    with m.If(((opcode == Opcode.RUN) & (word != 1))
                              | ((opcode == Opcode.READ) & (word != 2))
                              | word[LENGTH_BITS:].any()):
                        self._raise(m, ErrorCode.LENGTH)
            with m.State("ARGUMENT"):
                m.d.comb += self.i.ready.eq(1)
                with m.If(taken):
                    m.d.sync += self.argument.eq(word)
                    m.next = "CRC"
            self._sections(m, opcode, left, taken, named, exists, fits, entry_words)
            with m.State("CRC"):
                m.d.comb += self.i.ready.eq(~self.crc_pending)
                with m.If(taken):
                    self._conclude(m, opcode, word == self.crc)
            with m.State("REQUEST"):
                with m.If(self.finished):
                    m.d.sync += [self.open.eq(0), self.word.eq(0)]
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

    def _conclude(self, m, opcode, right):
        """After the CRC: carry out the request, or be ready for the next frame."""
        m.d.sync += [self.open.eq(0), self.word.eq(0)]
        m.next = "TYPE"
        with m.If(~right):
            self._raise(m, ErrorCode.CHECKSUM)
        with m.Elif(opcode == Opcode.IMAGE):
            m.d.sync += self.loaded.eq(1)
        with m.Elif((opcode == Opcode.RUN) & ~self.loaded):
            self._raise(m, ErrorCode.NOT_LOADED)
        with m.Elif((opcode == Opcode.RUN) | (opcode == Opcode.READ)):
            m.d.comb += [self.run.eq(opcode == Opcode.RUN), self.read.eq(opcode == Opcode.READ)]
            m.next = "REQUEST"

    def _sections(self, m, opcode, left, taken, named, exists, fits, entry_words):
        """Section headers and entries; an entry is stored one cycle after its last word."""
        word, section, store = self.i.payload, self.section, self.store
        part, entries = Signal(range(self.width // 32)), Signal(16)
        last_word = left == 1

        with m.State("SECTION"):
            m.d.comb += self.i.ready.eq(1)
            m.d.comb += named.eq(taken)
            with m.If(taken):
                m.d.sync += [section.memory.eq(word[:8]), section.bank.eq(word[8:16])]
                m.next = "RANGE"
                with m.If(~exists):
                    self._raise(m, ErrorCode.SECTION)
                with m.Elif(last_word):
                    self._raise(m, ErrorCode.LENGTH)
        with m.State("RANGE"):
            m.d.comb += self.i.ready.eq(1)
            with m.If(taken):
                m.d.sync += [section.start.eq(word[:16]), section.count.eq(word[16:]),
                             entries.eq(word[16:]), part.eq(0), store.address.eq(word[:16] - 1)]
                ends = (opcode == Opcode.READ) | (word[16:] == 0)
                m.next = "ENTRY"
                with m.If(ends):
                    m.next = "SECTION"
                with m.If(last_word):
                    m.next = "CRC"
                with m.If(~fits):
                    self._raise(m, ErrorCode.SECTION)
                with m.Elif(last_word & ~ends):
                    self._raise(m, ErrorCode.LENGTH)
        with m.State("ENTRY"):
            m.d.comb += self.i.ready.eq(1)
            with m.If(taken):
                m.d.sync += [store.entry.word_select(part, 32).eq(word), part.eq(part + 1)]
                complete = part + 1 == entry_words
                with m.If(complete):
                    m.d.sync += [part.eq(0), entries.eq(entries - 1), store.strobe.eq(1),
                                 store.address.eq(store.address + 1)]
                    with m.If(entries == 1):
                        m.next = "SECTION"
                with m.If(last_word):
                    m.next = "CRC"
                    with m.If(~complete | (entries != 1)):
                        self._raise(m, ErrorCode.LENGTH)

    def _known(self, m, word, opcode, named):
        """Which memories there are, from the ground floor's list."""
        exists, fits, entry_words = Signal(), Signal(), Signal(range(self.width // 32 + 1))
        reads = opcode == Opcode.READ
        shapes = banks(self.config)
        depth = Signal(range(max(bank.depth for bank in shapes.values()) + 1))
        with m.Switch(word[:8]):
            for bank in shapes.values():
                with m.Case(bank.memory):
                    allowed = Mux(reads, bank.readable, bank.writable)
                    m.d.comb += exists.eq((word[8:16] < bank.count) & (word[16:] == 0) & allowed)
                    # The shape is looked up with the first word of a header, for the second.
                    with m.If(named):
                        m.d.sync += [depth.eq(bank.depth), entry_words.eq(bank.entry_words)]
        m.d.comb += fits.eq(word[:16] + word[16:] <= depth)
        return exists, fits, entry_words
