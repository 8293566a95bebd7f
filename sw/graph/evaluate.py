"""Integer evaluation of a network: the formula of :mod:`sw.graph.network`, without a machine.

It knows neither memories nor limits of a machine, so it also evaluates activations of more bits
than the machine stores. It is what the quantized torch model is held against there.
"""

import numpy as np

from ..bitplanes import group_index

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
    maps = {"input": np.asarray(codes)}
    for layer in network.layers:
        accumulators = _accumulators(layer, maps[layer.source])
        maps[layer.name] = (accumulators if layer.requantize is None
                            else _codes(accumulators, layer.requantize.thresholds))
    del maps["input"]
    return maps


def _accumulators(layer, codes):
    vertical, horizontal = layer.padding
    padded = np.pad(codes, ((0, 0), (0, 0), (vertical,) * 2, (horizontal,) * 2),
                    constant_values=layer.input_format.pad_code)
    windows = np.lib.stride_tricks.sliding_window_view(padded, layer.kernel, axis=(2, 3))
    # Shape (images, height, width, inputs, kernel height, kernel width).
    windows = windows[:, :, ::layer.stride[0], ::layer.stride[1]].transpose(0, 2, 3, 1, 4, 5)
    taps = group_index(layer.grouping, layer.kernel)
    accumulators = np.zeros((*windows.shape[:3], len(layer.biases)), dtype=np.int64)
    accumulators += layer.biases
    for group in range(taps.max() + 1):
        seen = windows[..., taps == group].reshape(*windows.shape[:3], -1)
        weights = layer.weights[..., taps == group].reshape(*layer.weights.shape[:2], -1)
        for i, j in np.ndindex(layer.input_format.planes, len(weights)):
            bits = layer.input_format.table[:, i][seen]
            accumulators += layer.scales[:, group, i, j] * _mismatches(bits, weights[j])
    return accumulators.transpose(0, 3, 1, 2)


def _mismatches(bits, weights):
    """Ones of ``bits xor weights`` along the last axes; sums of ones are exact in float64."""
    agreeing = bits.astype(np.float64) @ weights.T.astype(np.float64)
    counts = bits.sum(axis=-1, keepdims=True, dtype=np.int64) + weights.sum(axis=-1, dtype=np.int64)
    return counts - 2 * agreeing.astype(np.int64)


def _codes(accumulators, thresholds):
    codes = [np.searchsorted(row, accumulators[:, channel], side="right")
             for channel, row in enumerate(thresholds)]
    return np.stack(codes, axis=1)
