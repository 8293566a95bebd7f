"""Reads activation maps and counters back for the host."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.choice import choose
from ..memory.probe import ProbeSignature
from ..spec.memory import PROFILE_LAYERS, Memory, banks, longest_answer
from .sections import Section

__all__ = ["PROBE_LATENCY", "Readback"]

PROBE_LATENCY = 5
"""Cycles from the feed's probe to the word at row 0 of the rotator."""


def _times(value, factor):
    """Product with a constant, without a multiplier."""
    return sum(value << bit for bit in range(factor.bit_length()) if factor >> bit & 1)


class Readback(wiring.Component):
    """Streams a range of entries, one at a time; an entry costs its words and ``PROBE_LATENCY +
    2`` cycles.

    Parameters
    ----------
    config : MachineConfig
        Machine.

    Members
    -------
    start : In(1), section : In(Section)
        Range to read; checked by the receiver.
    active : Out(1)
        Under way, until the last word is taken.
    length : Out(range(longest_answer + 1))
        Words of the range.
    probe : Out(ProbeSignature)
        Reads an activation entry; it appears at ``activations``.
    activations : In(lanes)
        Row 0 of the rotator.
    profile_address : Out, profile : In(32)
        Read port of the profile memory.
    o : Out(stream.Signature(32))
        Words of the range.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "start": In(1), "section": In(Section), "active": Out(1),
            "length": Out(range(longest_answer(config) + 1)),
            "probe": Out(ProbeSignature(config)),
            "activations": In(config.lanes),
            "profile_address": Out(range(8 * PROFILE_LAYERS)), "profile": In(32),
            "o": Out(stream.Signature(32)),
        })

    def elaborate(self, platform):
        m = Module()
        shapes = banks(self.config)
        lane_words = shapes[Memory.ACTIVATIONS].entry_words
        deepest = max(bank.depth for bank in shapes.values() if bank.readable)
        profiled = self.section.memory == Memory.PROFILE
        count, number, following = (Signal(range(deepest + 1), name=name)
                                    for name in ("count", "number", "following"))
        address = Signal(range(deepest))
        part = Signal(range(max(lane_words, 2)))
        waited = Signal(PROBE_LATENCY)
        begins, complete = Signal(), Signal()
        m.d.comb += [
            count.eq(self.section.count), following.eq(number + 1),
            address.eq(self.section.start + number),
            self.length.eq(Mux(profiled, count, _times(count, lane_words))),
            self.probe.valid.eq(self.active & ~profiled),
            self.probe.bank.eq(self.section.bank), self.probe.address.eq(address),
            self.profile_address.eq(address),
            # The probe stays on, so the entry stays where it appeared until it is sent.
            self.o.payload.eq(choose([(profiled, self.profile), *(
                (~profiled & (part == k), self.activations[32 * k:32 * k + 32])
                for k in range(lane_words))])),
        ]
        with m.If(begins):
            m.d.sync += number.eq(0)
        with m.Elif(complete):
            m.d.sync += number.eq(following)
        with m.FSM():
            with m.State("IDLE"):
                with m.If(self.start & (count != 0)):
                    m.d.comb += begins.eq(1)
                    m.d.sync += self.active.eq(1)
                    m.next = "PROBE"
            with m.State("PROBE"):
                m.d.sync += [waited.eq(1), part.eq(0)]
                m.next = "WAIT"
            with m.State("WAIT"):
                m.d.sync += waited.eq(waited << 1)
                with m.If(waited[-1]):
                    m.next = "SEND"
            with m.State("SEND"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready):
                    m.d.sync += part.eq(part + 1)
                    with m.If(profiled | (part == lane_words - 1)):
                        m.d.comb += complete.eq(1)
                        m.next = "PROBE"
                        with m.If(following == count):
                            m.d.sync += self.active.eq(0)
                            m.next = "IDLE"
        return m
