"""Pixels as unsigned codes: the quantizer in front of a network's first layer."""

import dataclasses

import torch

from .base import ActivationQuantizer, check_bits, straight_through
from .planes import unsigned_codebook

__all__ = ["NormedPixels", "PixelQuantizer"]


class PixelQuantizer(ActivationQuantizer):
    """Rounds to a multiple of a fixed step, half to even: ``clip(round(x / step), 0, 2 ** bits -
    1)``.

    Parameters
    ----------
    bits : int
        Bits of a pixel, 1 to 8.
    step : float
        Value of one code step, positive.

    Attributes
    ----------
    low : int
        Code 0 stands for ``low * step``.
    """

    low = 0

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


class NormedPixels(ActivationQuantizer):
    """Codes over the range of values that a batch norm makes of the input: ``clip(round(x / step) -
    low, 0, 2 ** bits - 1)``; zero is among the values if the range holds it.

    The range is that of the batches in training: it grows at once, and shrinks by a hundredth of
    the distance a batch.

    Parameters
    ----------
    bits : int
        1 to 8.

    Attributes
    ----------
    range : float64 tensor, shape ``(2,)``
        Smallest and largest value; both 0 until the first batch.
    """

    signed = True
    absorbs = ()
    range: torch.Tensor

    def __init__(self, bits=8):
        super().__init__()
        self.bits = check_bits("NormedPixels", bits)
        self.register_buffer("range", torch.zeros(2, dtype=torch.float64))

    def extra_repr(self):
        """Parameters, for ``repr``."""
        return f"bits={self.bits}, range={self.range.tolist()}"

    @property
    def step(self):
        """Value of one code step, a float.

        Raises
        ------
        ValueError
            If no batch has been seen.
        """
        low, high = self.range.tolist()
        if low == high:
            raise ValueError("NormedPixels has no range; run a batch in training mode")
        return (high - low) / (2 ** self.bits - 1)

    @property
    def low(self):
        """Code 0 stands for ``low * step``."""
        return round(float(self.range[0]) / self.step)

    @property
    def pad_code(self):
        """That of zero, or of what is nearest to it."""
        return min(max(-self.low, 0), 2 ** self.bits - 1)

    def codebook(self):
        """See :meth:`ActivationQuantizer.codebook`."""
        book = unsigned_codebook(self.bits, self.step)
        # The scales are shortened, and so are multiples of the lowest one.
        return dataclasses.replace(book, offset=book.offset + self.low * 2 * book.scales[-1, 0, 0])

    def encode(self, x):
        """Codes of values; computed in float64, as the host does it."""
        codes = (x.double() / self.step).round() - self.low
        return codes.clamp(0, 2 ** self.bits - 1).long()

    def calibrate(self, values):
        """See :meth:`ActivationQuantizer.calibrate`: the range is that of the data."""
        ends = [(batch.min(), batch.max()) for batch in values()]
        self.range.copy_(torch.stack([min(low for low, _ in ends), max(high for _, high in ends)]))

    def _observe(self, x):
        low, high = x.min().double(), x.max().double()
        if self.range[0] != self.range[1]:
            low = torch.minimum(low, self.range[0] + (low - self.range[0]) / 100)
            high = torch.maximum(high, self.range[1] + (high - self.range[1]) / 100)
        self.range.copy_(torch.stack([low, high if high > low else low + 1]))

    def forward(self, x):
        """Rounded values; the gradient passes."""
        if self.training:
            self._observe(x.detach())
        return straight_through(x, self.decode(self.encode(x), x.dtype), torch.ones_like(x))
