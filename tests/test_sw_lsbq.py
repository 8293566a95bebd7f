import itertools

import numpy as np
import pytest
import torch

from sw.quantizers.lsbq import LsbqActivation, LsbqWeight, least_squares_scales, residual_signs


def optimum_by_enumeration(magnitudes):
    """Smallest squared error over all splits of the magnitudes into two clusters."""
    ordered = np.sort(magnitudes)
    return min(sum(((part - part.mean()) ** 2).sum() for part in np.split(ordered, [cut])
                   if len(part))
               for cut in range(len(ordered)))


def error_of(rows, scales):
    signs = residual_signs(rows, scales.unsqueeze(2))
    values = torch.where(signs, scales.unsqueeze(2), -scales.unsqueeze(2)).sum(dim=0)
    return ((rows - values) ** 2).sum(dim=1)


ROWS = {
    "gauss": np.random.default_rng(0).normal(size=(20, 37)),
    "integers": np.random.default_rng(1).integers(-4, 5, size=(20, 12)).astype(float),
    "outlier": np.concatenate([np.random.default_rng(2).normal(size=(5, 30)),
                               np.full((5, 1), 100.0)], axis=1),
    "one cluster far": np.tile([0.0, 5, 5, 5, 5], (2, 1)),
    "two tight clusters": np.array([[1, 1 + 1e-9, 1, 9, 9, 9.0], [1, 1, 1, 9, 9, 9.0]]),
    "constant": np.array([[0.1] * 7, [0.0] * 7, [-3.0] * 7]),
    "two": np.array([[1.0, -4.0], [2.0, 2.0]]),
    "single": np.array([[-2.5], [0.0]]),
}


@pytest.mark.parametrize("name", ROWS)
def test_two_planes_reach_the_least_squares_optimum(name):
    rows = torch.from_numpy(ROWS[name])
    scales = least_squares_scales(rows, 2)
    assert (scales[0] >= scales[1]).all() and (scales[1] >= 0).all()
    best = [optimum_by_enumeration(np.abs(row)) for row in ROWS[name]]
    np.testing.assert_allclose(error_of(rows, scales), best, rtol=1e-9, atol=1e-15)


def test_no_other_signs_and_scales_do_better():
    rng = np.random.default_rng(3)
    signs = np.array(list(itertools.product([-1.0, 1.0], repeat=4)))
    for _ in range(5):
        x = rng.normal(size=4)
        best = np.inf
        for first, second in itertools.product(signs, repeat=2):
            plane = np.stack([first, second], axis=1)
            fitted = plane @ np.linalg.lstsq(plane, x, rcond=None)[0]
            best = min(best, ((x - fitted) ** 2).sum())
        mine = float(error_of(torch.from_numpy(x[None]),
                              least_squares_scales(torch.from_numpy(x[None]), 2))[0])
        assert mine == pytest.approx(best, rel=1e-9, abs=1e-12)


def test_constants_of_a_gaussian():
    x = torch.distributions.Normal(0, 1).icdf((torch.arange(200_000).double() + 0.5) / 200_000)
    assert least_squares_scales(x[None], 1)[0, 0] == pytest.approx(0.7979, abs=1e-4)
    assert least_squares_scales(x[None], 2)[:, 0].tolist() == pytest.approx([0.9816, 0.5288],
                                                                           abs=2e-4)


def test_constant_rows_have_no_second_plane():
    assert least_squares_scales(torch.full((1, 7), -0.1), 2)[:, 0].tolist() == [
        pytest.approx(0.1), 0.0]


def test_ties_go_up():
    quantizer = stored(2, 2.0, 0.5)
    x = torch.tensor([-2.5, -2.0, -1.999, -0.001, 0.0, 1.999, 2.0, 3.0])
    assert quantizer.encode(x).tolist() == [0, 1, 1, 1, 2, 2, 3, 3]


def test_clip_comes_before_the_code():
    quantizer = stored(2, 2.5, 0.5, clamp=2.0)
    assert quantizer.encode(torch.tensor([-9.0, 9.0])).tolist() == [1, 2]


def stored(bits, *scales, **options):
    quantizer = LsbqActivation(bits, **{"clamp": 4.0, **options})
    quantizer.scales.copy_(torch.tensor(scales))
    quantizer.batches += 1
    return quantizer.eval()


