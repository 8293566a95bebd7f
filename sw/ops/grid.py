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

from dataclasses import dataclass

import numpy as np

from .grid_term import nonzero

__all__ = ["Integers", "LOSS_LIMIT", "SnapError", "to_integers"]


class SnapError(ValueError):
    """A layer that does not fit the machine's integers; the message names it and the bits
    missing."""


@dataclass(frozen=True, eq=False)
class Integers:
    """A layer on its grid: ``acc = biases + sum over terms of scales * mismatches``.

    Parameters
    ----------
    frac_bits : int, or int64 array of shape ``(outputs,)``
        The unit of all the others is ``2 ** -frac_bits``, of all channels or of each.
    scales : list of int64 array, shape ``(outputs, groups, activation planes, weight planes)``
        By term.
    borders : list of int64 array, shape ``(outputs, height, width)``, or None
        By term: what a tap outside the map adds, where that is to be true zeros.
    biases : int64 array, shape ``(outputs,)``
        What is in the accumulator before the first term.
    after : int64 array, shape ``(outputs,)``
        Constants of terms behind a clamp, which the accumulator lacks: whoever reads it adds them.
    low, high : int64 array, shape ``(outputs,)``
        Bounds of the accumulator, and of every partial sum on the way to it.
    errors : float64 array, shape ``(outputs,)``
        Largest rounding error of a channel's scales, in parts of its largest scale; 0 where all
        scales are 0.
    """

    frac_bits: int | np.ndarray
    scales: list
    borders: list
    biases: np.ndarray
    after: np.ndarray
    low: np.ndarray
    high: np.ndarray
    errors: np.ndarray


LOSS_LIMIT = 2.0 ** -8
"""A channel loses precision if a scale is off by more than this part of its largest scale: one step
of the finest weights there are, those of 8 bits."""


def to_integers(name, terms, bias, scale_bits, acc_bits, *, per_channel=False, offsets=None):
    """Puts a layer on the finest grid that its widths allow; its terms share it.

    Parameters
    ----------
    name : str
        For messages.
    terms : list of sw.ops.grid_term.GridTerm
        Of as many outputs each; at most one has ``relu``.
    bias : list of float64 array, shape ``(outputs,)``
        Added before each term; finite.
    scale_bits, acc_bits : int
        Signed widths of a scale and of an accumulator.
    per_channel : bool
        Whether every channel gets a grid of its own.
    offsets : float64 array, shape ``(outputs,)``, optional
        What accumulators are to be larger by: added to biases, and taken back in ``after``. Only
        without ``relu``.

    Returns
    -------
    Integers

    Raises
    ------
    SnapError
        If no scale above 0 keeps the accumulators within their width.
    """
    for term in terms:
        if term.weights.offset:
            raise SnapError(f"Layer {name!r} weights must have offset 0, not "
                            f"{term.weights.offset!r}")
    outputs = terms[0].weights.shape[0]
    clamp = next((index for index, term in enumerate(terms) if term.relu), len(terms))
    front, behind = (nonzero(sum(each, np.zeros(outputs)))
                     for each in (bias[:clamp], bias[clamp:]))
    offsets = np.zeros(outputs) if offsets is None else offsets
    limit, bound = 2 ** (scale_bits - 1) - 1, 2 ** (acc_bits - 1) - 2

    def merged(values):
        return values if per_channel else np.full_like(values, values.max())

    tops = [merged(_largest(term.products)) for term in terms]
    largest, offset = np.max(tops, axis=0), merged(np.abs(front + offsets))
    # A bias of more than four bounds does not fit whatever is added to it.
    frac_bits = np.minimum(_finest(limit + 0.5, largest), _finest(4 * bound, offset))
    frac_bits = np.where(frac_bits == _ANY, 0, frac_bits)
    needed = np.full(outputs, acc_bits)
    while True:
        rounded = [term.rounded(frac_bits, np.frexp(np.ldexp(top, frac_bits))[1])
                   for term, top in zip(terms, tops)]
        p = [each for each, _ in rounded]
        folded = [term.shares(each).sum(axis=(1, 2)) for term, each in zip(terms, p)]
        biases, after = (np.rint(np.ldexp(constant, frac_bits) + sum(each, np.zeros(outputs)))
                         for constant, each in ((front, folded[:clamp]), (behind, folded[clamp:])))
        moved = np.rint(np.ldexp(offsets, frac_bits))
        biases, after = biases + moved, after - moved
        low, high, reach = _bounds(terms, p, biases)
        reach, top = merged(reach), merged(np.max([_largest(each) for each in p], axis=0))
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
    wrong = np.max([_largest(each - wanted) for each, wanted in rounded], axis=0)
    scale = np.max([_largest(wanted) for _, wanted in rounded], axis=0)
    return Integers(frac_bits if per_channel else int(frac_bits[0]), [-each for each in p],
                    [term.border(each) for term, each in zip(terms, p)], biases.astype(np.int64),
                    after.astype(np.int64), low, high, wrong / np.where(scale > 0, scale, 1))


def _bounds(terms, p, biases):
    """Bounds of the accumulator, and the largest magnitude on the way to it."""
    low = high = biases.astype(np.int64)
    reach = np.abs(low)
    for term, each in zip(terms, p):
        if term.relu:
            low, high = np.maximum(low, 0), np.maximum(high, 0)
        less, more = term.swing(each)
        low, high = low + less, high + more
        reach = np.maximum(reach, np.maximum(-low, high))
    return low, high, reach


_ANY = 1 << 16
"""Exponent of a grid that nothing bounds."""


def _largest(values):
    return np.abs(values).max(axis=(1, 2, 3))


def _finest(most, values):
    """Largest exponents f with ``values * 2 ** f <= most``."""
    exponents = np.frexp(most / np.where(values > 0, values, 1))[1] - 1
    return np.where(values > 0, exponents, _ANY).astype(np.int64)
