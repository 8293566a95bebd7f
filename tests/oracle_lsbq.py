"""What must hold of the oracles of LSBQ and of dot products on planes."""

import re

import numpy as np
import torch

from xnorloom.sw.bitplanes import BitPlanes
from xnorloom.sw.quantizers.least_squares import least_squares_scales, residual_signs
from xnorloom.sw.quantizers.lsbq import LsbqActivation, LsbqWeight
from xnorloom.sw.quantizers.planes import even_planes, unsigned_codebook

PEERS = {"ls2": "ls2", "ls2_skip3": "ls2", "lsT": "ternary", "lsT_skip3": "ternary"}
BRUTE = {"1bit": "ls1", "2bit": "ls2", "ternary": "ternary"}


def quantized(x, scales):
    """Values of x at one set of scales, by a plain loop, in the type of x."""
    bits = residual_signs(torch.from_numpy(x), torch.from_numpy(np.asarray(scales, x.dtype)))
    return np.einsum("k...,k->...", 2.0 * bits.numpy() - 1, np.asarray(scales, x.dtype)
                     ).astype(x.dtype)


def square(x):
    return float((x.astype(np.float64) ** 2).sum())


def error(x, scales):
    return square(x - quantized(x, scales))


def solve(x, method):
    return least_squares_scales(torch.from_numpy(x.reshape(1, -1)), method)[:, 0].numpy()


def through_layer(method, scales, x, g):
    """Output and gradient of an activation with these stored scales and a clip out of reach."""
    quantizer = LsbqActivation(method, clamp=1e30).eval()
    quantizer.scales.copy_(torch.tensor(scales.tolist()))
    quantizer.batches += 1
    x = torch.from_numpy(x).requires_grad_()
    out = quantizer(x)
    out.backward(torch.from_numpy(g))
    return out.detach().numpy(), x.grad.numpy()


def assert_optimal(x, scales, optimum):
    """The squared error is the optimum: in float64, and with all of it rounded to float32."""
    wide = x.astype(np.float64)
    np.testing.assert_allclose(error(wide, scales), optimum, rtol=1e-9, atol=1e-26 * square(x))
    single = square(wide - quantized(x, scales.astype(np.float32)))
    np.testing.assert_allclose(single, optimum, rtol=1e-5, atol=1e-12 * square(x))


def assert_split(x, sizes, optimum, zero_first=False):
    """Clusters of these sizes, in the order of magnitude, have the optimum's squared error."""
    parts = np.split(np.sort(np.abs(x.astype(np.float64))), np.cumsum(sizes)[:-1])
    levels = [0 if zero_first and not i else part.mean() if len(part) else 0
              for i, part in enumerate(parts)]
    found = sum(square(part - level) for part, level in zip(parts, levels, strict=True))
    np.testing.assert_allclose(found, optimum, rtol=1e-9, atol=1e-26 * square(x))


def assert_peer(x, g, case, name, method, scales):
    """Our encoder and gradient at a peer's scales are the peer's."""
    out, dx = through_layer(method, scales, x, g)
    tiny = 1e-6 * np.abs(x).max()
    np.testing.assert_allclose(out, case[f"{name}_xq"], rtol=1e-5, atol=tiny)
    if f"{name}_dx" in case:
        np.testing.assert_allclose(dx, case[f"{name}_dx"], rtol=1e-5, atol=1e-7)
    return out


