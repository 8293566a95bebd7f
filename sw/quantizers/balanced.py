"""Balanced quantization: equally many weights on every level (arXiv 1706.07145).

The weights are split at their mean (or median), each half is split again, and so on: after ``bits``
splits there are ``2 ** bits`` leaves. Every leaf is stretched to an equal part of [0, 1], and what
results is quantized uniformly. So a weight's code is the number of its leaf, except that the
smallest weights of a leaf lie on a tie and go one level down.
"""

from dataclasses import dataclass

import torch

from .base import WeightQuantizer, check_bits, check_choice
from .config import SchemeConfig
from .planes import even_planes
from .registry import register_scheme
from .uniform import unit_interval

__all__ = ["BalancedConfig", "BalancedWeight", "Equalized", "equalize"]

MEAN_RANGE = 2.5
"""The range of weights in units of ``mean |w|``, for the scale of that name."""

_BLOCK = 1 << 16
"""Weights looked at together: what is computed of them stays in the processor's cache."""


@dataclass(frozen=True, eq=False)
class Equalized:
    """A tensor split into ``2 ** bits`` leaves; a leaf holds an interval of values.

    Parameters
    ----------
    values : float64 tensor
    leaves : int64 tensor, of the same shape
        Leaf of every value, 0 to ``2 ** bits - 1`` in rising order.
    low : float64 tensor, shape ``(2 ** bits,)``
        Smallest value of every leaf; infinity of an empty one.
    """

    values: torch.Tensor
    leaves: torch.Tensor
    low: torch.Tensor

    @property
    def high(self):
        """Largest value of every leaf; negative infinity of an empty one."""
        return _extreme(-torch.inf, len(self.low), [self.values.flatten()],
                        [self.leaves.flatten()])

    @property
    def widths(self):
        """Width of every value's leaf."""
        return (self.high - self.low)[self.leaves]

    @property
    def positions(self):
        """The equalized tensor: values in [0, 1], each leaf stretched to its equal part of it. A
        leaf of one value is at its lower end."""
        widths = self.widths
        inside = (self.values - self.low[self.leaves]) / torch.where(widths > 0, widths, 1.0)
        return (self.leaves + inside) / len(self.low)

    @property
    def codes(self):
        """``2 ** bits * positions - 1/2``, half rounded toward zero: int64."""
        return _codes(self.values, self.leaves, self.low)


def equalize(weight, bits, threshold="mean"):
    """Splits a tensor's values recursively, in time proportional to ``bits`` and its size.

    Parameters
    ----------
    weight : float tensor, of any shape, not empty
    bits : int
        Depth of the recursion.
    threshold : str
        Where a set is split: at its ``"mean"``, or at its ``"median"`` (sorts once). Values equal
        to it go up.

    Returns
    -------
    Equalized
    """
    blocks, leaves, low = _split(weight.detach(), bits, threshold)
    return Equalized(torch.cat(blocks).reshape(weight.shape),
                     torch.cat(leaves).reshape(weight.shape), low)


def _split(weight, bits, threshold):
    """Blocks of values, of leaves, and the smallest value of every leaf."""
    flat = weight.flatten()
    # A graph has a node for every block, so what is traced has one.
    size = flat.numel() if torch.compiler.is_compiling() else _BLOCK
    blocks = [block.double() for block in flat.split(size)]
    leaves = [torch.zeros_like(block, dtype=torch.int64) for block in blocks]
    ones = torch.ones_like(blocks[0])
    ordered = flat.double().sort().values if threshold == "median" else None
    for level in range(bits):
        counts = _sums(2 ** level, [ones[:len(leaf)] for leaf in leaves], leaves)
        limits = (_means(blocks, leaves, counts) if ordered is None
                  else _medians(ordered, counts.long()))
        for block, leaf in zip(blocks, leaves, strict=True):
            above = block >= limits.index_select(0, leaf)
            leaf.mul_(2).add_(above)
    return blocks, leaves, _extreme(torch.inf, 2 ** bits, blocks, leaves)


def _sums(count, blocks, leaves):
    """Sum of every leaf."""
    sums = blocks[0].new_zeros(count)
    for block, leaf in zip(blocks, leaves, strict=True):
        sums = sums.scatter_add(0, leaf, block)
    return sums


def _extreme(start, count, blocks, leaves):
    """Smallest value of every leaf, or the largest if ``start`` is negative."""
    found = blocks[0].new_full((count,), start)
    for block, leaf in zip(blocks, leaves, strict=True):
        found = found.scatter_reduce(0, leaf, block, "amin" if start > 0 else "amax")
    return found


def _means(blocks, leaves, counts):
    """Mean of every leaf."""
    means = _sums(len(counts), blocks, leaves) / counts
    # Rounded, the mean of equal values may lie above them all.
    return torch.minimum(means, _extreme(-torch.inf, len(counts), blocks, leaves))


