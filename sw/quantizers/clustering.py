"""Exact least-squares clustering of magnitudes into two levels, in linear time for long rows.

The optimum parts the magnitudes of a row at one place of their order: sort them, try every split,
and it is found. What a split gains over none depends on the count and the sum of the elements below
it alone, and is convex in the two together. So a bin of a histogram need not be sorted to know that
the best split is not inside it. Count and sum of a bin's smallest elements lie in the triangle
between none of them, all of them, and the corner where as many as the sum allows are at the bin's
lower edge and the others at its upper one; nowhere in it is a convex function higher than at the
highest of the three corners. The first two are splits between bins, known exactly. Only from where
the third one promises more than the best of those are elements sorted, and every split of theirs
tried. This is exact wherever the edges of the bins are: they only decide how much is sorted.
"""

from typing import NamedTuple

import numpy as np
import torch

__all__ = ["SORTED", "ternary_level", "two_levels"]

_BLOCK = 1 << 16
"""Elements looked at together: what is computed of them stays in the processor's cache."""

_BIN_SIZE, _MAX_BINS = 16, 1 << 13
"""Mean number of a row's elements in a bin; the most bins of a row."""

SORTED = 1 << 11
"""Elements of a row up to which sorting all of them costs less than bins do."""


class _Rows(NamedTuple):
    """Number of a row's elements, the smallest, and the sum of their distances from it: sums of
    distances keep the digits of tight clusters."""

    size: int
    floor: np.ndarray
    total: np.ndarray


class _Splits(NamedTuple):
    """Count and sum of distances of the elements below a split, shape ``(rows, splits)``."""

    size: np.ndarray
    sum: np.ndarray

    def at(self, index):
        """One split of every row, ``index`` of shape ``(rows, 1)``."""
        lines = np.arange(len(index))[:, None]
        return _Splits(np.broadcast_to(self.size, self.sum.shape)[lines, index],
                       self.sum[lines, index])


def two_levels(magnitudes):
    """Means of the low and of the high cluster of every row; both are the row's mean where all its
    elements are equal.

    Parameters
    ----------
    magnitudes : float32 or float64 array, shape ``(rows, n)``
        Contiguous, not empty, finite, not negative; squares must not overflow. Rows of up to 2048
        elements may be not finite: then their means are not either.

    Returns
    -------
    tuple of float64 arrays, shape ``(rows,)``
    """
    rows, split = _best_split(magnitudes, _scatter)
    high = _upper_mean(rows, split)
    low = np.where(split.size > 0, rows.floor + _ratio(split.sum, split.size), high)
    return low[:, 0], high[:, 0]


def ternary_level(magnitudes):
    """Mean of the high cluster of every row where the level of the low one is 0.

    Parameters
    ----------
    magnitudes : float32 or float64 array, shape ``(rows, n)``
        As for :func:`two_levels`.

    Returns
    -------
    float64 array, shape ``(rows,)``
    """
    return _upper_mean(*_best_split(magnitudes, _energy))[:, 0]


def _upper_mean(rows, split):
    return rows.floor + _ratio(rows.total - split.sum, rows.size - split.size)


def _ratio(numerator, denominator):
    return np.divide(numerator, denominator, out=np.zeros(denominator.shape),
                     where=denominator > 0)


def _scatter(rows, split):
    """Gain of two free levels: the scatter between the clusters."""
    centred = split.sum - split.size * (rows.total / rows.size)
    share = _ratio(np.float64(rows.size), split.size * (rows.size - split.size))
    np.multiply(centred, centred, out=centred)
    return np.multiply(centred, share, out=centred)


def _energy(rows, split):
    """Gain of the levels 0 and a free one: the energy of the high cluster's mean."""
    count = rows.size - split.size
    high = rows.total - split.sum + count * rows.floor
    np.multiply(high, high, out=high)
    return np.multiply(high, _ratio(np.float64(1.0), count), out=high)


def _best_split(magnitudes, gain):
    """The rows, and for each of them the split of the highest gain."""
    if magnitudes.shape[1] <= SORTED:
        return _best_sorted(magnitudes, gain)
    bins = _Bins(magnitudes)
    count, distance = bins.histogram(magnitudes)
    rows = _Rows(magnitudes.shape[1], bins.floor, distance.sum(axis=1, keepdims=True))
    borders = _Splits(*(np.pad(each.cumsum(axis=1), ((0, 0), (1, 0)))
                        for each in (count, distance)))
    best, highest = _highest(rows, borders, gain)

    low, high = bins.distances[:, :-1], bins.distances[:, 1:]
    at_low = np.clip(_ratio(count * high - distance, high - low), 0, count)
    corners = _Splits(borders.size[:, :-1] + at_low, borders.sum[:, :-1] + at_low * low)
    promising = (count > 1) & (gain(rows, corners) > highest)
    if not promising.any():
        return rows, best
    first = promising.argmax(axis=1)[:, None]
    last = promising.shape[1] - promising[:, ::-1].argmax(axis=1)[:, None]
    last = np.where(promising.any(axis=1, keepdims=True), last, first)

    splits = _every_split(magnitudes, bins, borders, first, last)
    inner, inner_highest = _highest(rows, splits, gain)
    return rows, _Splits(*(np.where(inner_highest > highest, new, old)
                           for new, old in zip(inner, best, strict=True)))


