# amaranth: UnusedElaboratable=no
"""The register file answers what its list says, and only its writable registers take words."""

import random

import pytest

from tests.bench import play
from xnorloom.hw.control.registers import RegisterFile
from xnorloom.hw.spec.config import FORMAT_VERSION, PRESETS
from xnorloom.hw.spec.registers import DEFAULT_WATCHDOG_CYCLES, REGISTERS, RegisterAddress

CONFIG = PRESETS["tiny"]


def _expected(status=0, code=0, word=0, cycles=0, layers=0, watchdog=DEFAULT_WATCHDOG_CYCLES,
              enable=0, pending=0):
    return [0x4D4F4F4C, FORMAT_VERSION, CONFIG.fingerprint, status, code, word, 0, watchdog,
            cycles, layers, enable, pending, 0, 0, 0, 0]


def test_the_list_names_every_register_once():
    assert [register.address for register in REGISTERS] == list(RegisterAddress)
    assert [register.address for register in REGISTERS if register.writable] == [
        RegisterAddress.CONTROL, RegisterAddress.WATCHDOG, RegisterAddress.INTERRUPT_ENABLE,
        RegisterAddress.INTERRUPT]
    assert all(register.doc for register in REGISTERS)


@pytest.mark.parametrize("values", [(0, 0, 0, 0, 0), (7, 255, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFF),
                                    (5, 12, 0x12345678, 99, 3)])
def test_reads(values):
    block = RegisterFile(CONFIG)
    ports = (block.status, block.error_code, block.error_word, block.cycles.payload,
             block.layers.payload)
    kept = [(block.cycles.valid, 1), (block.layers.valid, 1)]
    cycles = [[*zip(ports, values), *kept]]
    # Counters are kept, everything else is what it is.
    cycles += [[(block.cycles.valid, 0), (block.layers.valid, 0), (block.cycles.payload, 5),
                (block.layers.payload, 6), (block.bus.address, address)] for address in range(16)]
    seen = [value for value, in play(block, cycles, [block.bus.read_data])]
    assert seen[1:] == _expected(*values)


def test_writes():
    block = RegisterFile(CONFIG)
    rng = random.Random(1)
    cycles, expected = [], []
    watchdog, reset, enable = DEFAULT_WATCHDOG_CYCLES, 0, 0
    for cycle in range(200):
        address, write, data = rng.randrange(16), rng.getrandbits(1), rng.getrandbits(32)
        if cycle % 4 == 0:
            address = RegisterAddress.CONTROL if cycle % 8 else RegisterAddress.WATCHDOG
        cycles.append([(block.bus.address, address), (block.bus.write, write),
                       (block.bus.write_data, data)])
        expected.append((_expected(watchdog=watchdog, enable=enable)[address], reset, watchdog))
        reset = int(write and address == RegisterAddress.CONTROL and data & 1)
        if write and address == RegisterAddress.WATCHDOG:
            watchdog = data
        if write and address == RegisterAddress.INTERRUPT_ENABLE:
            enable = data & 3
    assert play(block, cycles, [block.bus.read_data, block.soft_reset, block.watchdog]) == expected
    assert sum(strobe for _, strobe, _ in expected) > 5


def test_interrupts():
    block = RegisterFile(CONFIG)
    rng = random.Random(2)
    cycles, expected = [], []
    enable = pending = reset = 0
    for _ in range(2000):
        address = rng.choice([RegisterAddress.INTERRUPT, RegisterAddress.INTERRUPT_ENABLE,
                              RegisterAddress.CONTROL])
        write, data = rng.random() < 0.3, rng.getrandbits(32)
        events = rng.choice([0, 0, 1, 2, 3])
        cycles.append([(block.bus.address, address), (block.bus.write, int(write)),
                       (block.bus.write_data, data), (block.events, events)])
        expected.append((_expected(enable=enable, pending=pending)[address],
                         int(enable & pending != 0)))
        cleared = data if write and address == RegisterAddress.INTERRUPT else 0
        # An event in the cycle of its clearing stays; a soft reset clears all.
        pending = 0 if reset else pending & ~cleared | events
        if write and address == RegisterAddress.INTERRUPT_ENABLE:
            enable = data & 3
        reset = write and address == RegisterAddress.CONTROL and data & 1
    assert play(block, cycles, [block.bus.read_data, block.interrupt]) == expected
    assert {level for _read, level in expected} == {0, 1}
