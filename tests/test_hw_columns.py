# amaranth: UnusedElaboratable=no
"""The columns turn counts into codes or raw accumulators, exact to the cycle."""

import random

import pytest

from tests.columns import play_columns, random_work
from xnorloom.hw.spec.config import MachineConfig


def machine(rows, cols, units, **fields):
    return MachineConfig(**{
        "rows": rows, "cols": cols, "lanes": cols * 4, "units": units, "count_bits": 8,
        "scale_bits": 8, "acc_bits": 20, "code_bits": 3, "scale_depth": 64, "parameter_depth": 128,
        "popcount_stages": 1, "rescale": False, "border_classes": False, "pool_depth": 0, **fields})


SHAPES = [(1, 1, 1), (2, 2, 1), (3, 1, 1), (4, 2, 2), (4, 3, 1), (6, 1, 3), (8, 1, 1)]


@pytest.mark.parametrize("rows, cols, units", SHAPES)
@pytest.mark.parametrize("border_classes", [False, True])
def test_staircases(rows, cols, units, border_classes):
    config = machine(rows, cols, units, code_bits=4, border_classes=border_classes)
    rng = random.Random(rows)
    works = [random_work(config, rng, code_bits=bits, col_tiles=rng.randint(1, 4),
                         pixel_tiles=rng.randint(1, 3), passes=passes, scale_base=3,
                         parameter_base=5)
             for bits in (1, 2, 3, 4) for passes in (1, rng.randint(2, 4))]
    seen, expected = play_columns(config, works)
    assert seen == expected


@pytest.mark.parametrize("rows, cols, units", SHAPES)
def test_raw(rows, cols, units):
    config = machine(rows, cols, units)
    rng = random.Random(rows)
    works = [random_work(config, rng, raw=1, col_tiles=rng.randint(1, 3),
                         pixel_tiles=rng.randint(1, 3), passes=rng.randint(1, 3))
             for _ in range(4)]
    seen, expected = play_columns(config, works, gap=lambda: rng.choice([0, 0, 1, 3]))
    assert seen == expected
