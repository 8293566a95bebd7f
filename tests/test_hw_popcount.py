# amaranth: UnusedElaboratable=no
"""Popcounts of every shape count the lanes that differ."""

import random

import pytest
from amaranth.back import rtlil

from tests.bench import play
from xnorloom.hw.array.popcount import MismatchCount


@pytest.mark.parametrize("stages", [1, 2])
@pytest.mark.parametrize("lanes", [1, 2, 3, 15, 16, 17, 31, 32, 33, 47, 48, 64, 65, 128, 150])
def test_counts(lanes, stages):
    count = MismatchCount(lanes, stages=stages)
    rng = random.Random(lanes)
    top = (1 << lanes) - 1
    words = [(0, 0), (top, 0), (0, top), (top, top)]
    words += [(1 << lane, 0) for lane in range(lanes)]
    words += [(rng.getrandbits(lanes), rng.getrandbits(lanes)) for _ in range(40)]
    cycles = [[(count.a, a), (count.b, b)] for a, b in words] + [[]] * stages
    seen = [value + carry for value, carry in play(count, cycles, [count.count, count.carry])]
    assert seen[stages:] == [(a ^ b).bit_count() for a, b in words]


@pytest.mark.parametrize("stages", [1, 2])
def test_simulators_own_popcount_is_one_instance(stages):
    count = MismatchCount(21, stages=stages, strategy="countones")
    text = rtlil.convert(count, ports=[count.a, count.b, count.count])
    assert text.count("\\xnorloom_countones") == 1
    assert "parameter \\LANES 21" in text
    assert "parameter \\BITS 5" in text
    assert text.count("cell $dff") == stages


def test_unknown_strategy():
    with pytest.raises(ValueError, match="one of plain, countones, not 'tree'"):
        MismatchCount(8, strategy="tree")
