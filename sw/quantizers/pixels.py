"""Pixels as unsigned codes: the quantizer in front of a network's first layer."""

import torch

from .base import ActivationQuantizer, check_bits, straight_through
from .planes import unsigned_codebook

__all__ = ["PixelQuantizer"]


class PixelQuantizer(ActivationQuantizer):
    """Rounds to a multiple of a fixed step, half to even: ``clip(round(x / step), 0, 2 ** bits -
    1)``.

    Parameters
    ----------
    bits : int
        Bits of a pixel, 1 to 8.
    step : float
        Value of one code step, positive.
    """

    def __init__(self, bits=8, step=1 / 255):
        super().__init__()
        self.bits = check_bits("PixelQuantizer", bits)
        if not 0 < step < float("inf"):
            raise ValueError(f"PixelQuantizer step must be positive and finite, not {step!r}")
        self.step = float(step)

    def extra_repr(self):
        """Parameters, for ``repr``."""
        return f"bits={self.bits}, step={self.step!r}"

    def codebook(self):
        """See :meth:`ActivationQuantizer.codebook`."""
        return unsigned_codebook(self.bits, self.step)

    def encode(self, x):
        """Codes of pixels; computed in float64, as the host does it."""
        return (x.double() / self.step).round().clamp(0, 2 ** self.bits - 1).long()

    def forward(self, x):
        """Rounded pixels; the gradient passes."""
        return straight_through(x, self.decode(self.encode(x), x.dtype), torch.ones_like(x))
