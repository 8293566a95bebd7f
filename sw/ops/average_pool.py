"""Average over windows, of the whole map too: a sum of codes, or weights that are repeated."""

import dataclasses
import math

import numpy as np
import torch.nn.functional as F
from torch import nn

from ..bitplanes import BitPlanes
from .limits import MAX_MAP_BITS, MAX_POOL
from .max_pool import as_edges, as_plane, pool_attributes
from .operator import Operator, Refused, register
from .values import Map, stored

__all__ = ["AveragePool"]

class AveragePool(Operator):
    """``torch.nn.AvgPool2d``, ``AvgPool1d``, ``AdaptiveAvgPool2d`` and ``1d``, their functional
    forms, and the mean over all pixels."""

    name = "average_pool"
    aten = ("avg_pool2d", "avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool1d", "mean")
    kind = "coded"
    modules = (nn.AvgPool2d, nn.AvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool1d)

    def read(self, call):
        """See :meth:`Operator.read`."""
        source = call.value("self")
        axes = len(source.shape) - 2
        if axes not in (1, 2):
            raise Refused(f"must read a batch of maps, not {source.shape!r}")
        sizes = source.shape[2:]
        if call.aten == "mean":
            if sorted(each % len(source.shape) for each in call["dim"] or ()) != list(
                    range(2, len(source.shape))):
                raise Refused("must average over all pixels, and nothing else, not over axes "
                              f"{call['dim']!r}")
            attributes = {"window": sizes, "stride": sizes, "padding": (0,) * axes}
        elif call.aten.startswith("adaptive"):
            if any(size % kept for size, kept in zip(sizes, call.shape[2:])):
                raise Refused(f"output size must divide the map {sizes!r}, not be "
                              f"{tuple(call.shape[2:])!r}")
            window = tuple(size // kept for size, kept in zip(sizes, call.shape[2:]))
            attributes = {"window": window, "stride": window, "padding": (0,) * axes}
        else:
            attributes = pool_attributes(call, axes, source)
            if any(attributes["padding"]) and not call["count_include_pad"]:
                raise Refused("count_include_pad must be true with padding, not False")
            if call["divisor_override"] not in (None, math.prod(attributes["window"])):
                raise Refused("divisor_override must be the size of the window, not "
                              f"{call['divisor_override']}")
        return (source.name,), attributes, {}

    def positive(self, node, *inputs):
        """See :meth:`Operator.positive`."""
        return all(inputs)

    def run(self, node, module, *inputs):
        """See :meth:`Operator.run`."""
        function = F.avg_pool1d if len(node["window"]) == 1 else F.avg_pool2d
        found = function(*inputs, node["window"], node["stride"], node["padding"])
        return found.reshape(len(found), *node.shape)

    def lower(self, node, module, fuser, *inputs):
        """See :meth:`Operator.lower`: a sum where levels are even and it can be stored, else left
        to the layer that reads it."""
        (value,) = inputs
        window, stride = as_plane(node["window"]), as_plane(node["stride"])
        padding = as_edges(node["padding"])
        books = [_summed(part, math.prod(window), any(padding)) for part in value.parts]
        short = max(*window, *stride) <= MAX_POOL
        if short and all(book is not None for book in books):
            return fuser.pooled(node, value, "sum", window, stride, padding, books)
        sizes = value.parts[0].shape[1:]
        if stride != window or any(padding) or any(
                size % taps for size, taps in zip(sizes, window)):
            raise Refused(f"must have windows side by side that fill the map, as the sum of its "
                          f"codes cannot be stored: it has more than {MAX_MAP_BITS} bits, a window "
                          f"of more than {MAX_POOL}, or its levels are uneven")
        parts = [dataclasses.replace(part, spread=tuple(
            before * size for before, size in zip(part.spread, window))) for part in value.parts]
        return Map(tuple(parts))


def _summed(part, area, padded):
    """Code book of the sum of codes, as an average; None if there is none."""
    levels = part.codebook.reconstruct()
    steps = np.diff(levels)
    bits = (area * (len(levels) - 1)).bit_length()
    even = bool((steps > 0).all()) and np.allclose(steps, steps[0], rtol=1e-9, atol=0)
    if part.spread != (1, 1) or bits > MAX_MAP_BITS or not even or (padded and levels[0]):
        return None
    # The planes are the digits of the sum; a power of two times the step keeps them exact.
    step = (levels[-1] - levels[0]) / (len(levels) - 1) / area
    scales = step * 2.0 ** np.arange(bits - 2, -2, -1)
    planes = (np.arange(1 << bits) >> np.arange(bits)[::-1, None] & 1).astype(np.uint8)
    return stored(BitPlanes(planes, scales.reshape(-1, 1, 1), offset=scales.sum() + levels[0]))


register(AveragePool())
