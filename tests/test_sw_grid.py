"""The integer grid: how far a scale is from the wanted one, and what still shares a pass."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xnorloom.sw.bitplanes import BitPlanes
from xnorloom.sw.ops.grid import LOSS_LIMIT, SnapError, to_integers
from xnorloom.sw.ops.grid_term import SHARED_BITS, GridTerm
from xnorloom.sw.passes.schedule import schedule_passes
from xnorloom.sw.quantizers.planes import unsigned_codebook


def one_term(weights, book, bias, scale_bits, acc_bits, **options):
    """Integers of one term; its scales are those of the layer."""
    found = to_integers("a", [GridTerm(weights, book)], [bias], scale_bits, acc_bits, **options)
    return dataclasses.replace(found, scales=found.scales[0])


def layer(scales, code_bits, step=1 / 255, scale_bits=16, acc_bits=28, inputs=9):
    """Snapped scales of weight planes ``(planes, channels)``, and the ones they stand for."""
    weights = BitPlanes(np.ones((len(scales), scales.shape[1], inputs, 1, 1)), scales[:, :, None])
    book = unsigned_codebook(code_bits, step)
    found = one_term(weights, book, np.zeros(scales.shape[1]), scale_bits, acc_bits)
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


def per_channel(scales, bias=None, code_bits=2, planes=1, inputs=9, acc_bits=28, **options):
    wanted = np.asarray(scales)[:, None] * 2.0 ** -np.arange(planes)[:, None, None]
    weights = BitPlanes(np.ones((planes, len(scales), inputs, 1, 1)), wanted)
    bias = np.zeros(len(scales)) if bias is None else np.asarray(bias)
    return one_term(weights, unsigned_codebook(code_bits, 1.0), bias, 16, acc_bits,
                    **{"per_channel": True, **options})


def test_every_channel_keeps_its_own_precision():
    magnitudes = 0.7 * np.array([1, 1e-4, 1e-5, 1e-6, 1e-30])
    found = per_channel(magnitudes, planes=2)
    assert found.frac_bits.dtype == np.int64 and found.errors.max() < 2.0 ** -13
    assert (np.abs(found.scales).max(axis=(1, 2, 3)) >= 2 ** 14).all()
    together = per_channel(magnitudes, planes=2, per_channel=False)
    assert isinstance(together.frac_bits, int)
    assert (together.errors > LOSS_LIMIT).tolist() == [False, True, True, True, True]


def test_ratios_stay_those_of_all_channels():
    found = per_channel([1, 3e-3, 0.77, 2e-5], planes=2)
    schedule = schedule_passes(found.scales, doubling=True, worst_mismatches=9, count_bits=16)
    assert len(schedule) == 1


@pytest.mark.parametrize("together", [False, True])
def test_biases_of_zero_scales_fill_the_accumulator(together):
    found = per_channel([0, 0, 0], [0.1, -0.4, 0.2], per_channel=not together)
    np.testing.assert_allclose(np.ldexp(found.biases, -found.frac_bits), [0.1, -0.4, 0.2],
                               rtol=0, atol=2.0 ** -28)
    assert np.abs(found.biases).max() >= 2 ** 26 - 1 and not found.scales.any()
    assert not found.errors.any()


def test_a_dead_channel_keeps_its_bias_and_a_zero_one_is_zero():
    found = per_channel([1, 0, 0, 1e-200], [1e-3, 1e-9, 0, 1e-198])
    at_code_zero = found.biases + 9 * found.scales.sum(axis=(1, 2, 3))
    np.testing.assert_allclose(np.ldexp(at_code_zero, -found.frac_bits), [1e-3, 1e-9, 0, 1e-198],
                               rtol=5e-2)
    assert abs(found.biases[1]) >= 2 ** 26 - 1
    assert found.scales.any(axis=(1, 2, 3)).tolist() == [True, False, False, True]


def test_a_bias_may_outweigh_its_scales_and_says_so():
    found = per_channel([1, 1e-12], [0, 5.0])
    assert np.ldexp(found.biases[1], -int(found.frac_bits[1])) == pytest.approx(5, rel=2 ** -25)
    assert found.errors[0] <= 2.0 ** -14 and found.errors[1] == 1


def test_the_channel_without_room_is_named():
    with pytest.raises(SnapError, match="^Layer 'a' channel 0 must keep its scales above 0 with "
                                        "accumulators of 7 bits: [1-9][0-9]* bits are missing$"):
        per_channel([1, 0.5], inputs=144, acc_bits=7)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2 ** 16))
def test_each_channel_alone_has_the_grid_it_has_among_others(seed):
    rng = np.random.default_rng(seed)
    outputs = int(rng.integers(1, 6))
    scales = rng.choice([0, 1, 1], outputs) * 10.0 ** rng.uniform(-12, 4, outputs)
    bias = rng.choice([0, -1, 1], outputs) * 10.0 ** rng.uniform(-12, 4, outputs)
    whole = per_channel(scales, bias, inputs=40, code_bits=1)
    for channel in range(outputs):
        alone = per_channel(scales[channel:channel + 1], bias[channel:channel + 1], inputs=40,
                            code_bits=1, per_channel=False)
        assert whole.frac_bits[channel] == alone.frac_bits
        assert whole.biases[channel] == alone.biases[0]
        np.testing.assert_array_equal(whole.scales[channel], alone.scales[0])
        assert max(-whole.low[channel], whole.high[channel]) <= 2 ** 27 - 2


def several(terms, outputs=3, seed=0, **options):
    """Integers of random terms: inputs, code bits, and what else a term has."""
    rng = np.random.default_rng(seed)
    made = [GridTerm(BitPlanes(rng.integers(0, 2, (1, outputs, inputs, 1, 1)),
                               rng.uniform(0.1, 1, (1, outputs, 1))),
                     unsigned_codebook(bits, 1.0), **more) for inputs, bits, more in terms]
    bias = [rng.normal(size=outputs) for _ in made]
    return made, bias, to_integers("a", made, bias, 16, 28, **options)


def test_terms_share_the_grid_of_a_channel():
    gains = np.array([1.0, 1e-3, -2.0])
    made, bias, found = several([(9, 2, {}), (3, 4, {"gain": gains})], per_channel=True)
    for term, scales in zip(made, found.scales, strict=True):
        wanted = np.ldexp(term.products, found.frac_bits[:, None, None, None])
        assert np.abs(-scales - wanted).max() <= max(0.5, np.abs(wanted).max() * 2.0 ** -11)
    assert (np.sign(found.scales[1]) == -np.sign(gains)[:, None, None, None]).all()
    folded = sum(-scales.sum(axis=(1, 2, 3)) for scales in found.scales)
    assert folded.any() and not found.after.any()


def test_constants_behind_a_clamp_stay_outside():
    made, bias, found = several([(9, 2, {}), (5, 2, {"relu": True})], per_channel=True)
    unit = np.ldexp(1.0, found.frac_bits)
    at_zero = [term.shares(-scales).sum(axis=(1, 2))
               for term, scales in zip(made, found.scales, strict=True)]
    np.testing.assert_array_equal(found.biases, np.rint(bias[0] * unit + at_zero[0]))
    np.testing.assert_array_equal(found.after, np.rint(bias[1] * unit + at_zero[1]))
    # What is clamped is 0 or more, whatever the bias was.
    assert (found.low >= np.minimum(found.scales[1], 0).sum(axis=(1, 2, 3)) * 5).all()


def test_offsets_are_taken_back():
    offsets = np.array([0.0, 3.0, -700.0])
    for per_channel in (True, False):
        (term,), bias, found = several([(9, 2, {})], per_channel=per_channel, offsets=offsets)
        unit = np.ldexp(1.0, found.frac_bits)
        moved, at_zero = np.rint(offsets * unit), term.shares(-found.scales[0]).sum(axis=(1, 2))
        np.testing.assert_array_equal(found.after, -moved)
        np.testing.assert_array_equal(found.biases, np.rint(bias[0] * unit + at_zero) + moved)
        assert max(found.high.max(), -found.low.min()) < 1 << 27


def test_a_frame_of_zeros_takes_back_what_its_taps_have_in_the_bias():
    rng = np.random.default_rng(3)
    weights = BitPlanes(rng.integers(0, 2, (2, 3, 4, 3, 2)), rng.uniform(0.1, 1, (2, 3, 3)),
                        grouping="row")
    term = GridTerm(weights, unsigned_codebook(2, 0.3), zeros=True)
    found = to_integers("a", [term], [np.zeros(3)], 16, 28)
    np.testing.assert_allclose(-found.borders[0].sum(axis=(1, 2)), found.biases, atol=4)
    assert found.borders[0].any() and found.borders[0].shape == (3, 3, 2)
