"""The register file beside the link."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.choice import choose
from ..spec.config import FORMAT_VERSION
from ..spec.registers import DEFAULT_WATCHDOG_CYCLES, IDENTITY, Interrupt, RegisterAddress

__all__ = ["RegisterFile", "RegisterSignature"]


class RegisterSignature(wiring.Signature):
    """Bus of the register file, seen from the host.

    Members
    -------
    address : Out(4)
        Register, by word.
    write : Out(1), write_data : Out(32)
        Store a word at the next clock edge.
    read_data : In(32)
        Word at ``address``, in the same cycle.
    """

    def __init__(self):
        super().__init__({"address": Out(4), "write": Out(1), "write_data": Out(32),
                          "read_data": In(32)})


class RegisterFile(wiring.Component):
    """Status, first fault, soft reset, interrupts and watchdog, as :mod:`hw.spec.registers` lists
    them.

    Parameters
    ----------
    config : MachineConfig
        Machine.

    Members
    -------
    bus : In(RegisterSignature)
        Host.
    status : In(3), error_code : In(8), error_word : In(32)
        What the host may read.
    cycles : In(stream.Signature(32, always_ready=True))
    layers : In(stream.Signature(16, always_ready=True))
        Counters of a run as they change; the last ones are kept.
    events : In(2)
        Strobe per bit of :class:`hw.spec.registers.Interrupt`.
    interrupt : Out(1)
        An interrupt that is enabled is pending.
    soft_reset : Out(1)
        Strobe: reset everything else.
    watchdog : Out(32)
        Limit in cycles.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "bus": In(RegisterSignature()),
            "status": In(3), "error_code": In(8), "error_word": In(32),
            "cycles": In(stream.Signature(32, always_ready=True)),
            "layers": In(stream.Signature(16, always_ready=True)),
            "events": In(len(Interrupt)), "interrupt": Out(1),
            "soft_reset": Out(1), "watchdog": Out(32, init=DEFAULT_WATCHDOG_CYCLES),
        })

    def elaborate(self, platform):
        m = Module()
        cycles, layers = Signal(32), Signal(16)
        enable, pending = Signal(len(Interrupt)), Signal(len(Interrupt))
        values = {
            RegisterAddress.IDENTITY: IDENTITY,
            RegisterAddress.VERSION: FORMAT_VERSION,
            RegisterAddress.FINGERPRINT: self.config.fingerprint,
            RegisterAddress.STATUS: self.status,
            RegisterAddress.ERROR_CODE: self.error_code,
            RegisterAddress.ERROR_WORD: self.error_word,
            RegisterAddress.CONTROL: 0,
            RegisterAddress.WATCHDOG: self.watchdog,
            RegisterAddress.CYCLES: cycles,
            RegisterAddress.LAYERS: layers,
            RegisterAddress.INTERRUPT_ENABLE: enable,
            RegisterAddress.INTERRUPT: pending,
        }
        m.d.comb += self.bus.read_data.eq(choose(
            (self.bus.address == address, value) for address, value in values.items()))
        written = Signal(len(RegisterAddress))
        m.d.comb += [written[address].eq(self.bus.write & (self.bus.address == address))
                     for address in RegisterAddress]
        m.d.sync += self.soft_reset.eq(written[RegisterAddress.CONTROL] & self.bus.write_data[0])
        with m.If(written[RegisterAddress.WATCHDOG]):
            m.d.sync += self.watchdog.eq(self.bus.write_data)
        with m.If(written[RegisterAddress.INTERRUPT_ENABLE]):
            m.d.sync += enable.eq(self.bus.write_data)
        cleared = Mux(written[RegisterAddress.INTERRUPT], self.bus.write_data, 0)
        m.d.sync += pending.eq(Mux(self.soft_reset, 0, (pending & ~cleared) | self.events))
        m.d.comb += self.interrupt.eq((pending & enable).any())
        for kept, counter in ((cycles, self.cycles), (layers, self.layers)):
            with m.If(counter.valid):
                m.d.sync += kept.eq(counter.payload)
        return m
