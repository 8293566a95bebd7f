import numpy as np
import pytest
import torch

from sw.quantizers.sawb import COEFFICIENTS, SawbWeight, sawb_clip


def normal(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def test_clip_is_the_published_fit():
    weight = normal(16, 8, 3, 3)
    rms, mean = float(weight.double().square().mean().sqrt()), float(weight.double().abs().mean())
    assert float(sawb_clip(weight, 2)) == pytest.approx(3.12 * rms - 2.064 * mean, rel=1e-12)
    assert float(sawb_clip(normal(100_000), 2)) == pytest.approx(1.494, rel=0.03)


def test_levels_and_thresholds_of_two_bits():
    weight = normal(8, 4, 3, 3)
    alpha = float(sawb_clip(weight, 2))
    quantized = SawbWeight(2)(weight).double().numpy() / alpha
    x = weight.double().numpy() / alpha
    wanted = np.select([x < -2 / 3, x < 0, x < 2 / 3], [-1, -1 / 3, 1 / 3], 1)
    np.testing.assert_allclose(quantized, wanted, atol=1e-6)


def test_zero_weight_rounds_up():
    weight = torch.tensor([[0.0, 1.0, -1.0]])
    assert float(SawbWeight(2)(weight)[0, 0]) == pytest.approx(float(sawb_clip(weight, 2)) / 3)


@pytest.mark.parametrize("bits", [*COEFFICIENTS, 8])
@pytest.mark.parametrize("shape", [(6, 5, 3, 3), (4, 7)])
def test_planes_reconstruct_the_float_weight(bits, shape):
    weight = normal(*shape)
    planes = SawbWeight(bits).planes(weight)
    assert planes.scales.shape == (bits, 1, 1) and planes.offset == 0
    np.testing.assert_allclose(planes.scales[:-1] / planes.scales[1:], 2.0)
    np.testing.assert_array_equal(planes.reconstruct().reshape(shape).astype(np.float32),
                                  SawbWeight(bits)(weight))


def test_gradient_passes_inside_the_clip():
    weight = normal(40, 10).requires_grad_()
    alpha = float(sawb_clip(weight, 2))
    SawbWeight(2)(weight).backward(torch.full_like(weight, 3.0))
    assert torch.equal(weight.grad, 3.0 * (weight.detach().abs() <= alpha))
    assert 0 < int((weight.grad == 0).sum()) < 200


def test_negative_fit_becomes_the_largest_weight():
    weight = torch.full((3, 4), -0.7)
    assert float(sawb_clip(weight, 4)) == pytest.approx(0.7)
    np.testing.assert_allclose(SawbWeight(4)(weight), weight)


def test_all_zero_weights_stay_zero():
    weight = torch.zeros(2, 3, requires_grad=True)
    quantized = SawbWeight(2)(weight)
    quantized.sum().backward()
    assert not quantized.any() and torch.isfinite(weight.grad).all()
    assert not SawbWeight(2).planes(weight).scales.any()


def test_eight_bits_take_the_whole_range():
    assert float(sawb_clip(normal(50, 10), 8)) == float(normal(50, 10).abs().max())


def test_bits_without_coefficients():
    with pytest.raises(ValueError, match="^SawbWeight bits must be one of 1, 2, 3, 4, 5, 8, not "
                                         "6$"):
        SawbWeight(6)
