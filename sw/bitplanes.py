"""BitPlanes: the one form in which every quantizer hands on its result."""

from dataclasses import dataclass

import numpy as np

__all__ = ["BitPlanes", "GROUPINGS", "group_count", "group_index"]

GROUPINGS = ("layer", "row", "pixel")
"""How the scales of a weight map to its kernel: one set for all taps, per kernel row, or per
tap."""


def group_count(grouping, kernel):
    """Number of scale groups of a kernel of shape ``(height, width)``."""
    if grouping not in GROUPINGS:
        raise ValueError(f"Grouping must be one of {', '.join(GROUPINGS)}, not {grouping!r}")
    height, width = kernel
    return {"layer": 1, "row": height, "pixel": height * width}[grouping]


def group_index(grouping, kernel):
    """Group of every tap: an integer array of shape ``(height, width)``."""
    height, width = kernel
    taps = np.arange(height * width).reshape(height, width)
    return {"layer": taps * 0, "row": taps // width, "pixel": taps}[grouping]


@dataclass(frozen=True, eq=False)
class BitPlanes:
    """A tensor as a sum of bipolar planes: ``offset + sum_i scale_i * s_i``, ``s_i = 2 * bit_i -
    1``.

    Parameters
    ----------
    planes : uint8 array, shape ``(k, *shape)``
        Bits, 0 or 1. A weight has shape ``(outputs, inputs, height, width)`` (a linear weight has
        height = width = 1); a code book has shape ``(codes,)``: the planes of every code, in
        rising order of value.
    scales : float64 array, shape ``(k, channels, groups)``
        ``channels`` is the number of outputs, or 1 for one set for all; ``groups`` follows from
        ``grouping``. A code book has channels = groups = 1.
    offset : float
        Added to the sum.
    grouping : str
        One of :data:`GROUPINGS`.
    """

    planes: np.ndarray
    scales: np.ndarray
    offset: float = 0.0
    grouping: str = "layer"

    def __post_init__(self):
        planes = np.ascontiguousarray(self.planes, dtype=np.uint8)
        scales = np.ascontiguousarray(self.scales, dtype=np.float64)
        if planes.ndim not in (2, 5) or planes.size == 0 or planes.max() > 1:
            raise ValueError(f"BitPlanes planes must be bits of shape (k, codes) or (k, outputs, "
                             f"inputs, height, width), not shape {planes.shape}")
        if scales.ndim != 3 or len(scales) != len(planes):
            raise ValueError(f"BitPlanes scales must have shape ({len(planes)}, channels, groups), "
                             f"not {scales.shape}")
        if not np.isfinite(scales).all() or not np.isfinite(self.offset):
            raise ValueError("BitPlanes scales and offset must be finite")
        kernel = planes.shape[3:] if planes.ndim == 5 else (1, 1)
        channels = planes.shape[1] if planes.ndim == 5 else 1
        groups = group_count(self.grouping, kernel)
        if scales.shape[1] not in (1, channels) or scales.shape[2] != groups:
            raise ValueError(f"BitPlanes scales must have 1 or {channels} channels and {groups} "
                             f"groups, not {scales.shape[1:]}")
        object.__setattr__(self, "planes", planes)
        object.__setattr__(self, "scales", scales)
        object.__setattr__(self, "offset", float(self.offset))

    @property
    def count(self):
        """Number of planes."""
        return len(self.planes)

    @property
    def shape(self):
        """Shape of the tensor that the planes stand for."""
        return self.planes.shape[1:]

    def reconstruct(self):
        """The tensor itself, float64."""
        signs = 2.0 * self.planes - 1.0
        if signs.ndim == 2:
            return self.offset + np.einsum("kc,k->c", signs, self.scales[:, 0, 0])
        taps = self.scales[:, :, group_index(self.grouping, self.shape[2:])]
        return self.offset + (signs * taps[:, :, None]).sum(axis=0)
