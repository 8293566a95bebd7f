"""Checks of the oracles of SYQ."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.single import SingleLayer
from xnorloom.sw.quantizers.planes import unsigned_codebook
from xnorloom.sw.quantizers.syq import SyqWeight, syq_codes
from xnorloom.sw.quantizers.uniform import fixed_point, unit_interval

MODES = {"bin": "binary", "tern": "ternary"}


def to_kernel(array):
    """A TensorFlow weight, input and output channels last, as torch has it."""
    return torch.from_numpy(np.ascontiguousarray(np.transpose(array, (3, 2, 0, 1))))


def with_scales(kernel, subgroup, alpha, *options):
    """A quantizer with given scales; a kernel of one pixel or row has one scale whatever it is
    called."""
    alpha = torch.as_tensor(np.ravel(alpha))
    quantizer = SyqWeight(kernel, "layer" if len(alpha) == 1 else subgroup, *options)
    with torch.no_grad():
        quantizer.alpha.copy_(alpha)
    return quantizer


def check_weights(case):
    kernel = to_kernel(case["W_hwio"])
    for name in case.matching(r"alpha_init_(pixel|row|layer)"):
        wanted = np.ravel(case[name[0]])
        quantizer = SyqWeight(kernel, "layer" if len(wanted) == 1 else name[1])
        np.testing.assert_allclose(quantizer.alpha.detach(), wanted, rtol=1e-5)
    for name in case.matching(r"ref_eta([\d.]+)_(bin|tern)_code"):
        codes, wanted = syq_codes(kernel, MODES[name[2]], float(name[1])), to_kernel(case[name[0]])
        # A binary zero: 0 for the reference, which no machine plane can say; 1 for us.
        zero = (kernel == 0) & (name[2] == "bin")
        assert torch.equal(codes, torch.where(zero, 1, wanted))
    for name in case.matching(r"((?:peer|ref)_(pixel|row|layer)_eta([\d.]+)_(bin|tern))_wq"):
        check_quantizer(case, kernel, name[1], name[2], float(name[3]), MODES[name[4]])


def check_quantizer(case, kernel, prefix, subgroup, eta, mode):
    quantizer = with_scales(kernel, subgroup, case[f"alpha_{subgroup}"], mode, eta)
    above, upstream = kernel.abs() > eta * kernel.abs().max(), to_kernel(case["g"])
    inputs = kernel.clone().requires_grad_()
    values = quantizer(inputs)
    # The peer's binary weights up to the threshold stay +-1 without a scale, with no gradient to
    # it: a fault. Ours have a scale, so the gradient to it is compared without them.
    values.backward(upstream if mode == "ternary" else upstream * above)
    wq, slope = to_kernel(case[f"{prefix}_wq"]), to_kernel(case[f"{prefix}_dW"])
    ours, grads = values.detach(), inputs.grad
    if mode == "binary":
        np.testing.assert_array_equal(wq[~above], kernel.sign()[~above])
        assert torch.equal(slope[~above].to(upstream.dtype), upstream[~above])
        ours, grads, wq, slope = (each[above] for each in (ours, grads, wq, slope))
    np.testing.assert_allclose(ours, wq, rtol=1e-5)
    np.testing.assert_allclose(grads, slope, rtol=1e-5)
    np.testing.assert_allclose(quantizer.alpha.grad, np.ravel(case[f"{prefix}_dalpha"]), rtol=1e-5,
                               atol=1e-6 * float(upstream.abs().sum()))


def check_activations(case):
    x, upstream = torch.from_numpy(case["x"]), torch.from_numpy(case["g"])
    for name in case.matching(r"peer_relu01_k(\d+)_y"):
        bits = int(name[1])
        steps = x.double().clamp(0, 1) * (2 ** bits - 1)
        gap = (steps % 1 - 0.5).abs()
        # So near a half float32 may round the other way; on the half itself the rule decides.
        sure = (gap == 0) | (gap > 1e-6 * 2 ** bits)
        np.testing.assert_allclose(unit_interval(bits)(x)[sure], case[name[0]][sure], rtol=1e-6)
    for name in case.matching(r"(peer_fixed_k(\d+)_f(\d+)_([su]))_y"):
        inputs = x.clone().requires_grad_()
        values = fixed_point(int(name[2]), int(name[3]), signed=name[4] == "s")(inputs)
        values.backward(upstream)
        np.testing.assert_array_equal(values.detach(), case[name[0]])
        np.testing.assert_array_equal(inputs.grad, case[f"{name[1]}_dx"])


def check_convolution(case):
    kernel, wanted = to_kernel(case["W"]), to_kernel(case["code"])
    stride, step = int(case["stride"]), float(case["act_scale"])
    mode, eta = ("binary", 0.0) if wanted.all() else ("ternary", threshold(kernel, wanted))
    codes = syq_codes(kernel, mode, eta)
    assert torch.equal(codes, wanted)
    x = torch.from_numpy(case["x_uint2"]).permute(2, 0, 1)[None]
    partial = to_pixels(case["partial_int"])
    for row, column in np.ndindex(*kernel.shape[2:]):
        one = torch.zeros_like(codes)
        one[:, :, row, column] = codes[:, :, row, column]
        assert torch.equal(F.conv2d(x, one, stride=stride)[0], partial[row, column])
    activations = unsigned_codebook(2, step)
    values = torch.from_numpy(activations.reconstruct())[x]
    for subgroup, field in (("pixel", "y"), ("row", "y_row"), ("layer", "y_layer")):
        quantizer = SyqWeight(kernel, subgroup, mode, eta)
        if subgroup == "pixel":
            np.testing.assert_allclose(quantizer.alpha.detach(), case["alpha_pixel"].ravel())
        ours, y = F.conv2d(values, quantizer(kernel), stride=stride), to_pixels(case[field])[None]
        np.testing.assert_allclose(ours.detach(), y, rtol=1e-12, atol=1e-12)
        snapped = SingleLayer("conv", quantizer.planes(kernel), activations,
                              stride=(stride, stride))
        np.testing.assert_allclose(snapped(x), y, atol=1e-3 * float(y.abs().max()))


def threshold(kernel, codes):
    """A threshold, in units of ``max |w|``, between the weights whose code is 0 and the others."""
    magnitudes = kernel.abs()
    middle = (magnitudes[codes == 0].max() + magnitudes[codes != 0].min()) / 2
    return float(middle / magnitudes.max())


def to_pixels(array):
    """An array whose last axes are height, width and channels, as torch has it."""
    return torch.from_numpy(np.moveaxis(array, -1, -3).copy())


CHECKS = {"syq_acts": check_activations, "syq_conv": check_convolution,
          "syq_weights": check_weights}
