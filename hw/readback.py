"""Reads activation maps and counters back for the host."""

from amaranth.hdl import Array, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .receive import SectionHeader
from .spec.link import LENGTH_BITS
from .spec.memory import PROFILE_LAYERS, Memory, banks

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
    start : In(1), section : In(SectionHeader)
        Range to read; checked by the receiver.
    active : Out(1)
        Under way, until the last word is taken.
    length : Out(24)
        Words of the range.
    probe : Out
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
            "start": In(1), "section": In(SectionHeader), "active": Out(1),
            "length": Out(LENGTH_BITS),
            "probe": Out(wiring.Signature({
                "valid": Out(1), "bank": Out(range(max(config.rows, 2))),
                "address": Out(range(config.activation_depth))})),
            "activations": In(config.lanes),
            "profile_address": Out(range(8 * PROFILE_LAYERS)), "profile": In(32),
            "o": Out(stream.Signature(32)),
        })

    def elaborate(self, platform):
        m = Module()
        lane_words = banks(self.config)[Memory.ACTIVATIONS].entry_words
        profiled = self.section.memory == Memory.PROFILE
        words = Mux(profiled, 1, lane_words)
        address, left = Signal(16), Signal(16)
        part = Signal(range(max(lane_words, 2)))
        delay = Signal(range(PROBE_LATENCY + 1))
        words_of_entry = Array(self.activations[32 * k:32 * k + 32] for k in range(lane_words))
        m.d.comb += [
            self.length.eq(Mux(profiled, self.section.count, _times(self.section.count,
            lane_words))),
            self.probe.valid.eq(self.active & ~profiled),
            self.probe.bank.eq(self.section.bank), self.probe.address.eq(address),
            self.profile_address.eq(address),
            # The probe stays on, so the entry stays where it appeared until it is sent.
            self.o.payload.eq(Mux(profiled, self.profile, words_of_entry[part])),
        ]
        with m.FSM():
            with m.State("IDLE"):
                with m.If(self.start):
                    m.d.sync += [address.eq(self.section.start), left.eq(self.section.count),
                                 self.active.eq(self.section.count != 0)]
                    with m.If(self.section.count != 0):
                        m.next = "PROBE"
            with m.State("PROBE"):
                m.d.sync += [delay.eq(0), part.eq(0)]
                m.next = "WAIT"
            with m.State("WAIT"):
                m.d.sync += delay.eq(delay + 1)
                with m.If(delay == PROBE_LATENCY - 1):
                    m.next = "SEND"
            with m.State("SEND"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready):
                    m.d.sync += part.eq(part + 1)
                    with m.If(part + 1 == words):
                        m.d.sync += [address.eq(address + 1), left.eq(left - 1)]
                        m.next = "PROBE"
                        with m.If(left == 1):
                            m.d.sync += self.active.eq(0)
                            m.next = "IDLE"
        return m
