import numpy as np
import pytest
import torch

from xnorloom.sw.quantizers import SCHEMES
from xnorloom.sw.quantizers.pact import PactActivation
from xnorloom.sw.quantizers.sawb import (
    COEFFICIENTS,
    IBM_COEFFICIENTS,
    PactSawbConfig,
    SawbWeight,
    sawb_clip,
)
from xnorloom.sw.quantizers.sawb_fit import PUBLISHED, best_clip, coefficient_table, refit

EVEN = [(bits, False) for bits in range(1, 9)]
ODD = [(bits, True) for bits in range(2, 9)]


def normal(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def quantiles(density, count):
    """A sample spread evenly over a density, of shape ``(1, count)``."""
    share = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    return {
        "Gauss": torch.special.ndtri, "uniform": lambda share: 2 * share - 1,
        "logistic": torch.logit,
        "Laplace": lambda share: -(share - 0.5).sign() * torch.log(1 - 2 * (share - 0.5).abs()),
    }[density](share)[None]


def test_clip_is_the_published_line():
    weight = normal(16, 8, 3, 3)
    rms, mean = float(weight.double().square().mean().sqrt()), float(weight.double().abs().mean())
    assert float(sawb_clip(weight, COEFFICIENTS[4])) == pytest.approx(3.12 * rms - 2.064 * mean,
                                                                      rel=1e-12)
    assert float(sawb_clip(normal(100_000), COEFFICIENTS[4])) == pytest.approx(1.494, rel=0.03)


def test_clip_of_channels_is_that_of_each_alone():
    weight = normal(5, 4, 3, 3) * torch.arange(1.0, 6).reshape(-1, 1, 1, 1)
    alone = torch.cat([sawb_clip(channel, COEFFICIENTS[8]) for channel in weight])
    torch.testing.assert_close(sawb_clip(weight, COEFFICIENTS[8], per_channel=True), alone,
                               rtol=1e-12, atol=0)


def test_levels_and_thresholds_of_two_bits():
    weight = normal(8, 4, 3, 3)
    alpha = float(sawb_clip(weight, COEFFICIENTS[4]))
    quantized = SawbWeight(2)(weight).double().numpy() / alpha
    x = weight.double().numpy() / alpha
    wanted = np.select([x < -2 / 3, x < 0, x < 2 / 3], [-1, -1 / 3, 1 / 3], 1)
    np.testing.assert_allclose(quantized, wanted, atol=1e-6)


@pytest.mark.parametrize("bits, zero_aligned", EVEN + ODD)
def test_every_weight_takes_the_nearest_level(bits, zero_aligned):
    weight = normal(64, 50)
    quantizer = SawbWeight(bits, zero_aligned=zero_aligned, coefficients=(2.0, 0.0))
    alpha = float(sawb_clip(weight, (2.0, 0.0)))
    assert quantizer.levels == 2 ** bits - zero_aligned
    levels = alpha * np.linspace(-1, 1, quantizer.levels)
    exact, quantized = weight.double().numpy(), quantizer(weight).double().numpy()
    nearest = np.abs(exact[..., None] - levels).min(axis=-1)
    np.testing.assert_allclose(np.abs(exact - quantized), nearest, atol=1e-6)
    assert (np.abs(quantized[..., None] - levels).min(axis=-1) < 1e-6).all()


@pytest.mark.parametrize("bits", range(1, 9))
def test_of_even_levels_a_zero_takes_the_one_above(bits):
    weight = torch.tensor([[0.0, 1.0, -1.0]])
    quantizer = SawbWeight(bits, coefficients=(0.0, 1.0))
    alpha = float(sawb_clip(weight, (0.0, 1.0)))
    assert float(quantizer(weight)[0, 0]) == pytest.approx(alpha / (2 ** bits - 1))


@pytest.mark.parametrize("bits", range(2, 9))
def test_zero_aligned_levels_hold_an_exact_zero(bits):
    weight = torch.cat([normal(6, 7), torch.zeros(6, 1)], dim=1)
    planes = SawbWeight(bits, zero_aligned=True).planes(weight)
    assert not planes.reconstruct()[:, -1].any()


def test_halves_go_to_the_even_code():
    halves = torch.tensor([[-2.5, -1.5, -0.5, 0.5, 1.5, 2.5]])
    zero_aligned = SawbWeight(3, zero_aligned=True, coefficients=(0.0, 2.0))  # alpha = 3
    assert zero_aligned(halves).tolist() == [[-2, -2, 0, 0, 2, 2]]
    even = SawbWeight(2, coefficients=(0.0, 1.5))
    assert even(torch.tensor([[-2.0, 0.0, 2.0, 4.0]])).tolist() == [[-3, 1, 1, 3]]  # alpha = 3


@pytest.mark.parametrize("bits, zero_aligned", EVEN + ODD)
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("shape", [(6, 5, 3, 3), (4, 7)])
def test_planes_reconstruct_the_float_weight(bits, zero_aligned, per_channel, shape):
    weight = normal(*shape)
    quantizer = SawbWeight(bits, zero_aligned=zero_aligned, per_channel=per_channel)
    planes = quantizer.planes(weight)
    assert planes.scales.shape == (bits, shape[0] if per_channel else 1, 1) and planes.offset == 0
    values = planes.reconstruct().reshape(shape)
    np.testing.assert_allclose(quantizer(weight.double()), values, rtol=1e-12)
    np.testing.assert_allclose(quantizer(weight), values, rtol=1e-5)


@pytest.mark.parametrize("zero_aligned", [False, True])
def test_channels_are_quantized_as_if_each_were_alone(zero_aligned):
    weight = normal(4, 6, 3, 3) * torch.tensor([0.1, 1.0, 3.0, 0.0]).reshape(-1, 1, 1, 1)
    quantized = SawbWeight(3, zero_aligned=zero_aligned, per_channel=True)(weight)
    alone = SawbWeight(3, zero_aligned=zero_aligned)
    torch.testing.assert_close(quantized, torch.cat([alone(channel[None]) for channel in weight]),
                               rtol=1e-6, atol=0)


@pytest.mark.parametrize("per_channel", [False, True])
def test_gradient_passes_inside_the_clip(per_channel):
    weight = (normal(40, 10) * torch.linspace(0.1, 2, 40)[:, None]).requires_grad_()
    alpha = sawb_clip(weight, COEFFICIENTS[4], per_channel=per_channel)[:, None]
    SawbWeight(2, per_channel=per_channel)(weight).backward(torch.full_like(weight, 3.0))
    assert torch.equal(weight.grad, 3.0 * (weight.detach().abs() <= alpha))
    assert 0 < int((weight.grad == 0).sum()) < 200


def test_gradient_of_sawb_plus_passes_everywhere():
    weight = normal(40, 10).requires_grad_()
    SawbWeight(2, plus=True)(weight).backward(torch.full_like(weight, 3.0))
    assert (weight.grad == 3.0).all()


@pytest.mark.parametrize("levels", sorted(COEFFICIENTS))
def test_a_line_that_is_not_positive_gives_the_largest_weight(levels):
    weight = torch.full((3, 4), -0.7)
    c1, c2 = COEFFICIENTS[levels]
    wanted = 0.7 * (c1 + c2) if c1 + c2 > 0 else 0.7
    assert float(sawb_clip(weight, COEFFICIENTS[levels])) == pytest.approx(wanted)
    if c1 + c2 <= 0:
        bits = (levels + 1).bit_length() - 1
        quantizer = SawbWeight(bits, zero_aligned=levels % 2 == 1, coefficients=(c1, c2))
        np.testing.assert_allclose(quantizer(weight), weight, rtol=1e-6)


def test_each_channel_falls_back_on_its_own():
    weight = torch.stack([torch.full((50,), 0.3), normal(50)])
    constant, spread = sawb_clip(weight, COEFFICIENTS[16], per_channel=True)
    assert float(constant) == pytest.approx(0.3)
    assert float(spread) == float(sawb_clip(weight[1:], COEFFICIENTS[16]))


@pytest.mark.parametrize("bits, zero_aligned", EVEN + ODD)
@pytest.mark.parametrize("per_channel", [False, True])
def test_all_zero_weights_stay_zero(bits, zero_aligned, per_channel):
    quantizer = SawbWeight(bits, zero_aligned=zero_aligned, per_channel=per_channel)
    weight = torch.zeros(2, 3, requires_grad=True)
    quantized = quantizer(weight)
    quantized.sum().backward()
    assert not quantized.any() and torch.isfinite(weight.grad).all()
    assert not quantizer.planes(weight).scales.any()


def test_eight_even_bits_take_the_whole_range():
    weight = normal(50, 10)
    top = np.float32(weight.abs().max())
    assert np.abs(SawbWeight(8)(weight).numpy()).max() == pytest.approx(top, rel=1e-6)
    uniform = torch.linspace(-1, 1, 1001)[None]
    line = SawbWeight(8, coefficients=IBM_COEFFICIENTS[256])
    assert float(SawbWeight(8)(uniform).max()) == 1
    assert float(line(uniform).max()) == pytest.approx(0.82, abs=0.01)


@pytest.mark.parametrize("levels", sorted(COEFFICIENTS))
def test_uniform_weights_are_clipped_at_the_middle_of_the_last_cell(levels):
    assert best_clip("uniform", levels) == pytest.approx(3 ** 0.5 * (levels - 1) / levels, rel=1e-6)


@pytest.mark.parametrize("density, clip", [
    ("Gauss", 1.494), ("Laplace", 1.631), ("uniform", 1.299), ("logistic", 1.577),
    ("triangle", 1.431), ("von Mises", 1.537)])
def test_best_clip_of_two_bits(density, clip):
    assert best_clip(density, 4) == pytest.approx(clip, abs=6e-4)


def test_best_clip_of_a_gaussian_sample_is_that_of_the_density():
    weight = normal(200_000)
    errors = {}
    for clip in np.linspace(2.2, 2.8, 61):
        quantizer = SawbWeight(4, coefficients=(float(clip), 0.0))
        errors[clip] = float((quantizer(weight[None]) - weight).double().square().mean())
    assert min(errors, key=errors.get) == pytest.approx(best_clip("Gauss", 16), abs=0.03)


@pytest.mark.parametrize("levels, c1, c2, misfit", [
    (2, 0.0, 1.0, 0.0), (3, 2.532, -1.611, 0.05), (4, 3.114, -2.049, 0.05),
    (7, 6.942, -6.304, 0.07), (8, 7.366, -6.737, 0.14), (15, 11.822, -11.858, 0.31),
    (16, 12.098, -12.165, 0.33), (32, 17.096, -18.004, 0.67), (127, 27.554, -30.374, 1.43),
    (255, 33.020, -36.877, 1.83), (256, 33.048, -36.910, 1.83)])
def test_refit_agrees_with_an_independent_one(levels, c1, c2, misfit):
    assert refit(levels) == pytest.approx((c1, c2, misfit), rel=1e-3, abs=6e-3)


def test_default_coefficients_are_the_published_ones_or_our_fit():
    rows = coefficient_table()
    assert [row.levels for row in rows] == sorted({*(2 ** bits for bits in range(1, 9)),
                                                   *(2 ** bits - 1 for bits in range(2, 9))})
    for row in rows:
        assert row.levels == 2 ** row.bits - row.zero_aligned
        own = IBM_COEFFICIENTS.get(row.levels)
        assert COEFFICIENTS[row.levels] == (own or pytest.approx(row.refit, abs=6e-4))
        assert row.published == {name: column[row.levels] for name, column in PUBLISHED.items()
                                 if row.levels in column}


def test_refit_is_near_the_published_pair_of_two_bits():
    c1, c2, _ = refit(4)
    assert (c1, c2) == pytest.approx(IBM_COEFFICIENTS[4], rel=0.01)


@pytest.mark.parametrize("density, error", [
    ("Gauss", 0.1189), ("Laplace", 0.1964), ("uniform", 0.0629), ("logistic", 0.1519)])
def test_relative_error_of_two_bits(density, error):
    weight = quantiles(density, 20_000)
    lost = (SawbWeight(2)(weight) - weight).square().sum() / weight.square().sum()
    assert float(lost) == pytest.approx(error, abs=6e-4)


def test_configuration_hands_its_options_on():
    config = PactSawbConfig(weight_bits=3, activation_bits=4, zero_aligned=True, per_channel=True,
                            plus=True, alpha=2.5, clip_decay=1e-4)
    weights, activations = config.weight_quantizer(normal(3, 4)), config.activation_quantizer()
    assert (weights.bits, weights.levels, weights.per_channel, weights.plus) == (3, 7, True, True)
    assert isinstance(activations, PactActivation) and activations.plus
    assert (activations.bits, activations.alpha.item(), activations.clip_decay) == (4, 2.5, 1e-4)


@pytest.mark.parametrize("name, bits, plus", [
    ("pact-sawb-w2a2", 2, False), ("pact-sawb-w3a3", 3, False), ("pact-sawb-w4a4", 4, False),
    ("pact-sawb-plus-w2a2", 2, True)])
def test_named_schemes(name, bits, plus):
    assert SCHEMES[name] == PactSawbConfig(weight_bits=bits, activation_bits=bits, plus=plus)


@pytest.mark.parametrize("make, message", [
    (lambda: SawbWeight(9), "SawbWeight bits must be an integer from 1 to 8, not 9"),
    (lambda: SawbWeight(1, zero_aligned=True),
     "zero-aligned SawbWeight bits must be an integer from 2 to 8, not 1"),
    (lambda: SawbWeight(2, coefficients=(1.0,)),
     "SawbWeight coefficients must be two finite numbers, not (1.0,)"),
    (lambda: SawbWeight(2, coefficients=(1.0, float("nan"))),
     "SawbWeight coefficients must be two finite numbers, not (1.0, nan)"),
    (lambda: SawbWeight(2).planes(torch.zeros(0, 3)),
     "weight must not be empty, but has shape (0, 3)"),
    (lambda: SawbWeight(2).planes(torch.tensor([[1.0, float("inf")]])),
     "weight must be finite, not inf"),
])
def test_options_out_of_range(make, message):
    with pytest.raises(ValueError) as caught:
        make()
    assert str(caught.value) == message
