"""The integer grid: how far a scale is from the wanted one, and what still shares a pass."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xnorloom.sw.bitplanes import BitPlanes
from xnorloom.sw.ops.grid import SHARED_BITS, to_integers
from xnorloom.sw.passes.schedule import schedule_passes
from xnorloom.sw.quantizers.planes import unsigned_codebook


def layer(scales, code_bits, step=1 / 255, scale_bits=16, acc_bits=28, inputs=9):
    """Snapped scales of weight planes ``(planes, channels)``, and the ones they stand for."""
    weights = BitPlanes(np.ones((len(scales), scales.shape[1], inputs, 1, 1)), scales[:, :, None])
    book = unsigned_codebook(code_bits, step)
    found = to_integers("a", weights, book, np.zeros(scales.shape[1]), scale_bits, acc_bits)
    wanted = 2 * np.einsum("i,jm->mij", book.scales[:, 0, 0], scales)
    return found, -found.scales[:, 0], np.ldexp(wanted, found.frac_bits)


def powers(planes, top, channels=1):
    return top * 2.0 ** -np.arange(planes)[:, None] * np.ones(channels)


@settings(max_examples=150, deadline=None)
@given(planes=st.integers(1, 8), code_bits=st.integers(1, 8), seed=st.integers(0, 2 ** 16),
       dyadic=st.booleans(), channels=st.integers(1, 4), scale_bits=st.sampled_from([8, 12, 16]),
       inputs=st.integers(1, 600))
def test_no_scale_is_off_by_more_than_the_bound(planes, code_bits, seed, dyadic, channels,
                                                scale_bits, inputs):
    rng = np.random.default_rng(seed)
    scales = (powers(planes, 1) * rng.uniform(0.1, 1, channels) if dyadic
              else rng.uniform(0.01, 1, (planes, channels)))
    found, p, wanted = layer(scales, code_bits, rng.uniform(0.01, 1), scale_bits, inputs=inputs)
    assert np.abs(p - wanted).max() <= max(0.5, np.abs(wanted).max() * 2.0 ** -SHARED_BITS)
    assert np.abs(p).max() < 2 ** (scale_bits - 1)
    assert max(-found.low.min(), found.high.max()) < 2 ** 27


@pytest.mark.parametrize("code_bits, planes", [(5, 8), (8, 8), (2, 8), (2, 2), (4, 4), (8, 1)])
def test_the_gain_of_a_layer_is_nearly_the_wanted_one(code_bits, planes):
    for top in np.linspace(0.5, 1, 23):
        _found, p, wanted = layer(powers(planes, top), code_bits)
        assert abs(p.sum() / wanted.sum() - 1) < 1.5e-3


@pytest.mark.parametrize("code_bits, planes, passes", [
    (2, 2, 1), (4, 2, 1), (5, 8, 3), (8, 8, 3), (2, 8, 2), (8, 1, 2), (4, 4, 2)])
def test_powers_of_two_need_few_passes(code_bits, planes, passes):
    found, _p, _wanted = layer(powers(planes, 0.7), code_bits)
    schedule = schedule_passes(found.scales, doubling=True, worst_mismatches=9, count_bits=16)
    assert len(schedule) == passes
    assert max(len(each.steps) for each in schedule) < 2 * code_bits * planes / passes + 1


def test_parts_of_a_family_are_about_equal():
    found, p, _wanted = layer(powers(8, 0.9), 5)
    by_power = {i + j: p[0, i, j] for i in range(5) for j in range(8)}
    exact = [bool(by_power[power] == 2 * by_power[power + 1]) for power in range(11)]
    assert exact == [True, True, True, False] * 2 + [True, True, True]
