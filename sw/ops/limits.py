"""Limits of the format for one layer: what every machine refuses, whatever its size."""

from xnorloom.hw.spec.descriptor import (
    MAX_BORDER,
    MAX_CODE_BITS,
    MAX_KERNEL,
    MAX_MAP,
    MAX_PLANES,
    MAX_STRIDE,
)

__all__ = ["MAX_LINEAR_MAP", "broken_code_limit", "broken_limit", "out_map"]

MAX_LINEAR_MAP = min(MAX_KERNEL, MAX_STRIDE)
"""Largest height and width of a map that a linear layer reads: its kernel and stride."""


def out_map(in_map, kernel, stride, padding):
    """Height and width of what a convolution makes of a map; below 1 where its kernel does not
    fit."""
    return tuple((size + 2 * pad - taps) // step + 1 for size, taps, step, pad
                 in zip(in_map, kernel, stride, padding, strict=True))


def broken_limit(*, kernel, stride, padding, in_map, weight_planes=1, activation_planes=1):
    """The first limit that a layer breaks.

    Parameters
    ----------
    kernel, stride, padding, in_map : tuple of int
        Vertical, horizontal; the map in pixels.
    weight_planes, activation_planes : int

    Returns
    -------
    str or None
        End of a sentence that starts with the layer: what, the demand, and the value.
    """
    for what, low, high, values in (("kernel", 1, MAX_KERNEL, kernel),
                                    ("stride", 1, MAX_STRIDE, stride),
                                    ("padding", 0, MAX_BORDER, padding),
                                    ("input map", 1, MAX_MAP, in_map)):
        if not all(low <= value <= high for value in values):
            return f"{what} must be from {low} to {high} in each direction, not {_shown(values)}"
    found = out_map(in_map, kernel, stride, padding)
    if min(found) < 1:
        return (f"kernel must lie within its padded map, {_by(in_map, padding)}, not be "
                f"{kernel[0]} x {kernel[1]}")
    if max(found) > MAX_MAP:
        return f"output map must be from 1 to {MAX_MAP} in each direction, not {_shown(found)}"
    for what, count in (("weight", weight_planes), ("activation", activation_planes)):
        if not 1 <= count <= MAX_PLANES:
            return f"{what} planes must be from 1 to {MAX_PLANES}, not {count}"
    return None


def broken_code_limit(bits):
    """End of a sentence that starts with an activation of too many bits, or None."""
    if bits <= MAX_CODE_BITS:
        return None
    return (f"must have at most {MAX_CODE_BITS} bits on any machine (more run in torch and in "
            f"sw.graph.evaluate only), not {bits}")


def _shown(values):
    return f"{tuple(int(value) for value in values)!r}"


def _by(in_map, padding):
    return " x ".join(str(size + 2 * pad) for size, pad in zip(in_map, padding, strict=True))
