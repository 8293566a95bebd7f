"""Entries from the host on their way into the memories."""

from amaranth.hdl import Module
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In
from amaranth.utils import ceil_log2

from ..spec.memory import Memory, banks
from .bank import write_signature

__all__ = ["Entry", "Store"]


class Entry(data.StructLayout):
    """An entry for an existing place: ``memory``, ``bank``, ``address``, and ``data`` in whole
    link words, of which the low bits count."""

    def __init__(self, config):
        super().__init__({
            "memory": range(max(Memory) + 1), "bank": range(64), "address": 16,
            "data": 32 * max(bank.entry_words for bank in banks(config).values())})


class Store(wiring.Component):
    """Hands entries of some memories to the write ports of their banks; combinational.

    Parameters
    ----------
    config : MachineConfig
        Machine.
    memories : iterable of Memory
        Those that are served; entries of others are let pass.

    Members
    -------
    i : In(stream.Signature(Entry, always_ready=True))
        Entries.
    program, taps, ... : In(write_signature).array(banks)
        Port of every bank of each of these memories, under its name in lower case.
    """

    def __init__(self, config, memories):
        self.config = config
        self.shapes = {memory.name.lower(): banks(config)[memory] for memory in memories}
        super().__init__({
            "i": In(stream.Signature(Entry(config), always_ready=True)),
            **{name: In(write_signature(bank.width, bank.depth)).array(bank.count)
               for name, bank in self.shapes.items()},
        })

    def elaborate(self, platform):
        m = Module()
        entry = self.i.payload
        for name, shape in self.shapes.items():
            here = self.i.valid & (entry.memory == shape.memory)
            for number, port in enumerate(getattr(self, name)):
                # The bank exists, so the bits that tell its like apart are enough.
                chosen = entry.bank[:ceil_log2(shape.count)] == number
                m.d.comb += [port.en.eq(here & chosen), port.addr.eq(entry.address),
                             port.data.eq(entry.data)]
        return m