def check_vectors(case):
    x, g = case["x"], case["g"]
    exact = {name: float(case[f"exact_{key}_sse"])
             for name, key in (("ls1", "ls1"), ("ls2", "ls2"), ("ternary", "lsT"))}
    scales = {name: solve(x, name) for name in exact}
    for name, optimum in exact.items():
        assert_optimal(x, scales[name], optimum)
        # As good on other types: of equally good scales any will do.
        for dtype in (torch.float16, torch.bfloat16):
            rounded = torch.from_numpy(x).to(dtype)
            found = least_squares_scales(rounded[None], name)[:, 0].numpy()
            wide = rounded.double().numpy()
            assert_optimal(wide, found, error(wide, solve(wide, name)))
    assert_optimal(x, case["exact_ls2_v"], error(x.astype(np.float64), scales["ls2"]))
    assert_optimal(x, np.full(2, case["exact_lsT_scale"] / 2),
                   error(x.astype(np.float64), scales["ternary"]))
    low, kept = int(case["exact_ls2_nlow"]), int(case["exact_lsT_nkeep"])
    assert_split(x, [low, len(x) - low], exact["ls2"])
    assert_split(x, [len(x) - kept, kept], exact["ternary"], zero_first=True)

    for bits in range(1, 5):
        names = [f"peer_gf{bits}"] + ["peer_ls1"] * (bits == 1)
        for name in names:
            theirs = case[f"{name}_v"]
            np.testing.assert_allclose(solve(x, f"greedy-{bits}"), theirs, rtol=1e-5,
                                       atol=1e-6 * np.abs(x).max())
            assert_peer(x, g, case, name, f"greedy-{bits}", theirs)
    assert_peer(x, g, case, "peer_at_exact_ls2", "ls2", case["exact_ls2_v"])
    assert_peer(x, g, case, "peer_at_exact_lsT", "ternary", np.full(2, case["exact_lsT_scale"] / 2))
    for peer, method in PEERS.items():
        name = f"peer_{peer}"
        if case[f"{name}_raised"]:
            assert not {f"{name}_v", f"{name}_xq", f"{name}_sse"} & set(case)
            continue
        theirs = np.broadcast_to(case[f"{name}_v"], 2)
        out = assert_peer(x, g, case, name, method, theirs)
        np.testing.assert_allclose(square(x - out.astype(np.float64)), case[f"{name}_sse"],
                                   rtol=1e-5, atol=1e-12 * square(x))
        assert exact[method] <= case[f"{name}_sse"] * (1 + 1e-5) + 1e-12 * square(x)

    tolerance = {"rtol": 1e-9, "atol": 1e-26 * square(x)}
    for name, method in BRUTE.items():
        if f"brute_{name}_sse" in case:
            np.testing.assert_allclose(case[f"brute_{name}_sse"], exact[method], **tolerance)
    if "brute_3bit_sse" in case:
        bound = float(case["brute_3bit_sse"])
        assert bound <= error(x.astype(np.float64), solve(x, "greedy-3")) + tolerance["atol"]
        assert bound <= exact["ls2"] + tolerance["atol"]


def check_rows(case):
    x = case["x"]
    flat = x.reshape(len(x), -1)
    errors = {}
    for method, key in (("ls1", None), ("ls2", "ls2"), ("ternary", "lsT"), ("greedy-3", None)):
        planes = LsbqWeight(method).planes(torch.from_numpy(x))
        values = planes.reconstruct().reshape(flat.shape)
        errors[method] = ((flat.astype(np.float64) - values) ** 2).sum(axis=1)
        one_by_one = np.stack([solve(row, method) for row in flat], axis=1)
        np.testing.assert_allclose(planes.scales[:, :, 0], one_by_one, rtol=1e-13)
        if key:
            np.testing.assert_allclose(errors[method], case[f"exact_{key}_sse"], rtol=1e-9)
    for row, values in enumerate(flat):
        wide = values.astype(np.float64)
        assert_optimal(values, case["exact_ls2_v"][row], errors["ls2"][row])
        assert_optimal(values, np.full(2, case["exact_lsT_scale"][row] / 2),
                       errors["ternary"][row])
        for name, method in (("ls2", "ls2"), ("lsT", "ternary"), ("gf3", "greedy-3")):
            theirs = np.atleast_1d(case[f"peer_{name}_v"][row])
            theirs = np.tile(theirs, 2) if name == "lsT" else theirs
            peer = case[f"peer_{name}_xq"].reshape(flat.shape)[row]
            np.testing.assert_allclose(quantized(values, theirs), peer, rtol=1e-5, atol=1e-6)
            assert errors[method][row] <= square(wide - peer) * (1 + 1e-5)
    for name, method in (("ls1", "ls1"), ("gf3", "greedy-3")):
        ours = LsbqWeight(method).planes(torch.from_numpy(x)).scales[:, :, 0]
        np.testing.assert_allclose(ours.T.squeeze(), case[f"peer_{name}_v"], rtol=1e-5)


