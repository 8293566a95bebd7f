"""Integer codes as bipolar planes: the formats that the quantizers share.

Every function returns ``bits`` (bool, planes first, the highest scale first) and ``scales``
(float64, shape ``(planes, channels, groups)``), as :meth:`WeightQuantizer.split` hands them on.
"""

import numpy as np
import torch

from ..bitplanes import BitPlanes

__all__ = ["binary_planes", "even_planes", "midtread_planes", "odd_planes", "unsigned_codebook"]


def binary_planes(bits):
    """Planes of the codes 0 to ``2 ** bits - 1``: uint8 of shape ``(bits, 2 ** bits)``, plane 0 the
    most significant bit."""
    codes = np.arange(2 ** bits)
    return np.stack([codes >> shift & 1 for shift in reversed(range(bits))]).astype(np.uint8)


def unsigned_codebook(bits, step):
    """Code book of the values ``code * step``: scales ``step * 2 ** (j - 1)``, offset their sum."""
    scales = _shortened(step) * 2.0 ** np.arange(bits - 2, -2, -1)
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
    return _digits(codes, bits), _scales(top / (2 ** bits - 1), _powers(bits))


def odd_planes(codes, bits, top):
    """Values ``top * code / K``, ``K = 2 ** (bits - 1) - 1``: an odd number of levels, zero among
    them.

    Scales in the ratios ``K, 2 ** (bits - 2), .., 2, 1`` reach every level with the fewest planes
    there can be: the first plane is the sign (0 counts as positive), and what is left of the code
    above the lowest one of its sign, 0 to K, is binary.

    Parameters
    ----------
    codes : int64 tensor
        ``-K`` to ``K``, of any shape.
    bits : int
        As many planes, 2 or more.
    top : float64 tensor, shape ``()`` or ``(channels, groups)``
        The largest level.
    """
    largest = 2 ** (bits - 1) - 1
    positive = codes >= 0
    rest = _digits(torch.where(positive, codes, codes + largest), bits - 1)
    ratios = torch.cat([torch.tensor([float(largest)]), _powers(bits - 1)])
    return (torch.cat([positive.unsqueeze(0), rest]),
            _scales(_shortened(top / (2 * largest)), ratios))


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
    even = _digits((codes + half - 1).clamp_min(0), bits)
    planes = torch.cat([even, (codes > -half).unsqueeze(0)])
    return planes, _scales(step / 2, torch.cat([_powers(bits), torch.ones(1)]))


def _shortened(scale):
    # Without its last eight bits: sums of its multiples are then exact, and zero is exactly zero.
    wide = scale * (2.0 ** 8 + 1)
    return wide - (wide - scale)


def _powers(bits):
    return 2.0 ** torch.arange(bits - 1, -1, -1)


def _digits(codes, bits):
    shifts = torch.arange(bits - 1, -1, -1)
    return (codes >> shifts.reshape(-1, *[1] * codes.dim()) & 1).bool()


def _scales(unit, ratios):
    unit = torch.as_tensor(unit, dtype=torch.float64)
    return ratios.double().reshape(-1, 1, 1) * (unit.reshape(1, 1) if unit.dim() == 0 else unit)
