# amaranth: UnusedElaboratable=no
"""Rotation for any number of rows and any amount."""

import random

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tests.bench import play
from xnorloom.hw.feed.rotator import Rotator, rotated


class Upward(wiring.Component):
    """The function the other way round, for bits."""

    def __init__(self, count):
        self.count = count
        super().__init__({"i": In(count), "amount": In(range(max(count, 2))), "o": Out(count)})

    def elaborate(self, platform):
        m = Module()
        for place, bit in enumerate(rotated(m, list(self.i), self.amount, name="turned", up=True)):
            m.d.sync += self.o[place].eq(bit)
        return m


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 7, 8, 13, 32])
def test_bank_to_row(rows):
    rotator = Rotator(rows, 9)
    rng = random.Random(rows)
    cases = [(rotation, [rng.getrandbits(9) for _ in range(rows)])
             for rotation in [*range(rows), *(rng.randrange(rows) for _ in range(5))]]
    cycles = [[(rotator.rotation, rotation), *zip(rotator.banks, words)]
              for rotation, words in cases] + [[], []]
    seen = play(rotator, cycles, list(rotator.rows))
    assert seen[2:] == [tuple(words[(row + rotation) % rows] for row in range(rows))
                        for rotation, words in cases]


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 11])
def test_upward(count):
    block = Upward(count)
    rng = random.Random(count)
    cases = [(amount, rng.getrandbits(count)) for amount in range(count) for _ in range(3)]
    seen = play(block, [[(block.amount, amount), (block.i, bits)] for amount, bits in cases]
                + [[]], [block.o])
    for (amount, bits), (value,) in zip(cases, seen[1:]):
        assert value == sum((bits >> (place - amount) % count & 1) << place
                            for place in range(count))
