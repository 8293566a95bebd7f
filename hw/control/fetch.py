"""Fetches layer descriptors ahead of their use, and checks every field."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.layout import assign_word, layer_layout
from ..common.limit import reaches
from ..spec.descriptor import DESCRIPTOR, descriptor_limits
from ..spec.record import WORD_BITS

__all__ = ["DescriptorFetch"]


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
    return Cat(*faults).any()


def _address(layer):
    """Program address of a layer, without a multiplier."""
    words = len(DESCRIPTOR)
    return sum(layer << bit for bit in range(words.bit_length()) if words >> bit & 1)


class DescriptorFetch(wiring.Component):
    """Reads descriptors from program memory, one word per cycle, one layer ahead of the machine.

    A layer is ready ``len(DESCRIPTOR) + 2`` cycles after ``start``, or after the layer before was
    taken.

    Members
    -------
    start : In(1), first : In(16)
        Fetch layers from layer ``first`` on, as long as there are ``more``.
    read : Out(1), address : Out(16), word : In(32)
        Read port of the program memory.
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
            "read": Out(1), "address": Out(16), "word": In(WORD_BITS),
            "o": Out(stream.Signature(layer_layout(config))), "more": In(1),
            "fault": Out(1), "fault_address": Out(16),
        })

    def elaborate(self, platform):
        m = Module()
        words = len(DESCRIPTOR)
        address = Signal(21)
        place, arriving = Signal(range(words + 1)), Signal(range(words + 1))
        fetching, arrived, bad = Signal(), Signal(), Signal()
        outside, arrived_outside = Signal(), Signal()
        m.d.comb += [
            fetching.eq(self.more & (place != words)),
            self.read.eq(fetching),
            self.address.eq(address),
        ]
        m.d.sync += [arrived.eq(fetching), arriving.eq(place)]
        # Block RAM is slow and the checks are deep: they work on a copy, a cycle later.
        checked, checking = Signal(), Signal.like(arriving)
        word, arrived_address = Signal.like(self.word), Signal.like(self.fault_address)
        m.d.sync += [
            checked.eq(arrived), checking.eq(arriving), word.eq(self.word),
            arrived_address.eq(address), self.fault_address.eq(arrived_address),
            outside.eq(arrived_outside),
        ]
        m.d.sync += arrived_outside.eq(reaches(address, self.config.program_depth))
        m.d.comb += self.fault.eq(checked & (outside | bad))
        with m.Switch(checking):
            for index in range(words):
                with m.Case(index):
                    m.d.comb += bad.eq(_violated(self.config, index, word))
        with m.If(fetching):
            m.d.sync += [place.eq(place + 1), address.eq(address + 1)]
        with m.Switch(arriving):
            for index in range(words):
                with m.Case(index):
                    with m.If(arrived):
                        m.d.sync += assign_word(DESCRIPTOR, self.o.payload, index, self.word)
        with m.If(arrived & (arriving == words - 1)):
            m.d.sync += self.o.valid.eq(1)
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += [self.o.valid.eq(0), place.eq(0)]
        with m.If(self.start):
            m.d.sync += [place.eq(0), address.eq(_address(self.first))]
        return m
