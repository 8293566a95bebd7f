# amaranth: UnusedElaboratable=no
"""The first fault wins and stays; the watchdog barks after exactly its limit."""

import random

import pytest

from tests.bench import play
from xnorloom.hw.control.fault import FirstFault, Watchdog

CODES = (7, 3, 12, 3)


def _faults(block, sources, cycle):
    return [(block.faults, sum(1 << source for source in sources)),
            *((word, 1000 * cycle + k) for k, word in enumerate(block.words))]


@pytest.mark.parametrize("sources", [(0,), (3,), (2, 1), (0, 1, 2, 3), (3, 2)])
def test_first_source_wins_among_those_of_one_cycle(sources):
    block = FirstFault(CODES)
    cycles = [_faults(block, (), 0), _faults(block, (), 1), _faults(block, sources, 2),
              _faults(block, (), 3)]
    seen = play(block, cycles, [block.halt, block.code, block.word])
    assert seen == [(0, 0, 0)] * 3 + [(1, CODES[min(sources)], 2000 + min(sources))]


def test_later_faults_change_nothing():
    block = FirstFault(CODES)
    later = [_faults(block, (source,), 5 + source) for source in range(4)]
    seen = play(block, [_faults(block, (2,), 1), *later, []], [block.halt, block.code, block.word])
    assert seen == [(0, 0, 0)] + [(1, 12, 1002)] * 5


@pytest.mark.parametrize("limit", [0, 1, 5])
def test_watchdog(limit):
    dog = Watchdog()
    rng = random.Random(limit)
    cycles, expected, quiet = [], [], 0
    for _ in range(400):
        on, progress = rng.random() < 0.95, rng.random() < 0.15
        cycles.append([(dog.limit, limit), (dog.on, int(on)), (dog.progress, int(progress))])
        still = on and not progress
        expected.append(int(still and quiet >= limit))
        quiet = quiet + 1 if still else 0
    assert [bark for bark, in play(dog, cycles, [dog.bark])] == expected
    assert sum(expected) > 10
