"""First fault and watchdog."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..common.choice import choose

__all__ = ["FirstFault", "Watchdog"]


class FirstFault(wiring.Component):
    """Keeps the first fault, with its word, until reset.

    Parameters
    ----------
    codes : iterable of int
        Error code of every source; the first source wins among faults of one cycle.

    Members
    -------
    faults : In(sources), words : In(32).array(sources)
        A fault, and what offended.
    code : Out(8), word : Out(32)
        First fault; code 0 if none.
    halt : Out(1)
        There was a fault.
    """

    def __init__(self, codes):
        self.codes = tuple(codes)
        super().__init__({
            "faults": In(len(self.codes)), "words": In(32).array(len(self.codes)),
            "code": Out(8), "word": Out(32), "halt": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        first = [fault & ~self.faults[:source].any() for source, fault in enumerate(self.faults)]
        with m.If(~self.halt):
            m.d.sync += [self.halt.eq(self.faults.any()),
                         self.code.eq(choose(zip(first, self.codes, strict=True))),
                         self.word.eq(choose(zip(first, self.words, strict=True)))]
        return m


class Watchdog(wiring.Component):
    """Barks when something that is on makes no progress for ``limit`` cycles.

    Members
    -------
    limit : In(32)
        Cycles.
    on, progress : In(1)
        Something is under way; it moved.
    bark : Out(1)
        It hangs.
    """

    limit: In(32)
    on: In(1)
    progress: In(1)
    bark: Out(1)

    def elaborate(self, platform):
        m = Module()
        quiet = Signal(32)
        m.d.comb += self.bark.eq(self.on & ~self.progress & (quiet >= self.limit))
        with m.If(~self.on | self.progress):
            m.d.sync += quiet.eq(0)
        with m.Else():
            m.d.sync += quiet.eq(quiet + 1)
        return m
