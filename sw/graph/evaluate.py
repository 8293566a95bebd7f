"""Integer evaluation of a network: the formulas of :mod:`sw.graph.network`, without a machine.

It knows neither memories nor limits of a machine. It is what the snapped torch model is held
against, layer by layer.
"""

import numpy as np

from ..bitplanes import group_index
from .network import Rescale

__all__ = ["evaluate"]


def evaluate(network, codes):
    """Results of every layer.

    Parameters
    ----------
    network : sw.graph.network.Network
    codes : int array, shape ``(n, channels, height, width)``
        Input codes, as :meth:`sw.graph.network.Network.encode` makes them.

    Returns
    -------
    dict of str to int64 array, shape ``(n, outputs, height, width)``
        By layer: its codes, or the accumulators of a layer without re-quantization.
    """
    maps = {"input": np.asarray(codes, dtype=np.int64)}
    formats = {"input": network.input_format}
    for layer in network.layers:
        shape = (len(codes), layer.outputs, *layer.map)
        acc = np.broadcast_to(layer.biases[:, None, None], shape).astype(np.int64)
        for term in layer.terms:
            if term.relu:
                acc = np.maximum(acc, 0)
            acc = acc + _term(term, maps[term.source], formats[term.source], layer.map)
        if layer.requantize is not None:
            acc = _codes(layer.requantize, acc)
        maps[layer.name] = acc if layer.pool is None else _pooled(layer.pool, acc)
        formats[layer.name] = layer.format
    del maps["input"]
    return maps


def _term(term, codes, form, out_map):
    """What a term adds: int64 array, shape ``(n, outputs, height, width)``."""
    bits = form.table.astype(np.int64)[codes]
    outside = np.asarray(form.table)[term.pad_code].astype(np.int64)
    windows = _windows(term, bits, outside, out_map)
    taps = group_index(term.grouping, term.kernel)
    outputs, inputs = term.weights.shape[1:3]
    total = np.zeros((len(codes), outputs, *out_map), dtype=np.int64)
    here = _windows(term, np.ones((1, 1, *codes.shape[2:]), dtype=np.int64), 0, out_map)[0, 0]
    each = outputs // term.blocks
    for block in range(term.blocks):
        seen = windows[:, block * inputs:(block + 1) * inputs]
        channels = slice(block * each, (block + 1) * each)
        for ky, kx in np.ndindex(*term.kernel):
            weights = term.weights[:, channels, :, ky, kx].astype(np.int64)
            scales = term.scales[channels, taps[ky, kx]]
            pixels = seen[..., ky, kx, :]
            added = np.zeros((len(codes), each, *out_map), dtype=np.int64)
            for i, j in np.ndindex(scales.shape[1:]):
                added += scales[:, i, j, None, None] * _mismatches(pixels[..., i], weights[j])
            if term.border is not None:
                added = np.where(here[..., ky, kx], added,
                                 term.border[channels, ky, kx, None, None])
            total[:, channels] += added
    return total


def _windows(term, maps, outside, out_map):
    """What every tap reads: shape ``(n, channels, height, width, kernel height, kernel width,
    ...)``."""
    top, bottom, left, right = term.padding
    edges = ((0, 0), (0, 0), (top, bottom), (left, right))
    padded = np.empty((*maps.shape[:2], maps.shape[2] + top + bottom, maps.shape[3] + left + right,
                       *maps.shape[4:]), dtype=np.int64)
    padded[:] = outside
    inner = tuple(slice(before, size - behind) for (before, behind), size
                  in zip(edges, padded.shape, strict=False))
    padded[inner] = maps
    (ky, kx), (sy, sx), (dy, dx) = term.kernel, term.stride, term.dilation
    y = np.arange(out_map[0])[:, None, None, None] * sy + np.arange(ky)[:, None] * dy
    x = np.arange(out_map[1])[:, None, None] * sx + np.arange(kx) * dx
    return padded[:, :, y, x]


def _mismatches(bits, weights):
    """Ones of ``bits xor weights`` over the channels: ``(n, outputs, height, width)``."""
    agreeing = np.einsum("nchw,mc->nmhw", bits.astype(np.float64), weights.astype(np.float64),
                         optimize=True)
    ones = bits.sum(axis=1)[:, None] + weights.sum(axis=1)[:, None, None]
    return ones - 2 * np.rint(agreeing).astype(np.int64)


def _codes(requantize, acc):
    if isinstance(requantize, Rescale):
        product = (acc >> requantize.shift) * requantize.multipliers[:, None, None]
        shifted = product + requantize.addends[:, None, None] >> requantize.down
        return np.clip(shifted, 0, (1 << requantize.bits) - 1)
    codes = [np.searchsorted(row, acc[:, channel], side="right")
             for channel, row in enumerate(requantize.thresholds)]
    return np.stack(codes, axis=1).astype(np.int64)


def _pooled(pool, codes):
    height, width = codes.shape[2:]
    pooled = np.zeros((*codes.shape[:2], *pool.out_map(height, width)), dtype=np.int64)
    for y, x in np.ndindex(*pooled.shape[2:]):
        top, left = y * pool.stride[0] - pool.padding[0], x * pool.stride[1] - pool.padding[2]
        window = codes[:, :, max(0, top):top + pool.window[0], max(0, left):left + pool.window[1]]
        pooled[:, :, y, x] = (window.max(axis=(2, 3)) if pool.kind == "max"
                              else window.sum(axis=(2, 3)))
    return pooled
