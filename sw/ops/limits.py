"""Limits of the format for one layer: what every machine refuses, whatever its size."""

from xnorloom.hw.spec.descriptor import (
    MAX_CODE_BITS,
    MAX_MAP,
    MAX_MAP_BITS,
    MAX_PLANES,
    MAX_POOL,
    MAX_STRIDE,
    MAX_TERMS,
)

__all__ = ["MAX_CODE_BITS", "MAX_MAP_BITS", "MAX_POOL", "broken_code_limit", "broken_limit",
           "broken_pool_limit", "broken_terms_limit", "out_map"]


def out_map(in_map, kernel, stride, padding, dilation=(1, 1)):
    """Height and width of what a convolution makes of a map; below 1 where its kernel does not
    fit.

    Parameters
    ----------
    in_map, kernel, stride, dilation : tuple of int
        Vertical, horizontal.
    padding : tuple of int
        Top, bottom, left, right.
    """
    return tuple((size + pads - step * (taps - 1) - 1) // pace + 1 for size, pads, step, taps, pace
                 in zip(in_map, (padding[0] + padding[1], padding[2] + padding[3]), dilation,
                        kernel, stride, strict=True))


def broken_limit(*, kernel, stride, padding, in_map, dilation=(1, 1), weight_planes=1,
                 activation_planes=1):
    """The first limit that a term breaks.

    Parameters
    ----------
    kernel, stride, in_map, dilation : tuple of int
        Vertical, horizontal; the map in pixels.
    padding : tuple of int
        Top, bottom, left, right.
    weight_planes, activation_planes : int

    Returns
    -------
    str or None
        End of a sentence that starts with the layer: what, the demand, and the value.
    """
    for what, high, values in (("stride", MAX_STRIDE, stride), ("input map", MAX_MAP, in_map)):
        if not all(1 <= value <= high for value in values):
            return f"{what} must be from 1 to {high} in each direction, not {_shown(values)}"
    found = out_map(in_map, kernel, stride, padding, dilation)
    if min(found) < 1:
        size = (in_map[0] + padding[0] + padding[1], in_map[1] + padding[2] + padding[3])
        return (f"kernel must lie within its padded map, {size[0]} x {size[1]}, not be "
                f"{kernel[0]} x {kernel[1]}")
    if max(found) > MAX_MAP:
        return f"output map must be from 1 to {MAX_MAP} in each direction, not {_shown(found)}"
    for what, count in (("weight", weight_planes), ("activation", activation_planes)):
        if not 1 <= count <= MAX_PLANES:
            return f"{what} planes must be from 1 to {MAX_PLANES}, not {count}"
    return None


def broken_terms_limit(count):
    """End of a sentence that starts with a layer of too many terms, or None."""
    if count <= MAX_TERMS:
        return None
    return f"must sum at most {MAX_TERMS} maps, not {count}"


def broken_pool_limit(window, stride):
    """End of a sentence that starts with a pool beyond the format, or None."""
    for what, values in (("window", window), ("stride", stride)):
        if not all(1 <= value <= MAX_POOL for value in values):
            return f"{what} must be from 1 to {MAX_POOL} in each direction, not {_shown(values)}"
    return None


def broken_code_limit(bits):
    """End of a sentence that starts with an activation of too many bits, or None."""
    if bits <= MAX_MAP_BITS:
        return None
    return f"must have at most {MAX_MAP_BITS} bits on any machine, not {bits}"


def _shown(values):
    return f"{tuple(int(value) for value in values)!r}"
