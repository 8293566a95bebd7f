import numpy as np
import pytest
import torch

from xnorloom.sw.bitplanes import BitPlanes
from xnorloom.sw.quantizers.planes import (
    even_planes,
    midtread_planes,
    odd_planes,
    unsigned_codebook,
)


def reconstruct(bits, scales):
    return BitPlanes(bits.numpy(), scales.numpy()).reconstruct()


@pytest.mark.parametrize("bits", range(1, 9))
def test_even_levels_have_one_plane_a_bit(bits):
    codes = torch.arange(2 ** bits).reshape(1, -1, 1, 1)
    planes, scales = even_planes(codes, bits, torch.tensor(1.5, dtype=torch.float64))
    assert planes.shape == (bits, *codes.shape) and scales.shape == (bits, 1, 1)
    top = 2 ** bits - 1
    np.testing.assert_allclose(reconstruct(planes, scales).ravel(),
                               1.5 * (2 * np.arange(2 ** bits) / top - 1), rtol=1e-15, atol=1e-15)


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("top", [1.5, 0.1, 1e-9, 123.456])
def test_odd_levels_have_one_plane_a_bit_and_an_exact_zero(bits, top):
    largest = 2 ** (bits - 1) - 1
    codes = torch.arange(-largest, largest + 1).reshape(1, -1, 1, 1)
    planes, scales = odd_planes(codes, bits, torch.tensor(top, dtype=torch.float64))
    assert planes.shape == (bits, *codes.shape) and scales.shape == (bits, 1, 1)
    assert (scales[:-1] >= scales[1:]).all()
    values = reconstruct(planes, scales).ravel()
    np.testing.assert_allclose(values, top * np.arange(-largest, largest + 1) / largest, rtol=1e-13)
    assert values[largest] == 0


@pytest.mark.parametrize("bits", range(1, 8))
def test_a_zero_level_costs_one_plane_more(bits):
    half = 2 ** (bits - 1)
    codes = torch.arange(-half, half + 1).reshape(1, -1, 1, 1)
    planes, scales = midtread_planes(codes, bits, torch.tensor(0.25, dtype=torch.float64))
    assert planes.shape == (bits + 1, *codes.shape)
    assert (reconstruct(planes, scales).ravel() == 0.25 * np.arange(-half, half + 1)).all()


def test_scales_may_differ_by_channel_and_group():
    codes = torch.tensor([[1, 0], [-1, 1]]).reshape(2, 1, 2, 1)
    step = torch.tensor([[0.5, 1.0], [2.0, 4.0]], dtype=torch.float64)
    planes, scales = midtread_planes(codes, 1, step)
    values = BitPlanes(planes.numpy(), scales.numpy(), grouping="row").reconstruct()
    assert values.ravel().tolist() == [0.5, 0.0, -2.0, 4.0]


def test_unsigned_code_book():
    assert unsigned_codebook(3, 0.5).reconstruct().tolist() == [0.5 * code for code in range(8)]


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("step", [0.8 / 255, 1 / 3, 1e-9, 123.456])
def test_the_lowest_unsigned_code_is_exactly_zero(bits, step):
    values = unsigned_codebook(bits, step).reconstruct()
    assert values[0] == 0
    np.testing.assert_allclose(values, step * np.arange(2 ** bits), rtol=1e-13)
