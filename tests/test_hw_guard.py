# amaranth: UnusedElaboratable=no
"""A guard lets every address of its memory through and names every other."""

import pytest

from tests.bench import play
from xnorloom.hw.common.guard import Guard


@pytest.mark.parametrize("depth", [2, 3, 8, 12, 16, 17])
def test_every_address(depth):
    guard = Guard(6, depth)
    cycles = [[(guard.valid, valid), (guard.i, address)]
              for address in range(64) for valid in (0, 1)]
    seen = play(guard, cycles, [guard.o, guard.fault])
    for (address, valid), (passed, fault) in zip(
            ((address, valid) for address in range(64) for valid in (0, 1)), seen, strict=True):
        assert fault == (valid and address >= depth)
        assert address >= depth or passed == address
