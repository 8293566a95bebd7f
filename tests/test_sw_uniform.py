import numpy as np
import pytest
import torch

from tests.single import SingleLayer
from xnorloom.sw.bitplanes import BitPlanes
from xnorloom.sw.quantizers.uniform import UniformActivation, fixed_point, unit_interval


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("half", ["up", "down"])
def test_unit_interval(bits, half):
    quantizer, top = unit_interval(bits, half), 2 ** bits - 1
    x = torch.linspace(-0.5, 1.5, 1001)
    steps = x.double().clamp(0, 1) * top
    wanted = torch.floor(steps + 0.5) if half == "up" else torch.ceil(steps - 0.5)
    np.testing.assert_allclose(quantizer(x), wanted / top, rtol=1e-6)
    np.testing.assert_allclose(quantizer.codebook().reconstruct(), np.arange(top + 1) / top,
                               atol=1e-15)


def test_a_half_goes_where_it_is_told():
    x = torch.tensor([0.5, 1.5, 2.5])
    assert UniformActivation(2, 1, "up").encode(x).tolist() == [1, 2, 3]
    assert UniformActivation(2, 1, "down").encode(x).tolist() == [0, 1, 2]
    x = torch.tensor([-1.75, -0.25, 0.25])
    assert fixed_point(3, 1, signed=True)(x).tolist() == [-1.5, 0.0, 0.5]


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("fraction_bits", [-1, 0, 3])
@pytest.mark.parametrize("signed", [True, False])
def test_fixed_point_values(bits, fraction_bits, signed):
    quantizer = fixed_point(bits, fraction_bits, signed)
    low = -2 ** (bits - 1) if signed else 0
    levels = np.arange(low, low + 2 ** bits) * 2.0 ** -fraction_bits
    np.testing.assert_array_equal(quantizer.codebook().reconstruct(), levels)
    assert quantizer.pad_value() == 0.0
    values = torch.from_numpy(levels)
    assert torch.equal(quantizer.encode(values), torch.arange(2 ** bits))
    assert torch.equal(quantizer(values), values)


def test_gradient_passes_within_the_range():
    x = torch.tensor([-2.5, -2.0, 0.3, 1.5, 1.6], requires_grad=True)
    fixed_point(3, 1, signed=True)(x).backward(torch.arange(1.0, 6.0))
    assert x.grad.tolist() == [0.0, 2.0, 3.0, 4.0, 0.0]
    x = torch.tensor([-0.1, 0.0, 0.4, 1.0, 1.1], requires_grad=True)
    unit_interval(2)(x).backward(torch.arange(1.0, 6.0))
    assert x.grad.tolist() == [0.0, 2.0, 3.0, 4.0, 0.0]


@pytest.mark.parametrize("bits", [1, 2, 3, 4])
def test_a_signed_zero_contributes_exactly_nothing_in_the_machine(bits):
    rng = np.random.default_rng(bits)
    weights = BitPlanes(rng.integers(0, 2, size=(2, 3, 5, 3, 3)), rng.uniform(0.1, 1, (2, 3, 9)),
                        grouping="pixel")
    quantizer = fixed_point(bits, 1, signed=True)
    layer = SingleLayer("a", weights, quantizer.codebook(), pad_code=quantizer.pad_code,
                        padding=(1, 1))
    zeros = torch.full((1, 5, 4, 4), quantizer.pad_code)
    assert not layer(zeros).any()
    codes = torch.from_numpy(rng.integers(0, 2 ** bits, (2, 5, 4, 4)))
    wanted = torch.nn.functional.conv2d(quantizer.decode(codes, torch.float64),
                                        torch.from_numpy(weights.reconstruct()), padding=1)
    np.testing.assert_allclose(layer(codes), wanted, atol=1e-3 * float(wanted.abs().max()))


@pytest.mark.parametrize("make, message", [
    (lambda: fixed_point(9, 0), "UniformActivation bits must be an integer from 1 to 8, not 9"),
    (lambda: UniformActivation(2, 0),
     "UniformActivation resolution must be positive and finite, not 0"),
    (lambda: UniformActivation(2, 3, "even"),
     "UniformActivation half must be one of up, down, not 'even'"),
])
def test_options_out_of_range(make, message):
    with pytest.raises(ValueError) as caught:
        make()
    assert str(caught.value) == message
