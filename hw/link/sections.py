"""Payloads from the host: sections become entries for the memories."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.guard import reaches
from ..memory.store import Entry
from ..spec.link import ErrorCode, Opcode
from ..spec.memory import Memory, banks
from .words import LinkWord

__all__ = ["SECTION_ERRORS", "Section", "SectionReader"]

SECTION_ERRORS = (ErrorCode.LENGTH, ErrorCode.SECTION)
"""Faults found here, at most one at a time."""


class Section(data.Struct):
    """A range of entries of an existing bank; of ``RUN``, ``start`` and ``count`` are those of
    layers."""

    memory: range(max(Memory) + 1)
    bank: range(64)
    start: 16
    count: 16


class SectionReader(wiring.Component):
    """Stores what sections bring, as it comes, and remembers what the last header asks for.

    An entry is stored one cycle after its last word.

    Parameters
    ----------
    config : MachineConfig
        Machine.

    Members
    -------
    i : In(stream.Signature(LinkWord, always_ready=True)), opcode : In(Opcode)
        Payloads, and what their frames ask for.
    o : Out(stream.Signature(Entry, always_ready=True))
        Entries; they exist.
    section : Out(Section)
        The last header, until the next frame.
    fault : Out(2)
        One bit per code of :data:`SECTION_ERRORS`.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "i": In(stream.Signature(LinkWord, always_ready=True)),
            "opcode": In(range(Opcode.READ + 1)),
            "o": Out(stream.Signature(Entry(config), always_ready=True)),
            "section": Out(Section), "fault": Out(len(SECTION_ERRORS)),
        })

    def _raise(self, m, code):
        m.d.comb += self.fault[SECTION_ERRORS.index(code)].eq(1)

    def elaborate(self, platform):
        m = Module()
        word, last, section = self.i.payload.word, self.i.payload.last, self.section
        named, ranged, filled = Signal(), Signal(), Signal()
        part_last, entry_last = Signal(), Signal()
        exists, fits, entry_words = self._known(m, named)
        self._count(m, ranged, filled, part_last, entry_last, entry_words)
        with m.FSM():
            with m.State("HEADER"):
                m.d.comb += named.eq(self.i.valid & (self.opcode != Opcode.RUN))
                with m.If(named):
                    m.d.sync += [section.memory.eq(word[:8]), section.bank.eq(word[8:16])]
                    m.next = "RANGE"
                    with m.If(~exists):
                        self._raise(m, ErrorCode.SECTION)
                    with m.Elif(last):
                        self._raise(m, ErrorCode.LENGTH)
                with m.Elif(self.i.valid):
                    m.d.comb += ranged.eq(1)
            with m.State("RANGE"):
                m.d.comb += ranged.eq(self.i.valid)
                ends = (self.opcode == Opcode.READ) | (word[16:] == 0)
                with m.If(self.i.valid):
                    m.next = "ENTRY"
                    with m.If(ends | last):
                        m.next = "HEADER"
                    with m.If(~fits):
                        self._raise(m, ErrorCode.SECTION)
                    with m.Elif(last & ~ends):
                        self._raise(m, ErrorCode.LENGTH)
            with m.State("ENTRY"):
                m.d.comb += filled.eq(self.i.valid)
                ends = part_last & entry_last
                with m.If(self.i.valid & (ends | last)):
                    m.next = "HEADER"
                with m.If(self.i.valid & last & ~ends):
                    self._raise(m, ErrorCode.LENGTH)
        with m.If(ranged):
            m.d.sync += section.count.eq(word[16:])
        # What only asks for a range stores nothing, so the address stays where the range begins.
        m.d.comb += section.start.eq(self.o.payload.address)
        return m

    def _count(self, m, ranged, filled, part_last, entry_last, entry_words):
        """Number and address of the entry that comes; it is stored a cycle after its last word."""
        word, entry = self.i.payload.word, self.o.payload
        part = Signal(range(max(len(entry.data) // 32, 2)))
        number, complete = Signal(16, init=1), filled & part_last
        m.d.sync += self.o.valid.eq(complete)
        m.d.comb += [entry.memory.eq(self.section.memory), entry.bank.eq(self.section.bank),
                     part_last.eq(part + 1 == entry_words),
                     entry_last.eq(number == self.section.count)]
        with m.If(filled):
            m.d.sync += [entry.data.word_select(part, 32).eq(word), part.eq(part + 1)]
        with m.If(complete):
            m.d.sync += [number.eq(number + 1), part.eq(0)]
        with m.If(self.o.valid):
            m.d.sync += entry.address.eq(entry.address + 1)
        with m.If(ranged):
            m.d.sync += [number.eq(1), part.eq(0), entry.address.eq(word[:16])]

    def _known(self, m, named):
        """What the ground floor's list says of the word that comes.

        Returns
        -------
        exists, fits : Value
            It names a bank that the host may use; it is a range within the bank named last.
        entry_words : Value
            Words of an entry of that bank.
        """
        word, shapes = self.i.payload.word, banks(self.config)
        exists, reads = Signal(), self.opcode == Opcode.READ
        entry_words = Signal(range(max(bank.entry_words for bank in shapes.values()) + 1))
        depth = Signal(range(max(bank.depth for bank in shapes.values()) + 1))
        with m.Switch(word[:8]):
            for bank in shapes.values():
                with m.Case(bank.memory):
                    allowed = Mux(reads, bank.readable, bank.writable)
                    m.d.comb += exists.eq(~reaches(word[8:], bank.count) & allowed)
                    # The shape is looked up with the first word of a header, for the second.
                    with m.If(named):
                        m.d.sync += [depth.eq(bank.depth), entry_words.eq(bank.entry_words)]
        return exists, word[:16] + word[16:] <= depth, entry_words
