"""Activations on a fixed uniform grid: the unit interval, or fixed point."""

import dataclasses

import torch

from .base import ActivationQuantizer, check_bits, check_choice
from .planes import unsigned_codebook
from .straight_through import straight_through

__all__ = ["UniformActivation", "fixed_point", "unit_interval"]


class UniformActivation(ActivationQuantizer):
    """``round(clip(x) * resolution) / resolution``; nothing in it is trained or calibrated.

    Unsigned values reach from 0 to ``(2 ** bits - 1) / resolution``, signed ones are two's
    complement: from ``-2 ** (bits - 1) / resolution`` to ``(2 ** (bits - 1) - 1) / resolution``.
    The gradient passes within these bounds, the bounds included.

    Parameters
    ----------
    bits : int
        Bits of a code, 1 to 8.
    resolution : float
        Code steps in 1.0, positive.
    half : str
        Where a value halfway between two codes goes: ``"up"`` or ``"down"``.
    signed : bool
    """

    def __init__(self, bits, resolution, half="up", signed=False):
        super().__init__()
        self.bits = check_bits("UniformActivation", bits)
        if not 0 < resolution < float("inf"):
            raise ValueError("UniformActivation resolution must be positive and finite, "
                             f"not {resolution!r}")
        self.resolution = float(resolution)
        self.half = check_choice("UniformActivation half", half, ("up", "down"))
        self.signed = bool(signed)
        self.absorbs = () if signed else ("relu",)
        self.pad_code = 2 ** (bits - 1) if signed else 0

    def extra_repr(self):
        """Parameters, for ``repr``."""
        return (f"bits={self.bits}, resolution={self.resolution!r}, half={self.half!r}, "
                f"signed={self.signed}")

    def codebook(self):
        """See :meth:`ActivationQuantizer.codebook`; signed codes have an offset of half a step
        below 0."""
        book = unsigned_codebook(self.bits, 1 / self.resolution)
        return dataclasses.replace(book, offset=book.offset - self.pad_code / self.resolution)

    def levels(self):
        """See :meth:`ActivationQuantizer.levels`."""
        return (torch.arange(2 ** self.bits) - self.pad_code).double() / self.resolution

    def pad_value(self):
        """Value of the padding, a float: 0 is among the values, and its code pads."""
        return 0.0

    def _steps(self, x):
        # In float64 a float32 value times the resolution is exact, and so is every tie.
        return x.detach().double() * self.resolution

    def _nearest(self, steps):
        """Steps rounded and clipped: codes, counted from that of 0."""
        whole = (steps + 0.5).floor_() if self.half == "up" else (steps - 0.5).ceil_()
        return whole.clamp(-self.pad_code, 2 ** self.bits - 1 - self.pad_code)

    def encode(self, x):
        """Codes; the padding code, which is that of 0, is the first one of unsigned codes."""
        return (self._nearest(self._steps(x)) + self.pad_code).long()

    def forward(self, x):
        """Quantized activation."""
        steps = self._steps(x)
        inside = (steps >= -self.pad_code) & (steps <= 2 ** self.bits - 1 - self.pad_code)
        return straight_through(x, self._nearest(steps).div_(self.resolution), inside)


def unit_interval(bits, half="up"):
    """Codes over [0, 1]: steps of ``1 / (2 ** bits - 1)``."""
    return UniformActivation(check_bits("Activation", bits), 2 ** bits - 1, half)


def fixed_point(bits, fraction_bits, signed=False):
    """Codes of ``fraction_bits`` bits behind the binary point, half rounded up."""
    return UniformActivation(bits, 2.0 ** fraction_bits, signed=signed)