class Replayed(LsbqActivation):
    """Takes every sample's scales from an oracle, batch after batch."""

    def sample_scales(self, x):
        return self.given.pop(0)


def replay(case, method, scales, averages):
    """Averages after every batch, outputs in training, and the output of batch 0 in evaluation."""
    quantizer = Replayed(method, clamp=1e30, momentum=float(case["momentum"]), averages=averages)
    quantizer.given = list(torch.from_numpy(scales).double())
    averaged, outputs = [], []
    for batch in torch.from_numpy(case["x"]):
        outputs.append(quantizer(batch).numpy())
        averaged.append(quantizer.scales.numpy().copy())
    quantizer.eval()
    return averaged, outputs, quantizer(torch.from_numpy(case["x"][0])).numpy()


def check_moving_average(case):
    x, theirs = case["x"], case["batch_v"]
    planes = theirs.shape[1]
    ternary = planes == 1 and (case["eval_out_x0"] == 0).any()
    method = "ternary" if ternary else {1: "ls1", 2: "ls2"}.get(planes, f"greedy-{planes}")
    scales = np.repeat(theirs, 2, axis=1) if ternary else theirs
    matches = []
    for averages in ("eval_only", "train_and_eval"):
        averaged, outputs, evaluated = replay(case, method, scales, averages)
        # What is stored does not depend on the mode, nor what is put out in evaluation.
        np.testing.assert_allclose(averaged, np.broadcast_to(case["ema_after"], (len(x), len(
            averaged[0]))), rtol=1e-5)
        np.testing.assert_allclose(evaluated, case["eval_out_x0"], rtol=1e-5, atol=1e-6)
        matches.append(np.allclose(outputs, case["train_out"], rtol=1e-5, atol=1e-6))
    assert any(matches)
    for batch, given in zip(x, scales, strict=True):
        flat = batch.reshape(len(batch), -1)
        ours = LsbqActivation(method).sample_scales(torch.from_numpy(batch)).numpy()
        if method in ("ls1", f"greedy-{planes}"):
            np.testing.assert_allclose(ours, given, rtol=1e-5)
        for row, mine, peer in zip(flat, ours.T, given.T, strict=True):
            wide = row.astype(np.float64)
            assert error(wide, mine) <= error(wide, peer.astype(np.float64)) * (1 + 1e-5)


def sides(tag):
    """Planes and method of activations and weights, from a field's name such as ``a3gfw1``."""
    found = re.fullmatch(r"a(\d+)(gf)?w(\d+)(gf)?", tag)
    for planes, greedy in (found.group(1, 2), found.group(3, 4)):
        yield "ls1" if planes == "1" else f"greedy-{planes}" if greedy else f"ls{planes}"


def encoded(x, method):
    """Signs ``(rows, k, n)`` as bits, and scales ``(rows, k)``."""
    rows = torch.from_numpy(x).double()
    scales = least_squares_scales(rows, method)
    return residual_signs(rows, scales.unsqueeze(2)).numpy().transpose(1, 0, 2), scales.numpy().T


def agreements(a, w):
    """Popcounts of xnor, ``(rows, outputs, planes of a, planes of w)``."""
    return (a[:, None, :, None] == w[None, :, None]).sum(axis=-1)


