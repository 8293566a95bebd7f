# amaranth: UnusedElaboratable=no
"""A delay hands on everything, later by its cycles."""

import random
import re

import pytest
from amaranth.hdl import signed
from amaranth.lib import data

from tests.bench import play
from xnorloom.hw.common.delay import Delay

PAIR = data.StructLayout({"low": 3, "high": signed(5)})


@pytest.mark.parametrize("cycles", [0, 1, 2, 7])
@pytest.mark.parametrize("shape, values", [
    (1, (0, 1)), (signed(4), range(-8, 8)),
    (PAIR, ({"low": 5, "high": -16}, {"low": 2, "high": 15}))])
def test_values_come_later(shape, values, cycles):
    delay = Delay(shape, cycles)
    rng = random.Random(cycles)
    sent = [rng.choice(list(values)) for _ in range(30)]
    seen = [value for value, in play(delay, [[(delay.i, value)] for value in sent], [delay.o])]
    nothing = PAIR.const({}) if shape is PAIR else 0
    expected = [PAIR.const(value) if shape is PAIR else value for value in sent]
    assert seen == ([nothing] * cycles + expected)[:30]


@pytest.mark.parametrize("cycles", [-1, 1.0, None])
def test_cycles_are_checked(cycles):
    message = f"Delay cycles must be an integer of at least 0, not {cycles!r}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Delay(4, cycles)
