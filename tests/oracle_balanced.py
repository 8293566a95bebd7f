"""Checks of the oracles of balanced quantization, and of its bit convolution."""

import numpy as np
import torch

from tests.single import SingleLayer
from xnorloom.sw.bitplanes import BitPlanes
from xnorloom.sw.quantizers.balanced import BalancedWeight, equalize
from xnorloom.sw.quantizers.planes import even_planes, unsigned_codebook

# The peer does not let a scale fall below this one.
PEER_FLOOR = 1e-8


def check_balanced(case):
    weight = torch.from_numpy(case["w"]).double()
    for name in case.matching(r"(ref_(mean|median)_k(\d+))_we"):
        check_reference(case, weight, name[1], int(name[3]), name[2])
    for name in case.matching(r"peer_k(\d+)_we"):
        check_peer(case, weight, int(name[1]))
    for name in case.matching(r"peer_meanabs25_k(\d+)_wq"):
        values = BalancedWeight(int(name[1]), scale="mean")(weight.reshape(1, -1)).flatten()
        far = ~np.isclose(case[name[0]], values, rtol=1e-5, atol=PEER_FLOOR)
        # In float32 a weight beside a mean may fall on its other side.
        assert far.sum() <= len(weight) // 500


def check_reference(case, weight, prefix, bits, threshold):
    equalized = equalize(weight, bits, threshold)
    leaves, codes = equalized.leaves.numpy(), equalized.codes.numpy()
    np.testing.assert_array_equal(leaves, case[f"{prefix}_leaf"])
    np.testing.assert_array_equal(codes, case[f"{prefix}_code"])
    np.testing.assert_allclose(equalized.positions, case[f"{prefix}_we"], rtol=1e-12, atol=1e-15)
    lowest = np.array([weight[leaves == leaf].min() for leaf in leaves])
    np.testing.assert_array_equal(leaves - codes, (weight.numpy() == lowest) & (leaves > 0))
    values = BalancedWeight(bits, threshold, "max")(weight.reshape(1, -1)).flatten()
    np.testing.assert_allclose(values, case[f"{prefix}_wq"], rtol=1e-12, atol=1e-15)


def check_peer(case, weight, bits):
    """The peer works in float32: codes differ where the oracle's author counted that they do."""
    differing = int(case[f"peer_vs_ref_mean_k{bits}_mismatch"])
    inputs = weight.reshape(1, -1).requires_grad_()
    values = BalancedWeight(bits, scale="max", gradient="rounding")(inputs)
    values.backward(torch.from_numpy(case["g"]).double().reshape(1, -1))
    far = ~np.isclose(case[f"peer_k{bits}_wq"], values.detach()[0],
                      rtol=0, atol=1e-5 * float(weight.detach().abs().max()))
    assert far.sum() == differing
    # A weight in another leaf moves that leaf's ends, and so its neighbours' positions and slopes.
    same = np.isclose(case[f"peer_k{bits}_we"], equalize(weight, bits).positions, atol=1e-5)
    assert same.all() or differing
    np.testing.assert_allclose(case[f"peer_k{bits}_dw"][same], inputs.grad[0][same], rtol=1e-4)


def check_bit_convolution(case):
    (kx, ky), x = (int(case["kx"]), int(case["ky"])), case["X"]
    book = unsigned_codebook(kx, 1 / (2 ** kx - 1))
    codes = torch.from_numpy(case["Y"]).T[:, :, None, None]
    planes, scales = even_planes(codes, ky, torch.tensor(float(case["scale"])).double())
    ours, theirs = book.planes[:, x].astype(np.int64), planes[..., 0, 0].numpy().astype(np.int64)
    mismatches = (ours[:, None, :, None] != theirs[None, :, None]).sum(axis=-1)
    ones = ours.sum(axis=2)[:, None, :, None] + theirs.sum(axis=2)[None, :, None]
    # What the machine counts determines the peer's count; our plane 0 is the most significant.
    both = ((ones - mismatches) // 2)[::-1, ::-1]
    np.testing.assert_array_equal(both, case["popcount_and"])
    powers = np.arange(kx)[:, None, None, None] + np.arange(ky)[:, None, None]
    np.testing.assert_array_equal((both << powers).sum(axis=(0, 1)), case["dot"])
    weights = BitPlanes(planes.numpy(), scales.numpy())
    exact = book.reconstruct()[x] @ weights.reconstruct()[..., 0, 0].T
    np.testing.assert_allclose(exact, case["real_dot"], rtol=1e-12, atol=1e-12)
    snapped = SingleLayer("dot", weights, book)(torch.from_numpy(x))
    np.testing.assert_allclose(snapped, exact, atol=1e-3 * np.abs(exact).max())


CHECKS = {"balanced": check_balanced, "bitdot_unsigned": check_bit_convolution}
