"""Integer codes as bipolar planes: the formats that the quantizers share.

Every function returns ``bits`` (bool, planes first, the highest scale first) and ``scales``
(float64, shape ``(planes, channels, groups)``), as :meth:`WeightQuantizer.split` hands them on.
"""

import numpy as np
import torch

from ..bitplanes import BitPlanes

__all__ = ["binary_planes", "even_planes", "midtread_planes", "unsigned_codebook"]


def binary_planes(bits):
    """Planes of the codes 0 to ``2 ** bits - 1``: uint8 of shape ``(bits, 2 ** bits)``, plane 0 the
    most significant bit."""
    codes = np.arange(2 ** bits)
    return np.stack([codes >> shift & 1 for shift in reversed(range(bits))]).astype(np.uint8)


def unsigned_codebook(bits, step):
    """Code book of the values ``code * step``: scales ``step * 2 ** (j - 1)``, offset their sum."""
    scales = step * 2.0 ** np.arange(bits - 2, -2, -1)
    return BitPlanes(binary_planes(bits), scales.reshape(-1, 1, 1), offset=scales.sum())


def even_planes(codes, bits, top):
    """Values ``top * (2 * code / (2 ** bits - 1) - 1)``: even levels, none of them zero.

    Parameters
    ----------
    codes : int64 tensor
        0 to ``2 ** bits - 1``, of any shape.
    bits : int
        As many planes.
    top : float64 tensor, shape ``()`` or ``(channels, groups)``
        The largest level.
    """
    shifts = torch.arange(bits - 1, -1, -1)
    planes = (codes >> shifts.reshape(-1, *[1] * codes.dim())) & 1
    return planes.bool(), _scales(top / (2 ** bits - 1), 2.0 ** shifts)


def midtread_planes(codes, bits, step):
    """Values ``code * step``, odd levels with a zero; ``bits`` = 1 is ternary.

    A zero needs one plane more: ``code`` is the sum of ``2 ** bits`` even levels and of a half step
    that only the lowest code takes away.

    Parameters
    ----------
    codes : int64 tensor
        ``-K`` to ``K = 2 ** (bits - 1)``, of any shape.
    bits : int
        One less than there are planes.
    step : float64 tensor, shape ``()`` or ``(channels, groups)``
    """
    half = 2 ** (bits - 1)
    shifts = torch.arange(bits - 1, -1, -1)
    even = ((codes + half - 1).clamp_min(0) >> shifts.reshape(-1, *[1] * codes.dim())) & 1
    planes = torch.cat([even.bool(), (codes > -half).unsqueeze(0)])
    return planes, _scales(step / 2, torch.cat([2.0 ** shifts, torch.ones(1)]))


def _scales(unit, ratios):
    unit = torch.as_tensor(unit, dtype=torch.float64)
    return ratios.double().reshape(-1, 1, 1) * (unit.reshape(1, 1) if unit.dim() == 0 else unit)
