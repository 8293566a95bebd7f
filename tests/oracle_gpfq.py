"""What must hold of the GPFQ oracles: our quantized weights, errors and corrections are theirs.

Where a rounding argument lies closer to a tie than ``MARGIN`` steps, either level is right, and the
errors are compared instead.
"""

import numpy as np
import pytest
import torch
from torch import nn

from xnorloom.study.decay import decay_slope, error_decay
from xnorloom.sw.graph.graph import Node
from xnorloom.sw.quantizers.alphabet import Alphabet
from xnorloom.sw.quantizers.gpfq import gpfq, radius
from xnorloom.sw.quantizers.gram import GramSums
from xnorloom.sw.training.calibrate import _patches

MARGIN = 1e-3
SPARSITY = {"None": None, "L1": "soft", "L0": "hard"}


def tensor(array):
    return torch.from_numpy(np.asarray(array, dtype=np.float64))


def bits_of(half):
    bits = int(half).bit_length()
    assert 2 ** (bits - 1) == half
    return bits


def errors(w, q, x, xt, groups):
    """``X w - Xt q``, shape ``(groups, samples, neurons of a group)``."""
    x, xt = (each.unflatten(1, (groups, -1)).transpose(0, 1) for each in (x, xt))
    w, q = (each.unflatten(0, (groups, -1)).mT for each in (w, q))
    return x @ w - xt @ q


def norms(error):
    """Mean over groups of the Frobenius norm."""
    return float(error.flatten(1).norm(dim=1).mean())


def same_levels(case, got, w, x, xt, groups=1):
    """Whether our levels are those of the reference, as they must be away from ties."""
    theirs, peer = (tensor(case[field]).reshape(got.shape) for field in ("ref_Q", "peer_Q"))
    clear = case["ref_min_margin"] > MARGIN
    # The radius of the oracles is the peer's, in float32.
    other, differing = (int((~torch.isclose(got, each, rtol=1e-5, atol=1e-7)).sum())
                        for each in (theirs, peer))
    assert not (clear and other)
    ours, reference, public = (norms(errors(w, q, x, xt, groups)) for q in (got, theirs, peer))
    assert ours == pytest.approx(reference, rel=1e-3)
    assert not ours > public * (1 + 1e-3)
    assert other or differing == case["mismatch"]
    return not other


def check_linear(case):
    w, x, xt = (tensor(case[field]) for field in ("W", "X", "Xq"))
    groups, step = int(case["groups"]), float(case["delta"])
    sparsity = SPARSITY[str(case["reg"])]
    alphabet = Alphabet(bits_of(case["K"]), False, sparsity, float(case["lamb"]))
    reach = float(case["scalar_C"] * case["rad"])
    assert radius(w, float(case["percentile"])) == pytest.approx(float(case["rad"]), rel=1e-6)
    assert alphabet.step(reach) == pytest.approx(step, rel=1e-9)
    assert case["step_arg"] == pytest.approx(case["scalar_C"] / case["K"])

    sums = GramSums(w.shape[1], groups)
    sums.add(x, xt)
    got = gpfq(w, sums.gram, sums.cross, alphabet, step)
    error, output = errors(w, got, x, xt, groups), errors(w, 0 * w, x, xt, groups)
    energy = float(output.square().sum())
    assert sums.squared_error(w, got, energy) == pytest.approx(float(error.square().sum()))
    relative = float((error.flatten(1).norm(dim=1) / output.flatten(1).norm(dim=1)).mean())
    assert not norms(error) > case["peer_err"] * (1 + 1e-3)
    assert not relative > case["peer_relerr"] * (1 + 1e-3)
    if same_levels(case, got, w, x, xt, groups):
        u = error.transpose(1, 2).flatten(0, 1)
        np.testing.assert_allclose(u, case["ref_U"], rtol=1e-6, atol=1e-9)
        wanted = case.get("ref_bias_correction", u.mean(dim=1))
        np.testing.assert_allclose(sums.mean_error(w, got), wanted, rtol=1e-6, atol=1e-9)
    rounded = torch.from_numpy(Alphabet(alphabet.bits).round(w.numpy(), step))
    plain = errors(w, rounded, x, xt, groups).norm() / output.norm()
    assert case.get("ref_msq_relerr", plain) == pytest.approx(float(plain), rel=1e-5, nan_ok=True)


def check_conv(case):
    kernel = tensor(case["W"])
    outputs, inputs, *size = kernel.shape
    x, xt = tensor(case["x"]), tensor(case["xq"])

    def patches(image, stride):
        pad = int(case["padding"])
        node = Node("conv", "convolution", ("x",), (), {
            "kernel": tuple(size), "stride": (int(stride),) * 2, "dilation": (1, 1)})
        return _patches(node, nn.functional.pad(image, (pad, pad, pad, pad)))

    # Our calibration unfolds with the stride of the layer: then patches are what it computes.
    stride = int(case["conv_stride_of_layer"])
    computed = nn.functional.conv2d(x, kernel, stride=stride, padding=int(case["padding"]))
    torch.testing.assert_close((patches(x, stride) @ kernel.flatten(1).T).mT,
                               computed.flatten(2))
    # The oracle's patches do not overlap.
    rows, rows_t = (patches(each, case["unfold_stride"]).flatten(0, 1) for each in (x, xt))
    np.testing.assert_array_equal(rows, case["peer_patches"])
    rows, rows_t = (each[torch.from_numpy(case["patch_index"])] for each in (rows, rows_t))
    sums = GramSums(rows.shape[1])
    sums.add(rows, rows_t)
    w, alphabet = kernel.flatten(1), Alphabet(bits_of(case["K"]))
    step = alphabet.step(float(case["C"]) * radius(w))
    got = gpfq(w, sums.gram, sums.cross, alphabet, step)
    same_levels(case, got, w, rows, rows_t)


def check_slope(case):
    column = {str(name): index for index, name in enumerate(case["columns"])}
    table = case["table"]
    settings = table[:, [column["K"], column["C"], column["m"]]]
    for half, scalar, samples in np.unique(settings, axis=0):
        rows = table[(settings == (half, scalar, samples)).all(axis=1)]
        sizes = rows[:, column["N"]].astype(int)
        ours = error_decay(sizes, int(samples), bits_of(half), scalar)
        for mine, row in zip(ours, rows, strict=True):
            # Eight neurons scatter: a median of theirs lies within a factor of two of ours.
            assert 0.5 < row[column["rel_sq_err_gpfq_median8"]] / mine.gpfq < 2
            assert 0.5 < row[column["rel_sq_err_msq_median8"]] / mine.msq < 2
            if mine.inputs >= 4 * samples:
                assert mine.gpfq * mine.inputs / samples == pytest.approx(mine.msq, rel=0.25)
        if len(sizes) >= 4 and sizes.min() >= 4 * samples:
            assert decay_slope(ours) == pytest.approx(-1.0, abs=0.1)


CHECKS = {"gpfq_linear": check_linear, "gpfq_conv": check_conv, "gpfq_slope": check_slope}
