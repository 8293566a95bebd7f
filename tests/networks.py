"""Small networks for tests, built without torch."""

import numpy as np

from xnorloom.sw.graph.network import CodeFormat, MatrixLayer, Network, Requantize

__all__ = ["binary_format", "layer", "small_network"]


def binary_format(planes, pad_code=0):
    """Codes stored as their own binary digits."""
    codes = np.arange(1 << planes)
    return CodeFormat((codes[:, None] >> np.arange(planes) & 1).astype(np.uint8), pad_code)


def layer(name="conv", source="input", in_shape=(3, 6, 6), outputs=4, kernel=(3, 3), stride=(1, 1),
          padding=(1, 1), activation_planes=2, weight_planes=1, code_bits=2, scales=None, seed=0,
          grouping="layer"):
    """A layer; ``code_bits`` None leaves raw accumulators."""
    rng = np.random.default_rng(seed)
    groups = {"layer": 1, "row": kernel[0], "pixel": kernel[0] * kernel[1]}[grouping]
    if scales is None:
        scales = rng.integers(-20, 20, (outputs, groups, activation_planes, weight_planes))
    out_shape = (outputs, *((side + 2 * pad - taps) // step + 1 for side, pad, taps, step in
                            zip(in_shape[1:], padding, kernel, stride, strict=True)))
    requantize = None
    if code_bits is not None:
        thresholds = np.sort(rng.integers(-300, 300, (outputs, (1 << code_bits) - 1)), axis=1)
        requantize = Requantize(thresholds, binary_format(code_bits))
    return MatrixLayer(
        name=name, source=source,
        weights=rng.integers(0, 2, (weight_planes, outputs, in_shape[0], *kernel)).astype(np.uint8),
        scales=np.asarray(scales, dtype=np.int64), biases=rng.integers(-99, 99, outputs),
        frac_bits=4, grouping=grouping, stride=stride, padding=padding, in_shape=in_shape,
        out_shape=out_shape, input_format=binary_format(activation_planes), requantize=requantize)


def small_network(*layers, step=0.25):
    """A network of the layers given; of a convolution and a raw linear layer if none is."""
    if not layers:
        first = layer("conv", stride=(2, 2))
        layers = (first, layer("linear", "conv", first.out_shape, 5, kernel=(3, 3), stride=(3, 3),
                               padding=(0, 0), code_bits=None, seed=1))
    return Network("small", layers, layers[0].in_shape, layers[0].input_format, step)
