"""The formula of :mod:`sw.graph.network`, evaluated naively: what the reference is held against."""

import numpy as np

from xnorloom.sw.bitplanes import group_index

__all__ = ["evaluate"]


def evaluate(network, codes):
    """Maps of all layers: dict of name -> codes, or accumulators of a raw layer (int64)."""
    maps = {"input": np.asarray(codes).astype(np.int64)}
    for layer in network.layers:
        acc = _accumulators(layer, maps[layer.source])
        if layer.requantize is None:
            maps[layer.name] = acc
        else:
            thresholds = layer.requantize.thresholds[None, :, None, None]
            maps[layer.name] = (acc[..., None] >= thresholds).sum(axis=-1)
    return maps


def _accumulators(layer, codes):
    (pad_y, pad_x), (step_y, step_x) = layer.padding, layer.stride
    padded = np.pad(codes, ((0, 0), (0, 0), (pad_y, pad_y), (pad_x, pad_x)),
                    constant_values=layer.input_format.pad_code)
    planes = layer.input_format.table[padded]
    outputs, height, width = layer.out_shape
    acc = np.zeros((len(codes), outputs, height, width), dtype=np.int64)
    acc += layer.biases[:, None, None]
    groups = group_index(layer.grouping, layer.kernel)
    for ky in range(layer.kernel[0]):
        for kx in range(layer.kernel[1]):
            patch = planes[:, :, ky:ky + step_y * height:step_y, kx:kx + step_x * width:step_x]
            patch = patch[:, :, :height, :width]
            scales = layer.scales[:, groups[ky, kx]]
            for i in range(scales.shape[1]):
                for j in range(scales.shape[2]):
                    weights = layer.weights[j, :, :, ky, kx]
                    differ = patch[:, None, :, :, :, i] ^ weights[None, :, :, None, None]
                    acc += scales[None, :, i, j, None, None] * differ.sum(axis=2, dtype=np.int64)
    return acc
