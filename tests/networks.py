"""Small networks for tests, built without torch."""

import numpy as np

from xnorloom.sw.bitplanes import group_count
from xnorloom.sw.graph.network import (
    CodeFormat,
    Encoder,
    Layer,
    Network,
    Staircase,
    Term,
    binary_table,
)
from xnorloom.sw.passes.demands import term_map

__all__ = ["binary_format", "identity", "layer", "small_network", "term"]


def binary_format(planes):
    """Codes stored as their own binary digits."""
    return CodeFormat(binary_table(planes))


def term(source="input", channels=3, outputs=4, kernel=(3, 3), planes=2, weight_planes=1,
         scales=None, seed=0, blocks=1, **fields):
    """A term over a map of ``channels`` channels and ``planes`` planes."""
    rng = np.random.default_rng(seed)
    groups = group_count(fields.get("grouping", "layer"), kernel)
    if scales is None:
        scales = rng.integers(-20, 20, (outputs, groups, planes, weight_planes))
    weights = rng.integers(0, 2, (weight_planes, outputs, channels // blocks, *kernel))
    return Term(source, weights.astype(np.uint8), np.asarray(scales, dtype=np.int64),
                blocks=blocks, **fields)


def identity(source, channels, planes, scale=2, **fields):
    """A shortcut: every output adds the planes of its own channel."""
    scales = scale << np.broadcast_to(np.arange(planes)[:, None], (channels, 1, planes, 1))
    return Term(source, np.zeros((1, channels, 1, 1, 1), dtype=np.uint8),
                scales.astype(np.int64), blocks=channels, **fields)


def layer(name="conv", source="input", in_shape=(3, 6, 6), outputs=4, kernel=(3, 3), stride=(1, 1),
          padding=(1, 1, 1, 1), activation_planes=2, weight_planes=1, code_bits=2, scales=None,
          seed=0, grouping="layer", terms=(), pool=None, **fields):
    """A layer of one convolution and more terms; ``code_bits`` None leaves raw accumulators."""
    rng = np.random.default_rng(seed)
    first = term(source, in_shape[0], outputs, kernel, activation_planes, weight_planes, scales,
                 seed, stride=stride, padding=padding, grouping=grouping, **fields)
    requantize = form = None
    if code_bits is not None:
        thresholds = np.sort(rng.integers(-300, 300, (outputs, (1 << code_bits) - 1)), axis=1)
        requantize = Staircase(thresholds)
        form = binary_format(code_bits if pool is None else pool.bits(code_bits))
    return Layer(name, (first, *terms), rng.integers(-99, 99, outputs), 4,
                 term_map(first, *in_shape[1:]), requantize, pool, form)


def small_network(*layers, in_shape=(3, 6, 6), planes=2, step=0.25):
    """A network of the layers given; of a convolution and a raw linear layer if none is."""
    if not layers:
        first = layer("conv", stride=(2, 2))
        layers = (first, layer("linear", "conv", first.out_shape, 5, kernel=(3, 3),
                               padding=(0, 0, 0, 0), code_bits=None, seed=1))
    return Network("small", layers, in_shape, binary_format(planes), Encoder(step))