@pytest.mark.parametrize("scales", [(0.7,), (0.9, 0.4), (0.5, 0.5), (0.5, 0.0)])
def test_codebook_rises_and_is_what_forward_puts_out(scales):
    quantizer = stored(len(scales), *scales)
    book = quantizer.codebook()
    levels = book.reconstruct()
    assert (np.diff(levels) >= 0).all() and book.offset == 0
    assert not book.planes[:, 0].any() and book.planes[:, -1].all()
    x = torch.linspace(-3, 3, 601)
    assert torch.equal(quantizer(x), torch.from_numpy(levels).float()[quantizer.encode(x)])
    assert levels[quantizer.pad_code] == max(levels[levels <= 0])


def test_gradient_is_that_of_the_paper():
    v1, v2, g = 0.8, 0.3, 1.7
    x = torch.tensor([-3.0, -1.9, -1.5, -0.5, 0.0, 0.4, 1.0, 1.2, 1.9, 2.5], requires_grad=True)
    stored(2, v1, v2, clamp=2.0)(x).backward(torch.full_like(x, g))
    expected = []
    for value in x.tolist():
        outer = v1 * (abs(value) <= 1)
        inner = v2 * (abs(value - v1 * (1 if value >= 0 else -1)) <= 1) * (1 - outer)
        expected.append(g * (outer + inner) * (abs(value) <= 2))
    np.testing.assert_allclose(x.grad, expected, rtol=1e-6)


def test_scales_are_a_moving_average_over_samples():
    quantizer = LsbqActivation(2, clamp=10.0, momentum=0.75)
    batches = torch.randn(2, 3, 4, 5, 5, generator=torch.Generator().manual_seed(0))
    means = [least_squares_scales(batch.flatten(1), 2).mean(dim=1) for batch in batches]
    quantizer(batches[0])
    assert torch.allclose(quantizer.scales, means[0].float())
    trained = quantizer(batches[1])
    assert torch.allclose(quantizer.scales, (0.75 * means[0] + 0.25 * means[1]).float())
    before = quantizer.scales.clone()
    assert torch.equal(quantizer.eval()(batches[1]), trained)
    assert torch.equal(quantizer.scales, before)


def test_some_samples_of_a_batch_are_enough():
    quantizer = LsbqActivation(1, clamp=10.0, samples=2)
    quantizer(torch.tensor([[1.0, -1.0], [2.0, 4.0], [9.0, 9.0]]))
    assert quantizer.scales.tolist() == [2.0]


def test_batch_scales_in_training_are_per_sample():
    quantizer = LsbqActivation(1, clamp=10.0, batch_scales_in_training=True)
    x = torch.tensor([[1.0, -3.0], [10.0, 10.0]])
    assert quantizer(x).tolist() == [[2.0, -2.0], [10.0, 10.0]]
    assert quantizer.scales.tolist() == [6.0]


def test_no_scales_before_the_first_batch():
    with pytest.raises(ValueError, match="^LsbqActivation has no stored scales; run a batch in "
                                         "training mode$"):
        LsbqActivation(2).eval()(torch.zeros(3))


@pytest.mark.parametrize("bits", [1, 2])
@pytest.mark.parametrize("shape", [(6, 5, 3, 3), (4, 7), (3, 1)])
def test_weight_planes_reconstruct_the_float_weight(bits, shape):
    quantizer = LsbqWeight(bits)
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(1), requires_grad=True)
    planes = quantizer.planes(weight)
    quantized = quantizer(weight)
    assert planes.scales.shape == (bits, shape[0], 1)
    np.testing.assert_array_equal(planes.reconstruct().reshape(shape).astype(np.float32),
                                  quantized.detach())
    quantized.sum().backward()
    if bits == 1:
        scale = weight.detach().flatten(1).abs().mean(dim=1).reshape(-1, *[1] * (len(shape) - 1))
        assert torch.allclose(weight.grad, scale * (weight.detach().abs() <= 1))


def test_each_channel_has_its_own_scale():
    weight = torch.stack([torch.full((2, 3, 3), 0.5), torch.full((2, 3, 3), -4.0)])
    assert LsbqWeight(1).planes(weight).scales[0, :, 0].tolist() == [0.5, 4.0]


@pytest.mark.parametrize("make, message", [
    (lambda: LsbqWeight(3), "LsbqWeight bits must be an integer from 1 to 2, not 3"),
    (lambda: LsbqActivation(True), "LsbqActivation bits must be an integer from 1 to 2, not True"),
    (lambda: LsbqActivation(clamp=0), "LsbqActivation clamp must be positive, not 0"),
    (lambda: LsbqActivation(samples=0),
     "LsbqActivation samples must be a positive integer or None, not 0"),
    (lambda: LsbqActivation(momentum=2), "LsbqActivation momentum must be from 0 to 1, not 2"),
])
def test_options_out_of_range(make, message):
    with pytest.raises(ValueError) as caught:
        make()
    assert str(caught.value) == message
