"""One term on the machine's integer grid: which products share a rounding, and what they add to
constants and bounds."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..bitplanes import BitPlanes, group_index

__all__ = ["GridTerm", "SHARED_BITS", "nonzero"]

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


@dataclass(frozen=True, eq=False)
class GridTerm:
    """One term as it is to be put on the grid.

    Parameters
    ----------
    weights : BitPlanes
        Planes ``(k, outputs, inputs, height, width)``, of offset 0.
    codebook : BitPlanes
        Planes of the input's codes.
    gain : float64 array, shape ``(outputs,)``, or None
        Multiplies the weights; None: 1.
    zeros : bool
        Whether taps outside the map add nothing.
    relu : bool
        Whether what has been summed before is clamped at zero first.
    """

    weights: BitPlanes
    codebook: BitPlanes
    gain: np.ndarray | None = None
    zeros: bool = False
    relu: bool = False

    @cached_property
    def taps(self):
        """Scale group of every tap."""
        return group_index(self.weights.grouping, self.weights.shape[2:])

    @cached_property
    def in_group(self):
        """Inputs of every group."""
        return np.bincount(self.taps.ravel()) * self.weights.shape[1]

    @cached_property
    def products(self):
        """Twice the products of scales: float64, ``(outputs, groups, planes, planes)``."""
        outputs, groups = self.weights.shape[0], len(self.in_group)
        channels = np.broadcast_to(self.weights.scales, (self.weights.count, outputs, groups))
        found = 2 * np.einsum("i,jmg->mgij", self.codebook.scales[:, 0, 0], channels)
        gain = np.ones(outputs) if self.gain is None else self.gain
        return nonzero(found * gain[:, None, None, None])

    @cached_property
    def families(self):
        """See :func:`_dyadic`."""
        return _dyadic(self.products)

    @cached_property
    def _rho(self):
        total = self.codebook.scales.sum()
        return self.codebook.offset / total if total else 0.0

    @cached_property
    def tap_sums(self):
        """Sum of the signs of every tap: ``(outputs, weight planes, height, width)``."""
        signs = 2 * self.weights.planes.astype(np.int64) - 1
        return signs.sum(axis=2).swapaxes(0, 1)

    def rounded(self, frac_bits, bits):
        """Integers p, of the shape of the products, with families kept exact."""
        fine = bits[bits >= SHARED_BITS]
        # A channel of fewer bits exceeds the bound of sharing in any case, so it is not asked.
        base, shift = _split(*self.families,
                             widest=fine.min() - SHARED_BITS if fine.size else 0)
        wanted = np.ldexp(self.products, frac_bits[:, None, None, None])
        flat = np.rint(wanted.reshape(*wanted.shape[:2], -1)[..., base])
        return (flat.astype(np.int64) << shift).reshape(wanted.shape), wanted

    def shares(self, p):
        """What every tap adds to the constant: float64, ``(outputs, height, width)``."""
        signs = self._rho * self.tap_sums.transpose(0, 2, 3, 1) + self.weights.shape[1]
        return np.einsum("mhwij,mhwj->mhw", p[:, self.taps], signs) / 2

    def border(self, p):
        """What taps outside the map add: int64, ``(outputs, height, width)``, or None."""
        return -np.rint(self.shares(p)).astype(np.int64) if self.zeros else None

    def swing(self, p):
        """Smallest and largest of what the term adds to a bias: int64, ``(outputs,)`` each."""
        taps = -p[:, self.taps] * self.weights.shape[1]
        low = np.minimum(taps, 0).sum(axis=(3, 4))
        high = np.maximum(taps, 0).sum(axis=(3, 4))
        if self.zeros:
            border = self.border(p)
            low, high = np.minimum(low, border), np.maximum(high, border)
        return low.sum(axis=(1, 2)), high.sum(axis=(1, 2))


def nonzero(values):
    """Values with those that count as 0 as 0: float64."""
    values = np.asarray(values, dtype=np.float64)
    return np.where(np.abs(values) < SMALLEST, 0, values)
