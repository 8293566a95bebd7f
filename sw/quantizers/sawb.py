"""PACT + SAWB: statistics-aware weight binning, even or zero-aligned levels (arXiv 1807.06964).

Weights are clipped to ``-alpha .. alpha`` and rounded to evenly spaced levels. alpha comes from two
statistics of the weights, ``c1 * rms(w) + c2 * mean|w|``, with coefficients fitted so that it is
close to the least-squares choice for common densities (:mod:`sw.quantizers.sawb_fit`).
"""

import math
from dataclasses import dataclass

import torch

from .base import WeightQuantizer, check_bits
from .config import SchemeConfig
from .pact import PactActivation
from .planes import even_planes, odd_planes
from .registry import register_scheme
from .symmetric import SymmetricActivation

__all__ = ["COEFFICIENTS", "IBM_COEFFICIENTS", "PactSawbConfig", "SawbWeight", "sawb_clip"]

IBM_COEFFICIENTS = {
    3: (2.6, -1.71),
    4: (3.12, -2.064),
    8: (7.509, -6.892),
    15: (12.035, -12.03),
    16: (12.68, -12.80),
    32: (17.74, -18.64),
    127: (28.24, -30.81),
    255: (31.76, -35.04),
    256: (31.76, -35.04),
}
"""By number of levels: ``c1, c2`` as IBM's own code has them."""

COEFFICIENTS = {
    **IBM_COEFFICIENTS,
    2: (0.0, 1.0),
    7: (6.942, -6.304),
    31: (16.927, -17.810),
    63: (22.182, -24.005),
    64: (22.278, -24.117),
    128: (27.607, -30.437),
}
"""By number of levels: the default ``c1, c2``. IBM's where there are any, the others are those of
:func:`sw.quantizers.sawb_fit.refit`. From 32 levels up a line fits the densities poorly."""

_FULL_RANGE_LEVELS = 256


def sawb_clip(weight, coefficients, *, per_channel=False):
    """Clipping level of a weight: ``c1 * rms(w) + c2 * mean|w|``.

    The line passes below zero for narrow distributions (equal magnitudes already from 16 levels
    up): where it is not positive, ``max |w|`` is taken. That is 0 only for weights that are all 0.

    Parameters
    ----------
    weight : float tensor, shape ``(outputs, ...)``
    coefficients : pair of float, or None
        ``c1, c2``; None: ``max |w|``.
    per_channel : bool
        A level of its own for every output channel.

    Returns
    -------
    float64 tensor, shape ``(1,)`` or ``(outputs,)``
    """
    return _clip(weight.detach().double(), coefficients, per_channel)


def _clip(weight, coefficients, per_channel):
    """:func:`sawb_clip` in the dtype of the weight."""
    magnitudes = weight.abs()
    axes = tuple(range(1, weight.dim())) if per_channel else None
    largest = magnitudes.amax(dim=axes if per_channel else ())
    if coefficients is not None:
        first, second = coefficients
        mean = magnitudes.mean(dim=axes)
        alpha = first * magnitudes.square_().mean(dim=axes).sqrt() + second * mean
        # NaN is not positive either, but must come through.
        largest = torch.where(alpha <= 0, largest, alpha)
    return largest.reshape(-1)


