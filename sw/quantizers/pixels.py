"""Pixels as unsigned codes: the quantizer in front of a network's first layer."""

import dataclasses

import torch

from .base import ActivationQuantizer, check_bits
from .planes import unsigned_codebook
from .straight_through import in_backward, readable, straight_through

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

    def levels(self):
        """See :meth:`ActivationQuantizer.levels`."""
        return torch.arange(2 ** self.bits).double() * self.step

    def pad_value(self):
        """Value of the padding, a float."""
        return 0.0

    def _ranks(self, x):
        # In float64, as the host does it.
        return (x.detach().double() / self.step).round_().clamp(0, 2 ** self.bits - 1)

    def encode(self, x):
        """Codes of pixels; computed in float64, as the host does it."""
        return self._ranks(x).long()

    def forward(self, x):
        """Rounded pixels; the gradient passes."""
        return straight_through(x, self._ranks(x).mul_(self.step))


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
        found = self.range.tolist() if readable(self.range) else "?"
        return f"bits={self.bits}, range={found}"

    @property
    def step(self):
        """Value of one code step, a float.

        Raises
        ------
        ValueError
            If no batch has been seen.
        """
        return float(self._grid()[0])

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

    def _grid(self):
        """Step, and code of 0 counted down from it, as tensors."""
        step = (self.range[1] - self.range[0]) / (2 ** self.bits - 1)
        if readable(step) and not float(step):
            raise ValueError("NormedPixels has no range; run a batch in training mode")
        return step, (self.range[0] / step).round()

    def levels(self):
        """See :meth:`ActivationQuantizer.levels`."""
        step, low = self._grid()
        return (torch.arange(2 ** self.bits, device=self.range.device) + low) * step

    def pad_value(self):
        """Value of the padding, a tensor: 0, or what is nearest to it."""
        step, low = self._grid()
        return (low.neg().clamp(0, 2 ** self.bits - 1) + low) * step

    def _ranks(self, x, step, low):
        return (x.detach().double() / step).round_().sub_(low).clamp(0, 2 ** self.bits - 1)

    def encode(self, x):
        """Codes of values; computed in float64, as the host does it."""
        return self._ranks(x, *self._grid()).long()

    def calibrate(self, values):
        """See :meth:`ActivationQuantizer.calibrate`: the range is that of the data."""
        ends = [(batch.min(), batch.max()) for batch in values()]
        self.range.copy_(torch.stack([min(low for low, _ in ends), max(high for _, high in ends)]))

    def _observe(self, x):
        low, high = x.min().double(), x.max().double()
        known = self.range[0] != self.range[1]
        low = torch.where(known, torch.minimum(
            low, self.range[0] + (low - self.range[0]) / 100), low)
        high = torch.where(known, torch.maximum(
            high, self.range[1] + (high - self.range[1]) / 100), high)
        self.range.copy_(torch.stack([low, torch.where(high > low, high, low + 1)]))

    def forward(self, x):
        """Rounded values; the gradient passes."""
        if self.training and not in_backward():
            self._observe(x.detach())
        step, low = self._grid()
        return straight_through(x, self._ranks(x, step, low).add_(low).mul_(step))
