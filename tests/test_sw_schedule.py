"""Passes weigh every pair as its scale says, and never count too far."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xnorloom.sw.errors import CompileError
from xnorloom.sw.passes.schedule import schedule_passes


def schedule(scales, doubling=True, worst=10, count_bits=16):
    scales = np.asarray(scales, dtype=np.int64)
    if scales.ndim == 2:
        scales = scales[None, None]
    return schedule_passes(scales, doubling=doubling, worst_mismatches=worst,
                           count_bits=count_bits)


def weights(passes, shape):
    """What every pair contributes per mismatch, as the machine streams the passes."""
    total = np.zeros(shape, dtype=np.int64)
    for item in passes:
        factor = {}
        for step in item.steps:
            if step.double:
                factor = {pair: 2 * value for pair, value in factor.items()}
            factor[step.activation_plane, step.weight_plane] = 1
        for (i, j), value in factor.items():
            total[:, :, i, j] += value * item.scales
        assert item.weight == sum(factor.values())
    return total


vectors = st.lists(st.integers(-3, 3), min_size=2, max_size=2)


@given(st.integers(1, 5), st.integers(1, 4), st.booleans(), st.integers(1, 12), st.data())
def test_passes_weigh_every_pair(activation, weight, doubling, capacity, data):
    shape = (2, 1, activation, weight)
    scales = np.array([[data.draw(vectors) for _ in range(weight)] for _ in range(activation)])
    shift = np.array([[data.draw(st.integers(0, 4)) for _ in range(weight)]
                      for _ in range(activation)])
    scales = (scales << shift[..., None]).transpose(2, 0, 1)[:, None]
    worst, bits = 100, (100 * capacity).bit_length()
    passes = schedule(scales, doubling, worst, bits)
    np.testing.assert_array_equal(weights(passes, shape), scales)
    assert all(item.weight * worst < 1 << bits for item in passes)
    assert not any(item.steps[0].double for item in passes)
    assert doubling or not any(step.double for item in passes for step in item.steps)


def test_eight_unsigned_planes_take_one_pass():
    passes = schedule([[1 << i] for i in range(8)])
    assert len(passes) == 1
    assert [step.activation_plane for step in passes[0].steps] == list(range(7, -1, -1))
    assert [step.double for step in passes[0].steps] == [False] + [True] * 7


def test_without_doubling_only_equal_scales_share_a_pass():
    assert len(schedule([[1, 2], [2, 4]], doubling=False)) == 3


def test_two_by_two_planes_share_a_pass_with_doubling():
    (only,) = schedule([[3, 6], [6, 12]])
    assert [step.double for step in only.steps] == [False, True, False, True]
    assert only.scales.tolist() == [[3]]


def test_ratio_must_hold_for_every_channel():
    scales = np.array([[[[1, 2]]], [[[1, 3]]]])
    assert len(schedule(scales)) == 2


def test_pairs_that_weigh_nothing_are_left_out():
    (only,) = schedule([[0, 5], [0, 0]])
    assert [(step.activation_plane, step.weight_plane) for step in only.steps] == [(0, 1)]
    assert len(schedule([[0, 0]])[0].steps) == 1


def test_pass_is_split_where_the_count_ends():
    passes = schedule([[1 << i] for i in range(8)], worst=16, count_bits=8)
    assert [item.weight for item in passes] == [15, 15]
    assert [item.scales.item() for item in passes] == [16, 1]


def test_single_pair_that_cannot_be_counted_is_an_error():
    with pytest.raises(CompileError, match=r"at most 255 .*not 256 \(needs count_bits 9\)"):
        schedule([[1]], worst=256, count_bits=8)
