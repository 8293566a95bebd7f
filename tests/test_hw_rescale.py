# amaranth: UnusedElaboratable=no
"""The rescaler shifts and clips."""

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
    reach = 1 << acc_bits + len(unit.above) - 1
    sums = [(code << 16) + near for near in (-1, 0, 1)
            for code in (0, 1, (1 << bits) - 1, 1 << bits, (1 << bits) + 1, 256, 511)]
    given = [(total, 1) for total in [*sums, -reach, reach - 1, -1, 0] if -reach <= total < reach]
    given += [(rng.randrange(-reach, reach) >> rng.randrange(12), rng.getrandbits(1))
              for _ in range(300)]
    cycles = [[(unit.largest, (1 << bits) - 1), (unit.low, total % (1 << acc_bits)),
               (unit.above, (total >> acc_bits) % (1 << len(unit.above))), (unit.valid, valid)]
              for total, valid in given]
    seen = play(unit, [*cycles, [(unit.valid, 0)]], [unit.code.valid, unit.code.payload])
    expected = [(valid, valid and clipped(total >> 16, 0, (1 << bits) - 1))
                for total, valid in given]
    assert seen[1:] == expected
    assert {code for _valid, code in seen} >= {0, 1, (1 << bits) - 1}
