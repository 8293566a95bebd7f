# amaranth: UnusedElaboratable=no
"""A loop knows its last turn, however long it is and however often it begins anew."""

import random

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tests.bench import play
from xnorloom.hw.common.turns import last_turn


class Loop(wiring.Component):
    """One loop with its ports."""

    turns: In(4)
    begin: In(1)
    end: In(1)
    last: Out(1)

    def elaborate(self, platform):
        m = Module()
        last = last_turn(m, "turn", self.turns, begin=self.begin, end=self.end)
        m.d.comb += self.last.eq(last)
        return m


@pytest.mark.parametrize("turns", [1, 2, 3, 8, 15])
def test_last(turns):
    block = Loop()
    rng = random.Random(turns)
    cycles, expected, turn = [[(block.turns, turns), (block.begin, 1)]], [], 0
    for _ in range(300):
        begin, end = rng.random() < 0.02, rng.random() < 0.6
        cycles.append([(block.begin, int(begin)), (block.end, int(end))])
        expected.append(int(turn == turns - 1))
        turn = 0 if begin else (turn + end) % turns
    assert [last for last, in play(block, cycles, [block.last])][1:] == expected
