"""SAWB: statistics-aware weight binning, even levels (arXiv 1807.06964)."""

import torch

from .base import WeightQuantizer, check_bits
from .registry import Scheme, register_scheme, register_weight

__all__ = ["COEFFICIENTS", "FULL_RANGE_BITS", "SawbWeight", "sawb_clip"]

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


@register_weight("sawb")
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

    def split(self, kernel):
        """See :meth:`WeightQuantizer.split`."""
        alpha = sawb_clip(kernel, self.bits)
        top = 2 ** self.bits - 1
        # All-zero weights: any alpha gives the code, the scales stay 0.
        unit = kernel.clamp(-alpha, alpha) / torch.where(alpha > 0, alpha, 1.0)
        codes = ((unit + 1) / 2 * top).round().long()
        shifts = torch.arange(self.bits - 1, -1, -1)
        bits = (codes >> shifts.reshape(-1, 1, 1, 1, 1)) & 1
        return bits.bool(), (alpha / top * 2.0 ** shifts).reshape(-1, 1, 1)

    def slope(self, kernel, scales):
        """See :meth:`WeightQuantizer.slope`."""
        return (kernel.abs() <= sawb_clip(kernel, self.bits)).double()


register_scheme(Scheme("pact-sawb-w2a2", weight="sawb", weight_options={"bits": 2},
                       activation="pact", activation_options={"bits": 2, "alpha": 4.0}))