def _medians(ordered, counts):
    """Median of every leaf: leaves follow one another in the sorted values."""
    starts = counts.cumsum(0) - counts
    # An empty leaf may start behind the end; its median is never used.
    middles = [(starts + half).clamp(0, len(ordered) - 1)
               for half in ((counts - 1) // 2, counts // 2)]
    return (ordered[middles[0]] + ordered[middles[1]]) / 2


def _codes(values, leaves, low):
    # Rounded, a position is the leaf; only a leaf's lower end is a tie, but for that of leaf 0.
    lowest = low.index_select(0, leaves.flatten()).reshape(leaves.shape)
    return leaves - ((values == lowest) & (leaves > 0)).long()


class BalancedWeight(WeightQuantizer):
    """Even levels ``scale * (2 * code / (2 ** bits - 1) - 1)`` with the codes of :func:`equalize`.

    Parameters
    ----------
    bits : int
        1 to 8.
    threshold : str
        Of :func:`equalize`.
    scale : str
        ``"max"``: ``max |w|``, as the paper has it; far from w in the mean square, the network
        must take it up elsewhere. ``"mean"``: ``2.5 mean |w|``, and weights are clipped to it
        before they are equalized. ``"least-squares"``: what best fits w with the codes of
        ``"max"``.
    gradient : str
        ``"identity"``: the gradient passes as it is, as the paper states. ``"rounding"``: it passes
        only the rounding unchanged, as in the authors' public code, and so carries the slope of
        every leaf's stretching: large for narrow leaves, 0 for leaves of one value and for clipped
        weights. The scale counts as a constant in both.
    """

    def __init__(self, bits=2, threshold="mean", scale="least-squares", gradient="identity"):
        super().__init__()
        self.bits = check_bits("BalancedWeight", bits)
        self.threshold = check_choice("BalancedWeight threshold", threshold, ("mean", "median"))
        self.scale = check_choice("BalancedWeight scale", scale, ("max", "mean", "least-squares"))
        self.gradient = check_choice("BalancedWeight gradient", gradient,
                                     ("identity", "rounding"))
        self.levels = 2 ** bits

    def extra_repr(self):
        """Parameters, for ``repr``."""
        return (f"bits={self.bits}, threshold={self.threshold!r}, scale={self.scale!r}, "
                f"gradient={self.gradient!r}")

    def _range(self, kernel):
        magnitudes = kernel.abs()
        return MEAN_RANGE * magnitudes.mean() if self.scale == "mean" else magnitudes.amax(dim=())

    def _parts(self, kernel, dtype):
        """Codes counted from the middle, ``2 * code - top``, and the largest level."""
        scale, top = self._range(kernel), 2 ** self.bits - 1
        clipped = kernel.clamp(-scale, scale) if self.scale == "mean" else kernel
        parts, fit, energy = [], 0.0, 0.0
        blocks, leaves, low = _split(clipped, self.bits, self.threshold)
        for block, leaf in zip(blocks, leaves, strict=True):
            odd = (2 * _codes(block, leaf, low) - top).double()
            if self.scale == "least-squares":
                fit, energy = fit + (block * odd).sum(), energy + odd.square().sum()
            parts.append(odd.to(dtype))
        if self.scale == "least-squares":
            scale = top * fit / energy
        return torch.cat(parts).reshape(kernel.shape), scale

    def split(self, kernel):
        """See :meth:`WeightQuantizer.split`."""
        odd, scale = self._parts(kernel, torch.int64)
        return even_planes((odd + (2 ** self.bits - 1)) // 2, self.bits, scale.double())

    def quantize(self, kernel):
        """See :meth:`WeightQuantizer.quantize`."""
        odd, scale = self._parts(kernel, kernel.dtype)
        step = (scale / (2 ** self.bits - 1)).to(kernel.dtype)
        # In the memory format of the kernel.
        values = odd if kernel.is_contiguous() else torch.empty_like(kernel).copy_(odd)
        slope = None if self.gradient == "identity" else self._slope(kernel, 2 * step)
        return values.mul_(step), slope

    def _slope(self, kernel, step):
        limit = self._range(kernel)
        widths = equalize(kernel.clamp(-limit, limit), self.bits, self.threshold).widths
        slope = torch.where(widths > 0, step / widths, 0.0)
        return slope * (kernel.abs() <= limit)


@dataclass(frozen=True, kw_only=True)
class BalancedConfig(SchemeConfig):
    """Balanced weights, and activations of a uniform grid over [0, 1].

    By default the scale is the least-squares one. A batch norm behind the layer takes up any scale,
    and digits train alike with all three; but without one the outputs should stay near the float
    ones, and with two bits the relative squared error of Gaussian weights is 0.13, against 5.1 with
    ``max |w|`` and 0.35 with ``2.5 mean |w|``. For the same reason the gradient is the plain one:
    it does not depend on how narrow a leaf is.

    Parameters
    ----------
    weight_bits, activation_bits : int
        1 to 8.
    threshold, scale, gradient : str
        Of :class:`BalancedWeight`.
    """

    weight_bits: int = 2
    activation_bits: int = 2
    threshold: str = "mean"
    scale: str = "least-squares"
    gradient: str = "identity"

    def weight_quantizer(self, weight):
        """See :meth:`SchemeConfig.weight_quantizer`."""
        return BalancedWeight(self.weight_bits, self.threshold, self.scale, self.gradient)

    def activation_quantizer(self):
        """See :meth:`SchemeConfig.activation_quantizer`."""
        return unit_interval(self.activation_bits, half="down")


register_scheme("balanced-w2a2", BalancedConfig())
register_scheme("balanced-w4a4", BalancedConfig(weight_bits=4, activation_bits=4))
