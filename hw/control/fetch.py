"""Fetches layer descriptors ahead of their use, and checks every field."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from ..common.guard import Guard, reaches
from ..common.layout import assign_word, layer_layout
from ..memory.bank import read_signature
from ..spec.descriptor import DESCRIPTOR, descriptor_limits
from ..spec.record import WORD_BITS

__all__ = ["DescriptorFetch"]

WORDS_LOG = exact_log2(len(DESCRIPTOR))
"""Address bits within a descriptor."""


def _violated(config, index, word):
    """Whether a field of word ``index`` leaves its limits."""
    faults, limits = [], descriptor_limits(config)
    for field in DESCRIPTOR.words[index]:
        _, shift = DESCRIPTOR.place(field.name)
        bits = word[shift:shift + field.bits]
        low, high = limits[field.name]
        if low == high:
            faults.append(bits != low)
            continue
        if low > 0:
            faults.append(~reaches(bits, low))
        if high < field.range[1]:
            faults.append(reaches(bits, high + 1))
    return Cat(*faults).any() if faults else 0


class DescriptorFetch(wiring.Component):
    """Reads descriptors from program memory, one word per cycle, one layer ahead of the machine.

    A layer is ready :data:`hw.spec.cycles.FETCH_CYCLES` cycles after ``start``, or after the layer
    before was taken.

    Members
    -------
    start : In(1), first : In(16)
        Fetch layers from layer ``first`` on, as long as there are ``more``.
    read : In(read_signature)
        Port of the program memory.
    o : Out(stream.Signature(layer_layout))
        Checked layers.
    more : In(1)
        Layers are left to fetch.
    fault : Out(1), fault_address : Out(16)
        A field is out of bounds, in that word of program memory.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "start": In(1), "first": In(16),
            "read": In(read_signature(WORD_BITS, config.program_depth)),
            "o": Out(stream.Signature(layer_layout(config))), "more": In(1),
            "fault": Out(1), "fault_address": Out(16),
        })

    def elaborate(self, platform):
        m = Module()
        words = DESCRIPTOR.used
        address, begins, waiting = Signal(16 + WORDS_LOG + 1), Signal(), Signal()
        # One bit travels along: at k, word k is read, word k - 1 arrives, word k - 2 is checked.
        later = Signal(words + 1)
        turn = Cat(begins, later)
        m.submodules.guard = guard = Guard(len(address), self.config.program_depth)
        m.d.comb += [
            begins.eq(waiting & self.more),
            guard.valid.eq(1), guard.i.eq(address),
            self.read.en.eq(turn[:words].any()), self.read.addr.eq(guard.o),
        ]
        m.d.sync += later.eq(turn)
        # Block RAM is slow and the checks are deep: they work on a copy, a cycle later.
        word, arrived_address = Signal(WORD_BITS), Signal.like(self.fault_address)
        outside, arrived_outside = Signal(), Signal()
        m.d.sync += [
            word.eq(self.read.data), arrived_address.eq(address), arrived_outside.eq(guard.fault),
            self.fault_address.eq(arrived_address), outside.eq(arrived_outside),
        ]
        violated = [turn[index + 2] & _violated(self.config, index, word)
                    for index in range(words)]
        m.d.comb += self.fault.eq(Cat(violated).any() | (turn[2:].any() & outside))
        for index in range(words):
            with m.If(turn[index + 1]):
                m.d.sync += assign_word(DESCRIPTOR, self.o.payload, index, self.read.data)
        with m.If(self.read.en):
            # Words without a field are not read.
            m.d.sync += address.eq(address + Mux(turn[words - 1], len(DESCRIPTOR) - words + 1, 1))
        with m.If(begins):
            m.d.sync += waiting.eq(0)
        with m.If(turn[words]):
            m.d.sync += self.o.valid.eq(1)
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += [self.o.valid.eq(0), waiting.eq(1)]
        with m.If(self.start):
            m.d.sync += [waiting.eq(1), address.eq(self.first << WORDS_LOG)]
        return m
