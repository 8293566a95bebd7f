"""The register file beside the link: status, first error, reset, watchdog."""

import enum
from dataclasses import dataclass

__all__ = ["DEFAULT_WATCHDOG_CYCLES", "IDENTITY", "Interrupt", "REGISTERS", "Register",
           "RegisterAddress"]

IDENTITY = int.from_bytes(b"LOOM", "little")
"""Value of the identity register."""

DEFAULT_WATCHDOG_CYCLES = 1 << 20
"""Watchdog limit after power-up."""


class RegisterAddress(enum.IntEnum):
    """Word address of a register."""

    IDENTITY = 0
    VERSION = 1
    FINGERPRINT = 2
    STATUS = 3
    ERROR_CODE = 4
    ERROR_WORD = 5
    CONTROL = 6
    WATCHDOG = 7
    CYCLES = 8
    LAYERS = 9
    INTERRUPT_ENABLE = 10
    INTERRUPT = 11


class Interrupt(enum.IntFlag):
    """Bit of the interrupt registers."""

    #: A run has ended; its last frame is on its way.
    DONE = 1
    #: There was a fault.
    ERROR = 2


@dataclass(frozen=True)
class Register:
    """One 32-bit register: its address, whether the host may write it, and what it means."""

    address: RegisterAddress
    writable: bool
    doc: str


REGISTERS = (
    Register(RegisterAddress.IDENTITY, False, "constant: the letters LOOM"),
    Register(RegisterAddress.VERSION, False, "format version"),
    Register(RegisterAddress.FINGERPRINT, False, "fingerprint of the configuration"),
    Register(RegisterAddress.STATUS, False,
             "bit 0 busy, bit 1 error, bit 2 loaded (an image passed its checks)"),
    Register(RegisterAddress.ERROR_CODE, False, "first error since reset, 0 if none"),
    Register(RegisterAddress.ERROR_WORD, False, "which word offended, see the error codes"),
    Register(RegisterAddress.CONTROL, True,
             "writing bit 0 resets all but the watchdog limit, the interrupt enable, the counters "
             "of the last run and the contents of memories; the image must be sent again"),
    Register(RegisterAddress.WATCHDOG, True, "cycles without progress after which a frame or a run "
                                             "is given up"),
    Register(RegisterAddress.CYCLES, False, "cycles of the last run, descriptor fetch included"),
    Register(RegisterAddress.LAYERS, False, "layers finished in the last run"),
    Register(RegisterAddress.INTERRUPT_ENABLE, True,
             "which pending interrupts raise the interrupt line: bit 0 done, bit 1 error"),
    Register(RegisterAddress.INTERRUPT, True,
             "pending interrupts: bit 0 done, a run has ended and its last frame is on its way; "
             "bit 1 error, there was a fault; writing ones clears them, so does a soft reset"),
)
"""All registers, in the order of their addresses."""
