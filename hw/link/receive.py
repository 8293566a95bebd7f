"""The receiving end of the host link: frames, sections, and every check on them."""

from typing import NamedTuple

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.limit import reaches
from ..spec.config import FORMAT_VERSION
from ..spec.link import LENGTH_BITS, MAGIC, ErrorCode, Opcode
from ..spec.memory import Memory, banks

__all__ = ["FrameReceiver", "Section", "StoreSignature"]

RECEIVER_ERRORS = (ErrorCode.MAGIC, ErrorCode.VERSION, ErrorCode.OPCODE, ErrorCode.FINGERPRINT,
                   ErrorCode.LENGTH, ErrorCode.SECTION, ErrorCode.CHECKSUM, ErrorCode.NOT_LOADED)
"""Faults the receiver finds, in order of precedence."""


class StoreSignature(wiring.Signature):
    """Entries on their way into the memories.

    Members
    -------
    strobe : Out(1)
        Store an entry.
    memory : Out(Memory), bank : Out(range(64)), address : Out(16)
        Where; it exists.
    entry : Out(width)
        What, in the low bits.
    """

    def __init__(self, width):
        super().__init__({"strobe": Out(1), "memory": Out(range(max(Memory) + 1)),
                          "bank": Out(range(64)), "address": Out(16), "entry": Out(width)})


class Section(data.Struct):
    """A range of entries of an existing bank."""

    memory: range(max(Memory) + 1)
    bank: range(64)
    start: 16
    count: 16


class _Payload(NamedTuple):
    """One-bit signals about the sections of a frame."""

    #: A word is taken that names a bank, gives a range, fills an entry.
    named: Signal
    ranged: Signal
    filled: Signal
    #: The word to come is the last one of the payload, of its entry; is one of the last entry.
    last_word: Signal
    last_part: Signal
    last_entry: Signal
    #: The word to come names a bank that the host may use, or a range within its bank.
    exists: Signal
    fits: Signal


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
    section : Out(Section)
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
            "section": Out(Section), "finished": In(1),
            "open": Out(1), "word": Out(LENGTH_BITS),
            "checked": Out(1), "first": Out(1), "crc": In(32), "crc_pending": In(1),
            "fault": Out(len(RECEIVER_ERRORS)),
        })

    def _raise(self, m, code):
        m.d.comb += self.fault[RECEIVER_ERRORS.index(code)].eq(1)

    def elaborate(self, platform):
        m = Module()
        word, taken = self.i.payload, Signal()
        opcode, length = Signal(range(Opcode.READ + 1)), Signal(LENGTH_BITS)
        last_word, second_last, ended = Signal(), Signal(), Signal()
        m.d.comb += [taken.eq(self.i.valid & self.i.ready), self.checked.eq(taken)]
        with m.If(taken):
            # Two words lie between the count of words and that of the payload.
            m.d.sync += [self.word.eq(self.word + 1), last_word.eq(second_last),
                         second_last.eq(self.word == length)]
        with m.If(ended):
            m.d.sync += [self.word.eq(0), self.open.eq(0)]
        payload = _Payload(*(Signal(name=name) for name in _Payload._fields))
        m.d.comb += payload.last_word.eq(last_word)
        self._entries(m, payload, self._known(m, word, opcode, payload))

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
                    m.d.sync += [length.eq(word), last_word.eq(word == 1),
                                 second_last.eq(word == 2)]
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
            self._sections(m, opcode, taken, payload)
            with m.State("CRC"):
                m.d.comb += self.i.ready.eq(~self.crc_pending)
                with m.If(taken):
                    self._conclude(m, opcode, word == self.crc, ended)
            with m.State("REQUEST"):
                with m.If(self.finished):
                    m.d.comb += ended.eq(1)
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

    def _conclude(self, m, opcode, right, ended):
        """After the CRC: carry out the request, or be ready for the next frame."""
        m.d.comb += ended.eq(1)
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

    def _entries(self, m, payload, entry_words):
        """Number and address of the entry that comes; it is stored a cycle after its last word."""
        word, section, store = self.i.payload, self.section, self.store
        part, number = Signal(range(self.width // 32)), Signal(16, init=1)
        complete = payload.filled & payload.last_part
        m.d.sync += store.strobe.eq(complete)
        m.d.comb += [store.memory.eq(section.memory), store.bank.eq(section.bank),
                     payload.last_part.eq(part + 1 == entry_words),
                     payload.last_entry.eq(number == section.count)]
        with m.If(payload.filled):
            m.d.sync += [store.entry.word_select(part, 32).eq(word), part.eq(part + 1)]
        with m.If(complete):
            m.d.sync += [number.eq(number + 1), part.eq(0)]
        with m.If(store.strobe):
            m.d.sync += store.address.eq(store.address + 1)
        with m.If(payload.ranged):
            m.d.sync += [number.eq(1), part.eq(0), store.address.eq(word[:16]),
                         section.start.eq(word[:16]), section.count.eq(word[16:])]

    def _sections(self, m, opcode, taken, payload):
        """Section headers and entries."""
        word, section = self.i.payload, self.section
        with m.State("SECTION"):
            m.d.comb += [self.i.ready.eq(1), payload.named.eq(taken)]
            with m.If(taken):
                m.d.sync += [section.memory.eq(word[:8]), section.bank.eq(word[8:16])]
                m.next = "RANGE"
                with m.If(~payload.exists):
                    self._raise(m, ErrorCode.SECTION)
                with m.Elif(payload.last_word):
                    self._raise(m, ErrorCode.LENGTH)
        with m.State("RANGE"):
            m.d.comb += [self.i.ready.eq(1), payload.ranged.eq(taken)]
            with m.If(taken):
                ends = (opcode == Opcode.READ) | (word[16:] == 0)
                m.next = "ENTRY"
                with m.If(ends):
                    m.next = "SECTION"
                with m.If(payload.last_word):
                    m.next = "CRC"
                with m.If(~payload.fits):
                    self._raise(m, ErrorCode.SECTION)
                with m.Elif(payload.last_word & ~ends):
                    self._raise(m, ErrorCode.LENGTH)
        with m.State("ENTRY"):
            m.d.comb += [self.i.ready.eq(1), payload.filled.eq(taken)]
            ends = payload.last_part & payload.last_entry
            with m.If(taken & ends):
                m.next = "SECTION"
            with m.If(taken & payload.last_word):
                m.next = "CRC"
                with m.If(~ends):
                    self._raise(m, ErrorCode.LENGTH)

    def _known(self, m, word, opcode, payload):
        """Which memories there are, from the ground floor's list; words of an entry."""
        entry_words = Signal(range(self.width // 32 + 1))
        reads, shapes = opcode == Opcode.READ, banks(self.config)
        depth = Signal(range(max(bank.depth for bank in shapes.values()) + 1))
        with m.Switch(word[:8]):
            for bank in shapes.values():
                with m.Case(bank.memory):
                    allowed = Mux(reads, bank.readable, bank.writable)
                    m.d.comb += payload.exists.eq(~reaches(word[8:], bank.count) & allowed)
                    # The shape is looked up with the first word of a header, for the second.
                    with m.If(payload.named):
                        m.d.sync += [depth.eq(bank.depth), entry_words.eq(bank.entry_words)]
        m.d.comb += payload.fits.eq(word[:16] + word[16:] <= depth)
        return entry_words