class SawbWeight(WeightQuantizer):
    """Evenly spaced levels from ``-alpha`` to ``alpha``; half to even.

    Even levels are ``alpha * (2 * code / (2 ** bits - 1) - 1)``, code 0 to ``2 ** bits - 1``, none
    of them zero: a weight of 0 takes the level above it. Zero-aligned levels are ``alpha * k / K``,
    k from -K to ``K = 2 ** (bits - 1) - 1``. Either way there are as many planes as bits.

    alpha is :func:`sawb_clip` of the weights, no gradient reaches it. The gradient to a weight
    passes where ``|w| <= alpha``, with ``plus`` (SAWB+) everywhere.

    Parameters
    ----------
    bits : int
        1 to 8, zero-aligned 2 to 8.
    zero_aligned : bool
    plus : bool
        Whether the gradient is that of SAWB+.
    per_channel : bool
        One alpha for each output channel instead of one for all.
    coefficients : pair of float, optional
        ``c1, c2`` of :func:`sawb_clip`; without them those of :data:`COEFFICIENTS`, but of 256
        levels, which the line would have cut off up to half the range, alpha is ``max |w|``.
    """

    def __init__(self, bits=2, *, zero_aligned=False, plus=False, per_channel=False,
                 coefficients=None):
        super().__init__()
        name, low = ("zero-aligned SawbWeight", 2) if zero_aligned else ("SawbWeight", 1)
        self.bits = check_bits(name, bits, low)
        self.levels = 2 ** bits - bool(zero_aligned)
        self.zero_aligned, self.plus = bool(zero_aligned), bool(plus)
        self.per_channel = bool(per_channel)
        if coefficients is None and self.levels != _FULL_RANGE_LEVELS:
            coefficients = COEFFICIENTS[self.levels]
        if coefficients is not None and (len(coefficients) != 2
                                         or not all(map(math.isfinite, coefficients))):
            raise ValueError(f"SawbWeight coefficients must be two finite numbers, "
                             f"not {coefficients!r}")
        self.coefficients = coefficients

    def extra_repr(self):
        """Parameters, for ``repr``."""
        on = [f", {name}=True" for name in ("zero_aligned", "plus", "per_channel")
              if getattr(self, name)]
        return f"bits={self.bits}{''.join(on)}"

    def _codes(self, kernel):
        """Codes as floats, shifted so that none is below 0 for even levels; and the clip."""
        alpha = _clip(kernel, self.coefficients, self.per_channel)
        # All-zero weights: any divisor gives the codes, the scales stay 0.
        divisor = torch.where(alpha == 0, 1.0, alpha).reshape(-1, 1, 1, 1)
        unit = (kernel / divisor).clamp(-1, 1)
        if self.zero_aligned:
            return unit.mul_(2 ** (self.bits - 1) - 1).round_(), alpha
        if self.bits == 1:  # a zero is halfway, and of these two codes the lower one is even
            return (unit >= 0).to(unit.dtype), alpha
        return unit.add_(1).mul_((2 ** self.bits - 1) / 2).round_(), alpha

    def split(self, kernel):
        """See :meth:`WeightQuantizer.split`."""
        codes, alpha = self._codes(kernel)
        planes = odd_planes if self.zero_aligned else even_planes
        return planes(codes.long(), self.bits, alpha[:, None])

    def quantize(self, kernel):
        """See :meth:`WeightQuantizer.quantize`."""
        codes, alpha = self._codes(kernel)
        alpha = alpha.reshape(-1, 1, 1, 1)
        if self.zero_aligned:
            values = codes.mul_(alpha / (2 ** (self.bits - 1) - 1))
        else:
            top = 2 ** self.bits - 1
            values = codes.mul_(2).sub_(top).mul_(alpha / top)
        return values, None if self.plus else kernel.abs() <= alpha


@dataclass(frozen=True, kw_only=True)
class PactSawbConfig(SchemeConfig):
    """SAWB weights and PACT activations.

    Parameters
    ----------
    weight_bits, activation_bits : int
        Of :class:`SawbWeight` and :class:`~sw.quantizers.pact.PactActivation`.
    zero_aligned, per_channel : bool
        Of :class:`SawbWeight`.
    plus : bool
        SAWB+ and PACT+.
    alpha, clip_decay : float
        Initial clipping level of activations, and its weight decay.
    """

    weight_bits: int = 2
    activation_bits: int = 2
    zero_aligned: bool = False
    per_channel: bool = False
    plus: bool = False
    alpha: float = 4.0
    clip_decay: float = 1e-3

    def weight_quantizer(self, weight):
        """See :meth:`SchemeConfig.weight_quantizer`."""
        return SawbWeight(self.weight_bits, zero_aligned=self.zero_aligned, plus=self.plus,
                          per_channel=self.per_channel)

    def activation_quantizer(self):
        """See :meth:`SchemeConfig.activation_quantizer`."""
        return PactActivation(self.activation_bits, self.alpha, self.clip_decay, plus=self.plus)

    def signed_quantizer(self):
        """See :meth:`SchemeConfig.signed_quantizer`."""
        return SymmetricActivation(self.activation_bits, self.clip_decay)


register_scheme("pact-sawb-w2a2", PactSawbConfig())
register_scheme("pact-sawb-w3a3", PactSawbConfig(weight_bits=3, activation_bits=3))
register_scheme("pact-sawb-w4a4", PactSawbConfig(weight_bits=4, activation_bits=4))
register_scheme("pact-sawb-plus-w2a2", PactSawbConfig(plus=True))
