"""SAWB: statistics-aware weight binning, even levels (arXiv 1807.06964)."""

from dataclasses import dataclass

import torch

from .base import WeightQuantizer, check_bits
from .config import SchemeConfig
from .pact import PactActivation
from .planes import even_planes
from .registry import register_scheme

__all__ = ["COEFFICIENTS", "FULL_RANGE_BITS", "PactSawbConfig", "SawbWeight", "sawb_clip"]

COEFFICIENTS = {
    1: (0.0, 1.0),
    2: (3.12, -2.064),
    3: (7.509, -6.892),
    4: (12.68, -12.80),
    5: (17.74, -18.64),
}
"""By bits: c1, c2 of ``alpha = c1 * rms(w) + c2 * mean|w|``, as IBM's own code has them. The linear
fit is poor from 5 bits up."""

FULL_RANGE_BITS = 8
"""From here on alpha is ``max |w|``: the fit would cut off up to half the range."""


def sawb_clip(weight, bits):
    """Clipping level of a weight, float64 scalar tensor: the fit, or ``max |w|`` at 8 bits.

    The fit can come out negative for narrow distributions: then ``max |w|`` is taken. It is 0 only
    for weights that are all 0.
    """
    weight = weight.detach().double()
    if bits >= FULL_RANGE_BITS:
        return weight.abs().max()
    first, second = COEFFICIENTS[bits]
    alpha = first * weight.square().mean().sqrt() + second * weight.abs().mean()
    return torch.where(alpha > 0, alpha, weight.abs().max())


class SawbWeight(WeightQuantizer):
    """Even levels ``alpha * (2 * code / (2 ** bits - 1) - 1)``, one alpha per layer, half to even.

    The gradient passes where ``|w| <= alpha``.

    Parameters
    ----------
    bits : int
        One of :data:`COEFFICIENTS`, or 8.
    """

    def __init__(self, bits=2):
        super().__init__()
        self.bits = check_bits("SawbWeight", bits)
        if bits not in (*COEFFICIENTS, FULL_RANGE_BITS):
            known = ", ".join(map(str, (*COEFFICIENTS, FULL_RANGE_BITS)))
            raise ValueError(f"SawbWeight bits must be one of {known}, not {bits!r}")
        self.levels = 2 ** bits

    def split(self, kernel):
        """See :meth:`WeightQuantizer.split`."""
        alpha = sawb_clip(kernel, self.bits)
        top = 2 ** self.bits - 1
        # All-zero weights: any alpha gives the code, the scales stay 0.
        unit = kernel.clamp(-alpha, alpha) / torch.where(alpha > 0, alpha, 1.0)
        codes = ((unit + 1) / 2 * top).round().long()
        return even_planes(codes, self.bits, alpha)

    def slope(self, kernel, scales):
        """See :meth:`WeightQuantizer.slope`."""
        return (kernel.abs() <= sawb_clip(kernel, self.bits)).double()


@dataclass(frozen=True, kw_only=True)
class PactSawbConfig(SchemeConfig):
    """SAWB weights and PACT activations.

    Parameters
    ----------
    weight_bits, activation_bits : int
    alpha : float
        Initial clipping level of activations.
    """

    weight_bits: int = 2
    activation_bits: int = 2
    alpha: float = 4.0

    def weight_quantizer(self, weight):
        """See :meth:`SchemeConfig.weight_quantizer`."""
        return SawbWeight(self.weight_bits)

    def activation_quantizer(self):
        """See :meth:`SchemeConfig.activation_quantizer`."""
        return PactActivation(self.activation_bits, self.alpha)


register_scheme("pact-sawb-w2a2", PactSawbConfig())
