# amaranth: UnusedElaboratable=no
"""The rescaler adds, shifts and clips."""

import random

import pytest

from tests.bench import play
from xnorloom.hw.column.rescale import Rescaler
from xnorloom.hw.spec.config import MachineConfig


def clipped(value, low, high):
    return min(max(value, low), high)


@pytest.mark.parametrize("scale_bits, count_bits, acc_bits", [
    (16, 16, 28), (18, 17, 32), (4, 6, 8), (2, 4, 32)])
@pytest.mark.parametrize("bits", [1, 4, 5, 8])
def test_codes(scale_bits, count_bits, acc_bits, bits):
    config = MachineConfig(rows=1, cols=1, lanes=8, scale_bits=scale_bits, count_bits=count_bits,
                           acc_bits=acc_bits)
    unit = Rescaler(config)
    rng = random.Random(bits)
    reach, wide = 1 << len(unit.product) - 1, 1 << acc_bits - 1
    sums = [(code << 16) + near for near in (-1, 0, 1)
            for code in (0, 1, (1 << bits) - 1, 1 << bits, 1 << bits + 1, 256, 511)]
    pairs = []
    for total in [*sums, -reach - wide, reach + wide - 2, -1, 0]:
        addend = clipped(rng.randrange(-wide, wide), total - reach + 1, total + reach)
        addend = clipped(addend, -wide, wide - 1)
        pairs.append((clipped(total - addend, -reach, reach - 1), addend, 1))
    pairs += [(rng.randrange(-reach, reach) >> rng.randrange(12), rng.randrange(-wide, wide),
               rng.getrandbits(1)) for _ in range(300)]
    cycles = [[(unit.largest, (1 << bits) - 1), (unit.product, product), (unit.addend, addend),
               (unit.valid, valid)] for product, addend, valid in pairs]
    seen = play(unit, [*cycles, [(unit.valid, 0)], []], [unit.code.valid, unit.code.payload])
    expected = [(valid, valid and clipped(product + addend >> 16, 0, (1 << bits) - 1))
                for product, addend, valid in pairs]
    assert seen[2:] == expected