def check_dot(case):
    x, w = case["X"], case["W"]
    size = x.shape[1]
    for tag in sorted({field[:-len("_dot")] for field in case if re.fullmatch(r"a.*w\d.*_dot",
                                                                             field)}):
        (a_bits, a_scales), (w_bits, w_scales) = (
            encoded(each, method) for each, method in zip((x, w), sides(tag), strict=True))
        np.testing.assert_array_equal(a_bits, case[f"{tag}_planesA"])
        np.testing.assert_array_equal(w_bits, case[f"{tag}_planesW"])
        np.testing.assert_allclose(a_scales, case[f"{tag}_vA"], rtol=1e-12)
        np.testing.assert_allclose(w_scales, case[f"{tag}_vW"], rtol=1e-12)
        counts = agreements(a_bits, w_bits)
        np.testing.assert_array_equal(counts, case[f"{tag}_popcount"])
        dot = np.einsum("boij,bi,oj->bo", 2 * counts - size, a_scales, w_scales)
        np.testing.assert_allclose(dot, case[f"{tag}_dot"], rtol=1e-12, atol=1e-12)

    a_bits, a_scales = encoded(x, "ls2")
    planes = LsbqWeight("ternary").planes(torch.from_numpy(w))
    level, sign, mask = (case[f"ternW_{name}"] for name in ("scale", "sign", "mask"))
    np.testing.assert_allclose(planes.reconstruct()[..., 0, 0],
                               level[:, None] * (2.0 * sign - 1) * mask, rtol=1e-12)
    bits = planes.planes[..., 0, 0].transpose(1, 0, 2)
    # Two planes of half the level: the masked dot product is half the sum of theirs.
    doubled = (2 * agreements(a_bits, bits) - size).sum(axis=-1)
    np.testing.assert_array_equal(doubled, 2 * case["a2wT_int"])
    dot = np.einsum("boi,bi,o->bo", doubled, a_scales, planes.scales[0, :, 0])
    np.testing.assert_allclose(dot, case["a2wT_dot"], rtol=1e-12, atol=1e-12)


def check_bitdot(case):
    x, y, scale = case["X"], case["Y"], float(case["scale"])
    x_bits, y_bits = int(case["kx"]), int(case["ky"])
    size = x.shape[1]
    book = unsigned_codebook(x_bits, 1 / (2 ** x_bits - 1))
    a = book.planes[:, x]
    kernel = torch.from_numpy(y.T[..., None, None])
    bits, scales = even_planes(kernel, y_bits, torch.tensor(scale, dtype=torch.float64))
    weights = BitPlanes(bits.numpy(), scales.numpy())
    w = weights.planes[..., 0, 0]
    ones = a.sum(axis=-1)[:, None, :, None] + w.sum(axis=-1)[None, :, None, :]
    mismatches = (a[:, None, :, None] != w[None, :, None]).sum(axis=-1)
    both = (ones - mismatches) // 2
    # Their planes count from the least significant bit, ours from the most significant one.
    np.testing.assert_array_equal(both[::-1, ::-1], case["popcount_and"])
    powers = 2 ** np.add.outer(np.arange(x_bits)[::-1], np.arange(y_bits)[::-1])
    np.testing.assert_array_equal((both * powers[..., None, None]).sum(axis=(0, 1)), case["dot"])
    # Bipolar dot products of the planes, and the activation's offset times the sum of the weights.
    real = np.einsum("ijmp,i,j->mp", size - 2 * mismatches, book.scales[:, 0, 0],
                     weights.scales[:, 0, 0])
    real = real + book.offset * weights.reconstruct().sum(axis=1)[:, 0, 0]
    np.testing.assert_allclose(real, case["real_dot"], rtol=1e-12, atol=1e-12)


CHECKS = {"lsq_vectors": check_vectors, "lsq_rows": check_rows, "lsq_dot": check_dot,
          "lsq_moving_average": check_moving_average, "bitdot_unsigned": check_bitdot}
