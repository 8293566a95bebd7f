"""The program memory: descriptors from the host, word by word to the fetch."""

from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..memory.bank import Bank, read_signature
from ..memory.store import Entry, Store
from ..spec.memory import Memory
from ..spec.record import WORD_BITS

__all__ = ["ProgramMemory"]


class ProgramMemory(wiring.Component):
    """Holds the descriptors of all layers; a read takes one cycle.

    Parameters
    ----------
    config : MachineConfig
        Machine.

    Members
    -------
    store : In(stream.Signature(Entry, always_ready=True))
        Entries from the host; those of other memories are let pass.
    read : Out(read_signature)
        A word of a descriptor.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "store": In(stream.Signature(Entry(config), always_ready=True)),
            "read": Out(read_signature(WORD_BITS, config.program_depth)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.store = store = Store(self.config, [Memory.PROGRAM])
        m.submodules.bank = bank = Bank(WORD_BITS, self.config.program_depth)
        wiring.connect(m, wiring.flipped(self.store), store.i)
        wiring.connect(m, store.program[0], bank.write)
        wiring.connect(m, wiring.flipped(self.read), bank.read)
        return m
