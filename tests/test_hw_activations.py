# amaranth: UnusedElaboratable=no
"""The activation banks take entries of the host, and granules of the output, and clear words."""

import random

import pytest

from tests.bench import play
from xnorloom.hw.memory.activations import ActivationBanks
from xnorloom.hw.spec.config import MachineConfig


@pytest.mark.parametrize("rows, cols, lanes", [(1, 1, 1), (2, 2, 8), (3, 4, 4), (4, 3, 9)])
def test_random_traffic(rows, cols, lanes):
    config = MachineConfig(rows=rows, cols=cols, lanes=lanes, activation_depth=5)
    block, rng = ActivationBanks(config), random.Random(rows)
    cells = [[0] * 5 for _ in range(rows)]
    cycles = []
    for _ in range(400):
        host = rng.random() < 0.3
        inputs = []
        entry, bank = rng.getrandbits(lanes), rng.randrange(rows)
        address = rng.randrange(5)
        for b in range(rows):
            inputs += [(block.store[b].en, int(host and b == bank)),
                       (block.store[b].addr, address), (block.store[b].data, entry)]
        if host:
            cells[bank][address] = entry
        banks, granule, clear = rng.getrandbits(rows), rng.randrange(config.granules), (
            rng.getrandbits(1))
        if host:
            # The output writes while a layer runs, and the host while none does.
            banks = 0
        inputs += [(block.write.banks, banks), (block.write.granules, 1 << granule),
                   (block.write.clear, clear)]
        for b in range(rows):
            place, bits = rng.randrange(5), rng.getrandbits(cols)
            inputs += [(block.write.address[b], place), (block.write.data[b], bits)]
            if banks >> b & 1:
                mask = (1 << cols) - 1 << granule * cols
                kept = 0 if clear else cells[b][place] & ~mask
                cells[b][place] = kept | bits << granule * cols
        cycles.append(inputs)
    quiet = [(port.en, 0) for port in block.store] + [(block.write.banks, 0)]
    cycles.append(quiet)
    begin = len(cycles)
    cycles += [[*quiet, *((port, address) for port in block.read.address)]
               for address in [*range(5), 0]]
    seen = play(block, cycles, list(block.words))
    assert [list(entries) for entries in zip(*seen[begin + 1:begin + 6])] == cells
