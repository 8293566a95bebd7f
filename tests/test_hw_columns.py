# amaranth: UnusedElaboratable=no
"""The columns turn counts into codes or raw accumulators, exact to the cycle."""

import random

import pytest

from tests.columns import BORDERS, play_columns, random_work
from xnorloom.hw.spec.config import MachineConfig


def machine(rows, cols, units, **fields):
    return MachineConfig(**{
        "rows": rows, "cols": cols, "lanes": cols * 4, "units": units, "count_bits": 8,
        "scale_bits": 8, "acc_bits": 20, "code_bits": 3, "scale_depth": 64, "parameter_depth": 128,
        "popcount_stages": 1, "rescale": False, "border_classes": False, "pool_depth": 0, **fields})


SHAPES = [(1, 1, 1), (2, 2, 1), (4, 2, 2), (6, 1, 2), (5, 1, 1), (2, 1, 2), (4, 1, 4)]


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


@pytest.mark.parametrize("rows, units", [(2, 2), (4, 2), (4, 4), (12, 6)])
def test_classes_that_tiles_in_pairs_lose_are_missed_by_nobody(rows, units):
    """More tiles of one step are under way than classes are kept for; the layer behind them finds
    its own."""
    config = machine(rows, 1, units, border_classes=True, popcount_stages=2)
    rng = random.Random(units)
    works = [random_work(config, rng, pixel_tiles=40),
             random_work(config, rng, pixel_tiles=3, border_top=1)]
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


@pytest.mark.parametrize("rows, cols, units", SHAPES)
def test_borders(rows, cols, units):
    config = machine(rows, cols, units, border_classes=True)
    rng = random.Random(rows)
    works = [random_work(config, rng, code_bits=2, col_tiles=3, pixel_tiles=rng.randint(1, 4),
                         passes=passes, **{name: 1})
             for name, passes in zip(BORDERS, (1, 2, 3, 1), strict=True)]
    works.insert(2, random_work(config, rng, code_bits=3, col_tiles=2, pixel_tiles=3))
    seen, expected = play_columns(config, works, gap=lambda: rng.choice([0, 0, 0, 2]))
    assert seen == expected


@pytest.mark.parametrize("rows, cols, units", [*SHAPES, (4, 1, 1), (32, 1, 1)])
@pytest.mark.parametrize("code_bits", [1, 4])
@pytest.mark.parametrize("border_classes", [False, True])
def test_rescale(rows, cols, units, code_bits, border_classes):
    config = machine(rows, cols, units, rescale=True, border_classes=border_classes,
                     code_bits=code_bits, acc_bits=24, scale_bits=12)
    rng = random.Random(rows)
    works = [random_work(config, rng, rescale=1, code_bits=rng.randint(1, 8), shift=shift,
                         col_tiles=rng.randint(1, 4), pixel_tiles=rng.randint(1, 3), passes=passes,
                         border_left=border_classes and (shift + passes // 2) % 2)
             for shift in (0, 1, 2) for passes in (1, 3)]
    works.insert(2, random_work(config, rng, code_bits=code_bits, col_tiles=3, pixel_tiles=2))
    seen, expected = play_columns(config, works)
    assert seen == expected
    codes = {code for column in seen.codes.values() for _cycle, code in column}
    assert 0 in codes and max(codes) > 1


def test_layers_of_all_kinds():
    config = machine(4, 2, 2, code_bits=4, rescale=True, border_classes=True)
    rng = random.Random(5)
    works = []
    for _ in range(12):
        raw, rescale = rng.choice([(0, 0), (0, 1), (1, 0)])
        works.append(random_work(
            config, rng, raw=raw, rescale=rescale, code_bits=rng.randint(1, 8 if rescale else 4),
            col_tiles=rng.randint(1, 3), pixel_tiles=rng.randint(1, 3), passes=rng.randint(1, 3),
            shift=rescale and rng.randrange(3), border_bottom=rng.randrange(4)))
    seen, expected = play_columns(config, works, gap=lambda: rng.choice([0, 0, 0, 1, 5]))
    assert seen == expected
    assert all(seen.accs.values()) and all(seen.codes.values())


@pytest.mark.parametrize("fields, memory", [
    ({"scale_base": 62, "passes": 3}, 1), ({"scale_base": 63, "col_tiles": 2}, 1),
    ({"parameter_base": 127}, 2), ({"parameter_base": 126, "col_tiles": 2}, 2),
    ({"parameter_base": 112, "border_top": 1}, 2)])
def test_faults(fields, memory):
    config = machine(2, 1, 1, border_classes=True)
    seen, _expected = play_columns(config, [
        random_work(config, random.Random(1), code_bits=1, **fields)])
    assert {values.index(1) + 1 for _cycle, *values in seen.faults} == {memory}


@pytest.mark.parametrize("fields", [{"scale_base": 61, "passes": 3}, {"parameter_base": 126}])
def test_no_fault_at_the_end_of_a_memory(fields):
    config = machine(2, 1, 1)
    seen, expected = play_columns(config, [
        random_work(config, random.Random(1), code_bits=1, **fields)])
    assert seen == expected