def _best_sorted(magnitudes, gain):
    """The same for short rows: all of their splits are tried."""
    ordered = np.sort(magnitudes, axis=1)
    floor, size = ordered[:, :1].astype(np.float64), ordered.shape[1]
    sums = np.zeros((len(ordered), size + 1))
    np.subtract(ordered, floor, out=sums[:, 1:])
    # Three times faster than numpy's.
    torch.from_numpy(sums).cumsum_(dim=1)
    rows = _Rows(size, floor, sums[:, -1:])
    splits = _Splits(np.arange(size, dtype=np.float64)[None], sums[:, :-1])
    return rows, splits.at(gain(rows, splits).argmax(axis=1)[:, None])


def _every_split(magnitudes, bins, borders, first, last):
    """Splits after each element of the bins from ``first`` to before ``last``; in rows that have
    fewer of them than others the last one again."""
    start, end = borders.at(first), borders.at(last)
    rank = np.arange(int((end.size - start.size).max()))
    inside = rank < end.size - start.size
    ordered = np.full(inside.shape, np.inf, dtype=magnitudes.dtype)
    ordered[inside] = bins.between(magnitudes, first, last)
    ordered.sort(axis=1)
    distance = np.where(inside, ordered - bins.floor, 0)
    return _Splits(np.minimum(start.size + rank + 1, end.size),
                   start.sum + distance.cumsum(axis=1))


def _highest(rows, splits, gain):
    """The best split of every row and its gain; the first of equals."""
    gains = gain(rows, splits)
    index = gains.argmax(axis=1)[:, None]
    return splits.at(index), np.take_along_axis(gains, index, axis=1)


class _Bins:
    """Bins of every row over the range in which the best split is to be expected.

    Attributes
    ----------
    floor : float64 array, shape ``(rows, 1)``
        The smallest element.
    edges : array of the magnitudes' type, shape ``(rows, bins + 1)``
        A bin holds what is not below its edge and below the next one.
    distances : float64 array, shape ``(rows, bins + 1)``
        Distances of the edges from the smallest element, no larger than that of the largest one.
    """

    def __init__(self, magnitudes):
        dtype = magnitudes.dtype
        self.floor = magnitudes.min(axis=1, keepdims=True).astype(np.float64)
        top = magnitudes.max(axis=1, keepdims=True).astype(np.float64)
        mean = magnitudes.mean(axis=1, keepdims=True, dtype=np.float64)
        # The split is midway between the means of its sides: the upper one is from the row's mean
        # to the largest element, the lower one from 0 to the row's mean.
        low = np.maximum(self.floor, mean / 2).astype(dtype)
        high = np.maximum(low, ((mean + top) / 2).astype(dtype))
        # The bit patterns of positive numbers are in their order, and even in their logarithm.
        self._keys = np.dtype(f"i{dtype.itemsize}")
        self._low, self._high = low.view(self._keys), high.view(self._keys)
        span = int((self._high - self._low).max())
        most = min(1 + magnitudes.shape[1] // _BIN_SIZE, _MAX_BINS)
        self._shift = max(0, span.bit_length() + 1 - most.bit_length())
        self._number = (span >> self._shift) + 1

        steps = np.arange(1, self._number + 1, dtype=np.int64) << self._shift
        edges = np.minimum(self._low + steps, np.int64(1) + self._high)
        edges = np.where(edges <= self._high, edges.astype(self._keys).view(dtype), np.inf)
        self.edges = np.pad(edges.astype(dtype), ((0, 0), (1, 0)))
        self.distances = np.clip(self.edges, self.floor, top) - self.floor

    def histogram(self, magnitudes):
        """Count and sum of distances of every bin: float64 arrays, shape ``(rows, bins)``."""
        count, distance = np.zeros((2, len(magnitudes), self._number))
        for rows, block in _blocks(magnitudes):
            key = np.clip(block.view(self._keys), self._low[rows], self._high[rows])
            key = (key - self._low[rows]) >> self._shift
            key = (key + np.arange(len(block))[:, None] * self._number).ravel()
            steps = (block - self.floor[rows]).ravel()
            bins = len(block), self._number
            count[rows] += np.bincount(key, minlength=bins[0] * bins[1]).reshape(bins)
            distance[rows] += np.bincount(key, steps, bins[0] * bins[1]).reshape(bins)
        return count, distance

    def between(self, magnitudes, first, last):
        """Elements from bin ``first`` to before bin ``last``, row after row."""
        low, high = (np.take_along_axis(self.edges, each, axis=1) for each in (first, last))
        return np.concatenate([block[(block >= low[rows]) & (block < high[rows])]
                               for rows, block in _blocks(magnitudes)])


def _blocks(magnitudes):
    """Parts of an array, and which rows each of them is of."""
    number, size = magnitudes.shape
    if size > _BLOCK:
        for row in range(number):
            for start in range(0, size, _BLOCK):
                yield slice(row, row + 1), magnitudes[row:row + 1, start:start + _BLOCK]
    else:
        step = _BLOCK // size
        for start in range(0, number, step):
            yield slice(start, start + step), magnitudes[start:start + step]
