# amaranth: UnusedElaboratable=no
"""The register file answers what its list says, and only its writable registers take words."""

import random

import pytest

from tests.bench import play
from xnorloom.hw.control.registers import RegisterFile
from xnorloom.hw.spec.config import FORMAT_VERSION, PRESETS
from xnorloom.hw.spec.registers import DEFAULT_WATCHDOG_CYCLES, REGISTERS, RegisterAddress

CONFIG = PRESETS["tiny"]


def _expected(status=0, code=0, word=0, cycles=0, layers=0, watchdog=DEFAULT_WATCHDOG_CYCLES):
    return [0x4D4F4F4C, FORMAT_VERSION, CONFIG.fingerprint, status, code, word, 0, watchdog,
            cycles, layers, 0, 0, 0, 0, 0, 0]


def test_the_list_names_every_register_once():
    assert [register.address for register in REGISTERS] == list(RegisterAddress)
    assert [register.address for register in REGISTERS if register.writable] == [
        RegisterAddress.CONTROL, RegisterAddress.WATCHDOG]
    assert all(register.doc for register in REGISTERS)


@pytest.mark.parametrize("values", [(0, 0, 0, 0, 0), (7, 255, *3 * [0xFFFFFFFF]),
                                    (5, 12, 0x12345678, 99, 3)])
def test_reads(values):
    block = RegisterFile(CONFIG)
    ports = (block.status, block.error_code, block.error_word, block.cycles, block.layers)
    cycles = [[*zip(ports, values), (block.bus.address, address)] for address in range(16)]
    seen = [value for value, in play(block, cycles, [block.bus.read_data])]
    assert seen == _expected(*values)


def test_writes():
    block = RegisterFile(CONFIG)
    rng = random.Random(1)
    cycles, expected = [], []
    watchdog, reset = DEFAULT_WATCHDOG_CYCLES, 0
    for cycle in range(200):
        address, write, data = rng.randrange(16), rng.getrandbits(1), rng.getrandbits(32)
        if cycle % 4 == 0:
            address = RegisterAddress.CONTROL if cycle % 8 else RegisterAddress.WATCHDOG
        cycles.append([(block.bus.address, address), (block.bus.write, write),
                       (block.bus.write_data, data)])
        expected.append((_expected(watchdog=watchdog)[address], reset, watchdog))
        reset = int(write and address == RegisterAddress.CONTROL and data & 1)
        if write and address == RegisterAddress.WATCHDOG:
            watchdog = data
    assert play(block, cycles, [block.bus.read_data, block.soft_reset, block.watchdog]) == expected
    assert sum(strobe for _, strobe, _ in expected) > 5
