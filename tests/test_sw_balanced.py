import numpy as np
import pytest
import torch

from xnorloom.sw.quantizers.balanced import BalancedConfig, BalancedWeight, equalize

THRESHOLDS = {"mean": np.mean, "median": np.median}


def recursion(values, bits, threshold):
    """The definition, word for word: positions in [0, 1]."""
    if not bits:
        low, high = values.min(), values.max()
        return (values - low) / (high - low) if high > low else np.zeros_like(values)
    limit = threshold(values)
    positions = np.empty_like(values)
    for half, chosen in ((0.0, values < limit), (0.5, values >= limit)):
        if chosen.any():
            positions[chosen] = half + recursion(values[chosen], bits - 1, threshold) / 2
    return positions


def toward_zero(x):
    return np.sign(x) * np.ceil(np.abs(x) - 0.5)


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


SETS = {
    "gauss": np.random.default_rng(0).normal(size=333),
    "skewed": np.random.default_rng(1).exponential(size=200),
    "integers": np.random.default_rng(2).integers(-4, 5, size=64).astype(float),
    "outlier": np.append(np.random.default_rng(3).normal(size=40), 1000.0),
    "few": np.array([3.0, -1.0, 0.5]),
    "single": np.array([-1.5]),
}


@pytest.mark.parametrize("threshold", THRESHOLDS)
@pytest.mark.parametrize("bits", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("name", SETS)
def test_positions_and_codes_are_those_of_the_recursion(name, bits, threshold):
    equalized = equalize(torch.from_numpy(SETS[name]), bits, threshold)
    positions = recursion(SETS[name], bits, THRESHOLDS[threshold])
    np.testing.assert_allclose(equalized.positions, positions, rtol=1e-12, atol=1e-12)
    # Powers of two are exact, so ties stay ties.
    np.testing.assert_array_equal(equalized.codes, toward_zero(2 ** bits * positions - 0.5))


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_code_is_the_leaf_except_at_the_lower_end_of_a_leaf(threshold):
    equalized = equalize(normal(5000), 4, threshold)
    dropped = equalized.leaves != equalized.codes
    assert int(dropped.sum()) == 15
    assert torch.equal(equalized.values[dropped].sort().values, equalized.low[1:])


def test_medians_balance_the_leaves_exactly():
    counts = torch.bincount(equalize(normal(4096), 4, "median").leaves)
    assert counts.tolist() == [256] * 16


def test_means_balance_a_bell_nearly():
    shares = torch.bincount(equalize(normal(200_000), 2).leaves) / 200_000
    np.testing.assert_allclose(shares, [0.213, 0.287, 0.288, 0.212], atol=5e-3)


@pytest.mark.parametrize("threshold", THRESHOLDS)
@pytest.mark.parametrize("value", [0.1, -0.1, 1 / 3, 7.0])
@pytest.mark.parametrize("count", [1, 3, 7, 100])
def test_equal_weights_all_go_up_and_then_drop(value, count, threshold):
    weight = torch.full((count,), value, dtype=torch.float64)
    for bits in (1, 2, 8):
        equalized = equalize(weight, bits, threshold)
        assert (equalized.leaves == 2 ** bits - 1).all()
        assert (equalized.codes == 2 ** bits - 2).all()


@pytest.mark.parametrize("scale", ["max", "mean", "least-squares"])
@pytest.mark.parametrize("gradient", ["identity", "rounding"])
def test_zero_weights_stay_zero(scale, gradient):
    weight = torch.zeros(2, 3, requires_grad=True)
    values = BalancedWeight(2, scale=scale, gradient=gradient)(weight)
    values.sum().backward()
    assert not values.any()
    assert torch.equal(weight.grad, torch.full((2, 3), float(gradient == "identity")))


def test_scales():
    weight = normal(16, 5, 3, 3)
    magnitudes = weight.double().abs()
    assert BalancedWeight(2, scale="max").planes(weight).scales.sum() == float(magnitudes.max())
    assert BalancedWeight(2, scale="mean").planes(weight).scales.sum() == pytest.approx(
        2.5 * float(magnitudes.mean()), rel=1e-12)
    fitted = BalancedWeight(2).planes(weight)
    coarse = BalancedWeight(2, scale="max").planes(weight)
    np.testing.assert_array_equal(fitted.planes, coarse.planes)
    values = fitted.reconstruct()
    # At the least-squares scale the error is orthogonal to the levels.
    assert ((weight.numpy() - values) * values).sum() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("bits, largest, fitted", [(1, 15.8, .363), (2, 5.75, .128),
                                                   (3, 3.51, .0565), (4, 2.77, .0372)])
def test_error_of_a_bell(bits, largest, fitted):
    weight = normal(1, 200_000)
    for scale, wanted, tolerance in (("max", largest, 0.15), ("least-squares", fitted, 0.02)):
        error = BalancedWeight(bits, scale=scale)(weight) - weight
        assert float(error.square().sum() / weight.square().sum()) == pytest.approx(
            wanted, rel=tolerance)


def test_weights_are_clipped_to_the_range_of_the_mean():
    weight = torch.cat([normal(1, 300), torch.tensor([[500.0]])], dim=1)
    limit = 2.5 * float(weight.double().abs().mean())
    clipped = BalancedWeight(3, scale="mean").planes(weight).planes
    np.testing.assert_array_equal(
        clipped, BalancedWeight(3).planes(weight.double().clamp(-limit, limit)).planes)
    assert (clipped != BalancedWeight(3).planes(weight).planes).any()


def test_gradient_passes_as_it_is_by_default():
    weight = normal(4, 30).requires_grad_()
    upstream = normal(4, 30, seed=1)
    BalancedWeight(2)(weight).backward(upstream)
    assert torch.equal(weight.grad, upstream)


def test_gradient_of_the_rounding_alone_is_the_slope_of_the_stretching():
    weight = normal(1, 101).double().requires_grad_()
    BalancedWeight(3, scale="max", gradient="rounding")(weight).sum().backward()
    equalized = equalize(weight, 3)
    # Two elements of one leaf: the equalized weight is linear between them.
    one, two = torch.nonzero(equalized.leaves[0] == 5).flatten()[:2]
    rise = equalized.positions[0, one] - equalized.positions[0, two]
    slope = 2 * weight.detach().abs().max() * 8 / 7 * rise / (weight[0, one] - weight[0, two])
    assert float(weight.grad[0, one]) == pytest.approx(float(slope.detach()), rel=1e-9)


def test_slope_is_zero_for_clipped_weights_and_single_values():
    weight = torch.tensor([[1.0, 1.0, 1.0, -1.0, 100.0, -3.0, 2.0, 1.5]], requires_grad=True)
    BalancedWeight(2, scale="mean", gradient="rounding")(weight).sum().backward()
    limit = 2.5 * weight.detach().abs().mean()
    assert float(weight.grad[0, 4]) == 0 and limit < 100
    assert torch.isfinite(weight.grad).all() and weight.grad.any()


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("shape", [(6, 5, 3, 3), (4, 7)])
def test_planes_reconstruct_the_float_weight(bits, shape):
    quantizer, weight = BalancedWeight(bits), normal(*shape)
    planes = quantizer.planes(weight)
    assert planes.scales.shape == (bits, 1, 1) and planes.offset == 0
    values = quantizer(weight)
    exact = planes.reconstruct().reshape(shape)
    np.testing.assert_allclose(quantizer(weight.double()), exact, rtol=1e-12)
    np.testing.assert_allclose(values, exact, rtol=1e-6)
    assert len(values.unique()) <= quantizer.levels == 2 ** bits


def test_activations_round_half_down():
    activation = BalancedConfig(activation_bits=2).activation_quantizer()
    x = torch.tensor([-1.0, 0.0, 1 / 6, 0.17, 0.5, 0.51, 5 / 6, 1.0, 9.0], dtype=torch.float64)
    assert activation.encode(x).tolist() == [0, 0, 0, 1, 1, 2, 2, 3, 3]
    assert activation.pad_code == 0 and activation.pad_value() == 0.0


@pytest.mark.parametrize("make, message", [
    (lambda: BalancedWeight(0), "BalancedWeight bits must be an integer from 1 to 8, not 0"),
    (lambda: BalancedWeight(2, "mode"),
     "BalancedWeight threshold must be one of mean, median, not 'mode'"),
    (lambda: BalancedWeight(2, scale=1.0),
     "BalancedWeight scale must be one of max, mean, least-squares, not 1.0"),
    (lambda: BalancedWeight(2, gradient="none"),
     "BalancedWeight gradient must be one of identity, rounding, not 'none'"),
    (lambda: BalancedWeight().planes(torch.full((1, 2), torch.nan)),
     "weight must be finite, not nan"),
    (lambda: BalancedConfig(activation_bits=9).activation_quantizer(),
     "Activation bits must be an integer from 1 to 8, not 9"),
])
def test_options_out_of_range(make, message):
    with pytest.raises(ValueError) as caught:
        make()
    assert str(caught.value) == message
