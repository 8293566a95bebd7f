"""The machine's integer grid: a layer's scales and constants as integers.

A layer's value is ``constant + sum over groups, activation planes i, weight planes j of
P[i, j] * (D[i, j] + rho * T[j])``: D is the bipolar dot product, T the sum of a weight plane's
signs, rho the ratio of the activation's offset to the sum of its scales (1 for unsigned codes, 0
for symmetric ones, ``-1 / (2 ** bits - 1)`` for two's complement). With ``D = K - 2 * mismatches``
and ``P = p * 2 ** -(frac_bits + 1)``, p an integer, the machine's scale of a mismatch is -p, and
everything that does not depend on the input goes into an integer bias. Computed from the integers
p, the part of rho makes code 0 of an unsigned format contribute exactly nothing.
"""

import math
from dataclasses import dataclass

import numpy as np

from ..bitplanes import group_count, group_index

__all__ = ["Integers", "SnapError", "to_integers"]


class SnapError(ValueError):
    """A layer that does not fit the machine's integers; the message names it and the bits
    missing."""


@dataclass(frozen=True, eq=False)
class Integers:
    """A layer on its grid: ``acc = biases + sum scales * mismatches``.

    Parameters
    ----------
    frac_bits : int
        The unit of all the others is ``2 ** -frac_bits``.
    scales : int64 array, shape ``(outputs, groups, activation planes, weight planes)``
    biases : int64 array, shape ``(outputs,)``
    low, high : int64 array, shape ``(outputs,)``
        Bounds of the accumulator, and of every partial sum on the way to it.
    """

    frac_bits: int
    scales: np.ndarray
    biases: np.ndarray
    low: np.ndarray
    high: np.ndarray


SHARED_BITS = 11
"""Products in the ratio of a power of two share one rounded base, and its error grows with them.
They share as long as that error stays below ``2 ** -SHARED_BITS`` of the layer's largest product:
with scales of 16 bits, over ratios up to 16."""


def _dyadic(products):
    """First pair of the family of every plane pair, and the exponent of its ratio to it.

    A family are pairs whose products are in one ratio of a power of two for all channels and
    groups.
    """
    flat = products.reshape(*products.shape[:2], -1)
    size = np.abs(flat).max(axis=(0, 1))
    order = np.argsort(size, kind="stable")
    base, shift = np.arange(len(size)), np.zeros(len(size), dtype=np.int64)
    for place, pair in enumerate(order):
        for other in order[:place]:
            if base[other] != other or not size[other]:
                continue
            power = round(math.log2(size[pair] / size[other]))
            gap = np.abs(flat[..., pair] - flat[..., other] * 2.0 ** power)
            if (gap <= 1e-9 * np.abs(flat[..., pair])).all():
                base[pair], shift[pair] = other, power
                break
    return base, shift


def _split(base, shift, *, widest):
    """Splits families into equal parts of ratios up to ``2 ** widest`` each.

    The pairs of a part are snapped together, so that the machine finds their ratios exact and
    streams them in one pass.
    """
    base, shift = base.copy(), shift.copy()
    for family in np.unique(base):
        pairs = np.flatnonzero(base == family)
        powers = shift[pairs]
        levels = powers.max() + 1
        height = math.ceil(levels / math.ceil(levels / (widest + 1)))
        for part in np.unique(powers // height):
            chosen = pairs[powers // height == part]
            lowest = chosen[shift[chosen].argmin()]
            base[chosen], shift[chosen] = lowest, shift[chosen] - shift[lowest]
    return base, shift


def to_integers(name, weights, codebook, bias, scale_bits, acc_bits):
    """Puts a layer on the finest grid that its widths allow.

    Parameters
    ----------
    name : str
        For messages.
    weights : BitPlanes
        Planes ``(k, outputs, inputs, height, width)``; their offset is not looked at.
    codebook : BitPlanes
        Planes of the input's codes.
    bias : float64 array, shape ``(outputs,)``
    scale_bits, acc_bits : int
        Signed widths of a scale and of an accumulator.

    Returns
    -------
    Integers

    Raises
    ------
    SnapError
        If no scale above 0 keeps the accumulators within their width.
    """
    outputs, inputs, *kernel = weights.shape
    groups = group_count(weights.grouping, kernel)
    taps = group_index(weights.grouping, kernel)
    signs = 2 * weights.planes.astype(np.int64) - 1
    in_group = np.bincount(taps.ravel(), minlength=groups) * inputs
    sums = np.stack([signs[..., taps == group].sum(axis=(2, 3)) for group in range(groups)], axis=2)
    per_channel = np.broadcast_to(weights.scales, (weights.count, outputs, groups))
    products = 2 * np.einsum("i,jmg->mgij", codebook.scales[:, 0, 0], per_channel)
    total = codebook.scales.sum()
    rho = codebook.offset / total if total else 0.0
    families = _dyadic(products)
    largest = np.abs(products).max()
    limit, bound = 2 ** (scale_bits - 1) - 1, 2 ** (acc_bits - 1) - 2
    frac_bits = math.floor(math.log2((limit + 0.5) / largest)) if largest else 0
    needed = acc_bits
    while True:
        bits = math.frexp(math.ldexp(largest, frac_bits))[1]
        base, shift = _split(*families, widest=max(0, bits - SHARED_BITS))
        flat = np.rint(np.ldexp(products, frac_bits).reshape(outputs, groups, -1)[..., base])
        p = (flat.astype(np.int64) << shift).reshape(products.shape)
        folded = np.einsum("mgij,mgj->m", p, in_group[:, None] + rho * sums.transpose(1, 2, 0)) / 2
        biases = np.rint(np.ldexp(bias, frac_bits) + folded).astype(np.float64)
        swing = -p * in_group[:, None, None]
        low = biases + np.minimum(swing, 0).sum(axis=(1, 2, 3))
        high = biases + np.maximum(swing, 0).sum(axis=(1, 2, 3))
        reach = max(-low.min(), high.max())
        if np.abs(p).max() <= limit and reach <= bound and (p.any() or not largest):
            break
        if not p.any():
            raise SnapError(f"Layer {name!r} must keep its scales above 0 with accumulators of "
                            f"{acc_bits} bits: {max(needed - acc_bits, 1)} bits are missing")
        needed = math.ceil(math.log2(reach + 2)) + 1
        frac_bits -= 1
    as_integers = [each.astype(np.int64) for each in (biases, low, high)]
    return Integers(frac_bits, -p, *as_integers)
