"""The first fault, and what it says."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..common.choice import choose
from ..spec.link import LENGTH_BITS, ErrorCode
from ..spec.memory import Memory

__all__ = ["FAULT_MEMORIES", "FaultCollector", "FaultSignature", "LINK_ERRORS"]

LINK_ERRORS = (ErrorCode.MAGIC, ErrorCode.VERSION, ErrorCode.OPCODE, ErrorCode.FINGERPRINT,
               ErrorCode.LENGTH, ErrorCode.SECTION, ErrorCode.CHECKSUM, ErrorCode.NOT_LOADED,
               ErrorCode.LINK_TIMEOUT)
"""Faults of a frame, which its offending word tells; the first one goes before the others."""

FAULT_MEMORIES = (Memory.TAPS, Memory.ACTIVATIONS, Memory.WEIGHTS, Memory.SCALES,
                  Memory.PARAMETERS)
"""Memories a step can leave; a fault in the term or pair table counts as one in the taps."""


class FaultSignature(wiring.Signature):
    """Everything that can be wrong, and where.

    Members
    -------
    link : Out(9), word : Out(24)
        One bit per code of :data:`LINK_ERRORS`; index of the word in its frame.
    descriptor : Out(1), address : Out(16)
        A field of a descriptor is out of bounds; its word in program memory.
    memories : Out(5)
        One bit per memory of :data:`FAULT_MEMORIES`.
    hung : Out(1)
        A run, or an answer, stands still.
    layer : Out(16)
        The layer that runs, or ran last.
    """

    def __init__(self):
        super().__init__({
            "link": Out(len(LINK_ERRORS)), "word": Out(LENGTH_BITS),
            "descriptor": Out(1), "address": Out(16), "memories": Out(len(FAULT_MEMORIES)),
            "hung": Out(1), "layer": Out(16)})


class FaultCollector(wiring.Component):
    """Keeps the first fault, with its word, until reset.

    Faults come from far off and deep down: they are caught in a first cycle and sorted in a second.
    Of faults in one cycle the first in the order of :class:`FaultSignature` wins; a frame has at
    most one at a time.

    Members
    -------
    faults : In(FaultSignature)
        What is wrong in this cycle.
    refused : Out(1)
        A frame was wrong in the cycle before.
    halts : Out(1)
        The first fault is sorted: in the next cycle it is there.
    code : Out(8), word : Out(32)
        First fault; code 0 if none.
    halt : Out(1)
        There was a fault.
    """

    faults: In(FaultSignature())
    refused: Out(1)
    halts: Out(1)
    code: Out(8)
    word: Out(32)
    halt: Out(1)

    def elaborate(self, platform):
        m = Module()
        faults = self.faults
        caught = {}
        for name in faults.signature.members:
            caught[name] = Signal.like(getattr(faults, name), name=f"caught_{name}")
            m.d.sync += caught[name].eq(getattr(faults, name))
        # It goes on to whether a word is taken, so it comes out of a register.
        m.d.sync += self.refused.eq(faults.link.any())
        link, hung = self.refused, caught["hung"]
        memories = Signal(len(FAULT_MEMORIES))
        m.d.comb += [memories[k].eq(fault & ~caught["memories"][:k].any())
                     for k, fault in enumerate(caught["memories"])]
        # Of the kinds the first wins; within a frame there is but one.
        descriptor = caught["descriptor"] & ~link
        stepped = memories.any() & ~caught["descriptor"] & ~link
        hung &= ~memories.any() & ~caught["descriptor"] & ~link
        memory = Signal(8)
        m.d.comb += [
            memory.eq(choose((memories[k], int(number))
                             for k, number in enumerate(FAULT_MEMORIES))),
            self.halts.eq((link | descriptor | stepped | hung) & ~self.halt),
        ]
        code = choose([*zip(caught["link"], LINK_ERRORS, strict=True),
                       (descriptor, ErrorCode.DESCRIPTOR), (stepped, ErrorCode.ADDRESS),
                       (hung, ErrorCode.WATCHDOG)])
        word = choose([(link, caught["word"]), (descriptor, caught["address"]),
                       (stepped, Cat(memory, caught["layer"])), (hung, caught["layer"])])
        with m.If(self.halts):
            m.d.sync += [self.halt.eq(1), self.code.eq(code), self.word.eq(word)]
        return m
