"""The machine's integer grid: a layer's scales and constants as integers.

A layer's value is ``constant + sum over groups, activation planes i, weight planes j of
P[i, j] * (D[i, j] + rho * T[j])``: D is the bipolar dot product, T the sum of a weight plane's
signs, rho the ratio of the activation's offset to the sum of its scales (1 for unsigned codes, 0
for symmetric ones, ``-1 / (2 ** bits - 1)`` for two's complement). With ``D = K - 2 * mismatches``
and ``P = p * 2 ** -(frac_bits + 1)``, p an integer, the machine's scale of a mismatch is -p, and
everything that does not depend on the input goes into an integer bias. Computed from the integers
p, the part of rho makes code 0 of an unsigned format contribute exactly nothing.

Accumulators of different channels never meet in a layer whose values become codes, so there each
channel has a ``frac_bits`` of its own. The host compares those of a layer without codes, which has
one for all.
"""

import math
from dataclasses import dataclass

import numpy as np

from ..bitplanes import group_count, group_index

__all__ = ["LOSS_LIMIT", "Integers", "SnapError", "to_integers"]


class SnapError(ValueError):
    """A layer that does not fit the machine's integers; the message names it and the bits
    missing."""


@dataclass(frozen=True, eq=False)
class Integers:
    """A layer on its grid: ``acc = biases + sum scales * mismatches``.

    Parameters
    ----------
    frac_bits : int, or int64 array of shape ``(outputs,)``
        The unit of all the others is ``2 ** -frac_bits``, of all channels or of each.
    scales : int64 array, shape ``(outputs, groups, activation planes, weight planes)``
    biases : int64 array, shape ``(outputs,)``
    low, high : int64 array, shape ``(outputs,)``
        Bounds of the accumulator, and of every partial sum on the way to it.
    errors : float64 array, shape ``(outputs,)``
        Largest rounding error of a channel's scales, in parts of its largest scale; 0 where all
        scales are 0.
    """

    frac_bits: int | np.ndarray
    scales: np.ndarray
    biases: np.ndarray
    low: np.ndarray
    high: np.ndarray
    errors: np.ndarray


LOSS_LIMIT = 2.0 ** -8
"""A channel loses precision if a scale is off by more than this part of its largest scale: one step
of the finest weights there are, those of 8 bits."""

SMALLEST = 2.0 ** -900
"""Scales and biases below it count as 0: units so small are no longer exact in float64."""

SHARED_BITS = 11
"""Products in the ratio of a power of two share one rounded base, and its error grows with them.
They share as long as that error stays below ``2 ** -SHARED_BITS`` of the largest product of the
channel: with scales of 16 bits, over ratios up to 16."""


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


def to_integers(name, weights, codebook, bias, scale_bits, acc_bits, *, per_channel=False):
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
        Finite.
    scale_bits, acc_bits : int
        Signed widths of a scale and of an accumulator.
    per_channel : bool
        Whether every channel gets a grid of its own.

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
    channels = np.broadcast_to(weights.scales, (weights.count, outputs, groups))
    products = _nonzero(2 * np.einsum("i,jmg->mgij", codebook.scales[:, 0, 0], channels))
    bias = _nonzero(bias)
    total = codebook.scales.sum()
    rho = codebook.offset / total if total else 0.0
    families = _dyadic(products)
    limit, bound = 2 ** (scale_bits - 1) - 1, 2 ** (acc_bits - 1) - 2

    def merged(values):
        return values if per_channel else np.full_like(values, values.max())

    largest, offset = merged(_largest(products)), merged(np.abs(bias))
    # A bias of more than four bounds does not fit whatever is added to it.
    frac_bits = np.minimum(_finest(limit + 0.5, largest), _finest(4 * bound, offset))
    frac_bits = np.where(frac_bits == _ANY, 0, frac_bits)
    needed = np.full(outputs, acc_bits)
    while True:
        bits = np.frexp(np.ldexp(largest, frac_bits))[1]
        # A channel of fewer bits exceeds the bound of sharing in any case, so it is not asked.
        fine = bits[bits >= SHARED_BITS]
        base, shift = _split(*families, widest=fine.min() - SHARED_BITS if fine.size else 0)
        wanted = np.ldexp(products, frac_bits[:, None, None, None])
        flat = np.rint(wanted.reshape(outputs, groups, -1)[..., base])
        p = (flat.astype(np.int64) << shift).reshape(products.shape)
        folded = np.einsum("mgij,mgj->m", p, in_group[:, None] + rho * sums.transpose(1, 2, 0)) / 2
        biases = np.rint(np.ldexp(bias, frac_bits) + folded)
        swing = -p * in_group[:, None, None]
        low = biases + np.minimum(swing, 0).sum(axis=(1, 2, 3))
        high = biases + np.maximum(swing, 0).sum(axis=(1, 2, 3))
        reach = merged(np.maximum(-low, high))
        top = merged(_largest(p))
        # Scales may vanish beside a bias that takes the accumulator for itself, not without one.
        lost = (top == 0) & (largest > 0) & (np.ldexp(offset, frac_bits + 2) <= bound)
        if lost.any():
            channel = int(lost.argmax())
            where = f" channel {channel}" if per_channel else ""
            raise SnapError(f"Layer {name!r}{where} must keep its scales above 0 with accumulators "
                            f"of {acc_bits} bits: {max(needed[channel] - acc_bits, 1)} bits are "
                            "missing")
        over = (top > limit) | (reach > bound)
        if not over.any():
            break
        needed = np.where(over, np.ceil(np.log2(reach + 2)).astype(np.int64) + 1, needed)
        frac_bits = frac_bits - over
    errors = _largest(p - wanted) / np.where(products.any(axis=(1, 2, 3)), _largest(wanted), 1)
    as_integers = [each.astype(np.int64) for each in (biases, low, high)]
    return Integers(frac_bits if per_channel else int(frac_bits[0]), -p, *as_integers, errors)


_ANY = 1 << 16
"""Exponent of a grid that nothing bounds."""


def _nonzero(values):
    values = np.asarray(values, dtype=np.float64)
    return np.where(np.abs(values) < SMALLEST, 0, values)


def _largest(values):
    return np.abs(values).max(axis=(1, 2, 3))


def _finest(most, values):
    """Largest exponents f with ``values * 2 ** f <= most``."""
    exponents = np.frexp(most / np.where(values > 0, values, 1))[1] - 1
    return np.where(values > 0, exponents, _ANY).astype(np.int64)
