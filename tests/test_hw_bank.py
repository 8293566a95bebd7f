# amaranth: UnusedElaboratable=no
"""Banks: granular writes, reads of one cycle that hold."""

import random

import pytest

from tests.bench import play
from xnorloom.hw.memory.bank import Bank


@pytest.mark.parametrize("width, depth, granules", [
    (1, 2, 1), (8, 5, 1), (8, 16, 2), (12, 7, 12), (40, 3, 4)])
def test_random_traffic(width, depth, granules):
    bank = Bank(width, depth, granules=granules)
    rng = random.Random(width)
    part = width // granules
    cells, shown = [0] * depth, 0
    cycles, expected = [], []
    for cycle in range(300):
        write, target = rng.getrandbits(granules), rng.randrange(depth)
        if cycle % 3 == 0:
            write = 0
        data, read = rng.getrandbits(width), rng.random() < 0.6
        # The machine never reads what it is writing.
        source = rng.choice([entry for entry in range(depth) if entry != target])
        cycles.append([(bank.write.en, write), (bank.write.addr, target), (bank.write.data, data),
                       (bank.read.en, int(read)), (bank.read.addr, source)])
        expected.append(shown)
        if read:
            shown = cells[source]
        mask = sum((1 << part) - 1 << k * part for k in range(granules) if write >> k & 1)
        cells[target] = cells[target] & ~mask | data & mask
    assert [value for value, in play(bank, cycles, [bank.read.data])] == expected
