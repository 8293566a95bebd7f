"""The formulas of :mod:`sw.graph.network`, evaluated naively: what evaluation is held against."""

import numpy as np

from xnorloom.sw.bitplanes import group_index
from xnorloom.sw.graph.network import Staircase

__all__ = ["evaluate"]


def evaluate(network, codes):
    """Maps of all layers: dict of name -> codes, or accumulators of a raw layer (int64)."""
    maps = {"input": np.asarray(codes).astype(np.int64)}
    formats = {"input": network.input_format}
    for layer in network.layers:
        acc = np.zeros((len(codes), layer.outputs, *layer.map), dtype=np.int64)
        acc += layer.biases[:, None, None]
        for term in layer.terms:
            if term.relu:
                acc[acc < 0] = 0
            for y, x in np.ndindex(*layer.map):
                acc[:, :, y, x] += _pixel(term, maps[term.source], formats[term.source], y, x)
        if layer.requantize is not None:
            acc = _codes(layer.requantize, acc)
        if layer.pool is not None:
            acc = _pooled(layer, acc)
        maps[layer.name], formats[layer.name] = acc, layer.format
    del maps["input"]
    return maps


def _pixel(term, codes, form, y, x):
    """What a term adds to one pixel of every image: ``(n, outputs)``."""
    images, channels, height, width = codes.shape
    outputs, inputs = term.weights.shape[1:3]
    groups = group_index(term.grouping, term.kernel)
    block = np.arange(outputs) * term.blocks // outputs
    lanes = block[:, None] * inputs + np.arange(inputs)
    total = np.zeros((images, outputs), dtype=np.int64)
    for ky, kx in np.ndindex(*term.kernel):
        line = y * term.stride[0] + ky * term.dilation[0] - term.padding[0]
        column = x * term.stride[1] + kx * term.dilation[1] - term.padding[2]
        if 0 <= line < height and 0 <= column < width:
            seen = codes[:, :, line, column]
        elif term.border is not None:
            total += term.border[:, ky, kx]
            continue
        else:
            seen = np.full((images, channels), term.pad_code)
        planes = form.table[seen][:, lanes]
        for i in range(form.planes):
            for j, weights in enumerate(term.weights[..., ky, kx]):
                differ = planes[..., i] != weights
                total += differ.sum(axis=2) * term.scales[:, groups[ky, kx], i, j]
    return total


def _codes(requantize, acc):
    if isinstance(requantize, Staircase):
        return (acc[..., None] >= requantize.thresholds[:, None, None]).sum(axis=-1)
    value = (acc >> requantize.shift) * requantize.multipliers[:, None, None]
    value = value + requantize.addends[:, None, None] >> requantize.down
    return np.minimum(np.maximum(value, 0), 2 ** requantize.bits - 1)


def _pooled(layer, codes):
    pool, (height, width) = layer.pool, layer.map
    out = np.zeros((*codes.shape[:2], *layer.out_shape[1:]), dtype=np.int64)
    for y, x in np.ndindex(*out.shape[2:]):
        inside = [codes[:, :, line, column]
                  for line in range(y * pool.stride[0] - pool.padding[0],
                                    y * pool.stride[0] - pool.padding[0] + pool.window[0])
                  for column in range(x * pool.stride[1] - pool.padding[2],
                                      x * pool.stride[1] - pool.padding[2] + pool.window[1])
                  if 0 <= line < height and 0 <= column < width]
        out[:, :, y, x] = (np.max if pool.kind == "max" else np.sum)(inside, axis=0)
    return out
