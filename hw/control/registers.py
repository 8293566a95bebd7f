"""The register file beside the link."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..common.choice import choose
from ..spec.config import FORMAT_VERSION
from ..spec.registers import DEFAULT_WATCHDOG_CYCLES, IDENTITY, RegisterAddress

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
    """Status, first fault, soft reset and watchdog limit, as :mod:`hw.spec.registers` lists them.

    Parameters
    ----------
    config : MachineConfig
        Machine.

    Members
    -------
    bus : In(RegisterSignature)
        Host.
    status : In(3), error_code : In(8), error_word, cycles, layers : In(32)
        What the host may read.
    soft_reset : Out(1)
        Strobe: reset everything else.
    watchdog : Out(32)
        Limit in cycles.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "bus": In(RegisterSignature()),
            "status": In(3), "error_code": In(8), "error_word": In(32), "cycles": In(32),
            "layers": In(32),
            "soft_reset": Out(1), "watchdog": Out(32, init=DEFAULT_WATCHDOG_CYCLES),
        })

    def elaborate(self, platform):
        m = Module()
        values = {
            RegisterAddress.IDENTITY: IDENTITY,
            RegisterAddress.VERSION: FORMAT_VERSION,
            RegisterAddress.FINGERPRINT: self.config.fingerprint,
            RegisterAddress.STATUS: self.status,
            RegisterAddress.ERROR_CODE: self.error_code,
            RegisterAddress.ERROR_WORD: self.error_word,
            RegisterAddress.CONTROL: 0,
            RegisterAddress.WATCHDOG: self.watchdog,
            RegisterAddress.CYCLES: self.cycles,
            RegisterAddress.LAYERS: self.layers,
        }
        m.d.comb += self.bus.read_data.eq(choose(
            (self.bus.address == address, value) for address, value in values.items()))
        written = Signal(len(RegisterAddress))
        m.d.comb += [written[address].eq(self.bus.write & (self.bus.address == address))
                     for address in RegisterAddress]
        m.d.sync += self.soft_reset.eq(written[RegisterAddress.CONTROL] & self.bus.write_data[0])
        with m.If(written[RegisterAddress.WATCHDOG]):
            m.d.sync += self.watchdog.eq(self.bus.write_data)
        return m
