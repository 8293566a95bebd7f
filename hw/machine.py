"""The machine: the core behind AXI-Stream ports, a register file, a soft reset and a fault that
stops it."""

from amaranth.hdl import Cat, Module, ResetInserter, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .control.fault import FaultCollector
from .control.registers import RegisterFile
from .core import Core

__all__ = ["PORTS", "Machine"]

PORTS = {
    "s_axis_tdata": (In(32), "word from the host"),
    "s_axis_tvalid": (In(1), "a word is offered"),
    "s_axis_tready": (Out(1), "the word is taken at the next edge"),
    "m_axis_tdata": (Out(32), "word to the host"),
    "m_axis_tvalid": (Out(1), "a word is offered"),
    "m_axis_tready": (In(1), "the word is taken at the next edge"),
    "m_axis_tlast": (Out(1), "the word ends its frame"),
    "csr_address": (In(4), "register, by word"),
    "csr_write": (In(1), "csr_write_data is stored at the next edge"),
    "csr_write_data": (In(32), "word to store"),
    "csr_read_data": (Out(32), "word at csr_address, in the same cycle"),
    "busy": (Out(1), "a frame is coming in, a request is carried out, or an answer leaves"),
    "error": (Out(1), "there was a fault; words are swallowed until a soft reset"),
    "irq": (Out(1), "an enabled interrupt is pending; level"),
}
"""Ports of the machine besides ``clk`` and ``rst``: direction and width, and what they mean."""


class Machine(wiring.Component):
    """The whole accelerator.

    A soft reset takes two cycles from the cycle after its write. Meanwhile no word is taken and
    none offered; what was under way is dropped, and the next word taken begins a frame.

    Parameters
    ----------
    config : MachineConfig
        Machine.
    popcount : str
        Strategy of :class:`hw.array.popcount.MismatchCount`.

    Members
    -------
    s_axis_tdata, ...
        See :data:`PORTS`.
    """

    def __init__(self, config, *, popcount="plain"):
        self.config = config
        self.popcount = popcount
        super().__init__({name: member for name, (member, _meaning) in PORTS.items()})

    def elaborate(self, platform):
        m = Module()
        resetting, still_resetting, stop, open_ = Signal(), Signal(), Signal(), Signal()
        m.submodules.registers = registers = RegisterFile(self.config)
        # A fault of the last cycle before the reset is still on its way when the reset begins.
        fault = FaultCollector()
        m.submodules.fault = ResetInserter(resetting)(fault)
        core = Core(self.config, popcount=self.popcount)
        m.submodules.core = ResetInserter(stop)(core)
        wiring.connect(m, core.faults, fault.faults)
        for counter, kept in ((core.cycles, registers.cycles), (core.layers, registers.layers)):
            m.d.comb += [kept.valid.eq(counter.valid & ~stop), kept.payload.eq(counter.payload)]
        # The stop reaches every register: it comes a cycle after its cause, and no word meanwhile.
        m.d.sync += [still_resetting.eq(registers.soft_reset),
                     stop.eq(registers.soft_reset | fault.halt)]
        m.d.comb += [
            resetting.eq(registers.soft_reset | still_resetting),
            open_.eq(~resetting & ~fault.halt & ~stop),
            core.watchdog.eq(registers.watchdog),
            core.i.payload.eq(self.s_axis_tdata),
            # Between a fault and the halt no word is taken.
            core.i.valid.eq(self.s_axis_tvalid & open_ & ~fault.refused),
            # A halted machine swallows words, so that a host never hangs on it.
            self.s_axis_tready.eq((core.i.ready & open_ & ~fault.refused)
                                  | (fault.halt & ~resetting)),
            self.m_axis_tdata.eq(core.o.payload.word), self.m_axis_tlast.eq(core.o.payload.last),
            self.m_axis_tvalid.eq(core.o.valid & open_),
            core.o.ready.eq(self.m_axis_tready & open_),
            registers.bus.address.eq(self.csr_address), registers.bus.write.eq(self.csr_write),
            registers.bus.write_data.eq(self.csr_write_data),
            self.csr_read_data.eq(registers.bus.read_data),
            self.error.eq(fault.halt), self.irq.eq(registers.interrupt),
            self.busy.eq(resetting | (~fault.halt & (core.busy | fault.halts))),
            registers.status.eq(Cat(self.busy, fault.halt, core.loaded)),
            registers.error_code.eq(fault.code), registers.error_word.eq(fault.word),
            registers.events.eq(Cat(core.done & ~stop, fault.halts)),
        ]
        return m
