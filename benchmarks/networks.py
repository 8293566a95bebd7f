"""Networks of the field with random weights, built from the machine's integers alone.

What a layer costs in cycles does not depend on its numbers, only on its shape; whether hardware and
reference agree must not depend on them either.
"""

import numpy as np

from xnorloom.sw.bitplanes import group_count
from xnorloom.sw.graph.network import (
    CodeFormat,
    Encoder,
    Layer,
    Network,
    Pool,
    Staircase,
    Term,
    binary_table,
)

__all__ = ["body", "cnv", "layer"]


def layer(name, source, in_shape, form, outputs, kernel, *, padding=0, stride=1, code_bits=2,
          weight_planes=1, grouping="layer", pool=None, ratio=2.0, rng):
    """A convolution with random weights, scales and thresholds.

    Parameters
    ----------
    name, source : str
    in_shape : tuple of int
        Channels, height and width of the map it reads.
    form : CodeFormat
        Of that map.
    outputs : int
    kernel : tuple of int
    padding, stride : int
    code_bits : int or None
        None leaves raw accumulators.
    weight_planes : int
    grouping : str
    pool : Pool, optional
    ratio : float
        Of the scales of one activation plane and the next; in ratio 2 they share a pass.
    rng : numpy.random.Generator

    Returns
    -------
    Layer
    """
    channels, height, width = in_shape
    out_map = tuple((size + 2 * padding - taps) // stride + 1
                    for size, taps in zip((height, width), kernel, strict=True))
    groups, planes = group_count(grouping, kernel), form.planes
    base = rng.integers(40, 160, (outputs, groups, 1, weight_planes)) * 8
    scales = np.rint(base * ratio ** np.arange(planes)[:, None]).astype(np.int64)
    spread = np.abs(scales).sum(axis=(1, 2, 3)) * np.sqrt(channels * kernel[0] * kernel[1])
    centre = scales.sum(axis=(1, 2, 3)) * channels * kernel[0] * kernel[1] // groups // 2
    requantize = None
    if code_bits is not None:
        steps = np.sort(rng.standard_normal((outputs, (1 << code_bits) - 1)), axis=1)
        requantize = Staircase(np.rint(steps * spread[:, None]).astype(np.int64) // 4)
    return Layer(
        name=name,
        terms=(Term(source=source, scales=-scales, grouping=grouping, stride=(stride, stride),
                    padding=(padding,) * 4,
                    weights=rng.integers(0, 2, (weight_planes, outputs, channels, *kernel),
                                         dtype=np.uint8)),),
        biases=centre, frac_bits=8, map=out_map, requantize=requantize, pool=pool,
        format=None if code_bits is None else CodeFormat(binary_table(code_bits)))


def body(channels=64, size=16, kernel=3, *, outputs=None, grouping="layer", ratio=2.0,
         activation_bits=2, seed=0):
    """One layer of the body of a low-bit network, W1A2 unless said."""
    rng = np.random.default_rng(seed)
    form, shape = CodeFormat(binary_table(activation_bits)), (channels, size, size)
    one = layer("body", "input", shape, form, outputs or channels, (kernel, kernel),
                padding=kernel // 2, code_bits=activation_bits, grouping=grouping, ratio=ratio,
                rng=rng)
    return Network("body", (one,), shape, form, Encoder(1.0))


def cnv(activation_bits=1, *, input_bits=8, seed=0):
    """FINN's CNV for 32 x 32 images: six convolutions of 3 x 3 without padding, two maximum
    poolings, three linear layers."""
    rng = np.random.default_rng(seed)
    form, shape, source, layers = CodeFormat(binary_table(input_bits)), (3, 32, 32), "input", []
    pooled = Pool("max", (2, 2), (2, 2))
    for number, (outputs, pool) in enumerate(
            ((64, None), (64, pooled), (128, None), (128, pooled), (256, None), (256, None))):
        layers.append(layer(f"conv{number}", source, shape, form, outputs, (3, 3),
                            code_bits=activation_bits, pool=pool, rng=rng))
        source, shape, form = layers[-1].name, layers[-1].out_shape, layers[-1].format
    for number, outputs in enumerate((512, 512, 10)):
        layers.append(layer(f"fc{number}", source, shape, form, outputs, shape[1:],
                            code_bits=activation_bits if number < 2 else None, rng=rng))
        source, shape, form = layers[-1].name, layers[-1].out_shape, layers[-1].format
    return Network(f"cnv-w1a{activation_bits}", tuple(layers), (3, 32, 32),
                   CodeFormat(binary_table(input_bits)), Encoder(1 / 255))
