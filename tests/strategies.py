"""Hypothesis strategies: random machines and random networks, odd ones above all."""

import dataclasses

import numpy as np
from hypothesis import strategies as st

from xnorloom.hw.spec.config import MachineConfig
from xnorloom.sw.bitplanes import group_count
from xnorloom.sw.graph.network import CodeFormat, MatrixLayer, Network, Requantize
from xnorloom.sw.passes.compiler import compile_network

__all__ = ["SCALE_KINDS", "cases", "code_formats", "layers", "machines", "networks", "random_codes"]

SCALE_KINDS = ("equal", "ratio2", "arbitrary", "negative", "mixed", "sparse")
"""How the scales of the plane pairs relate."""

_DEPTHS = ("activation", "weight", "scale", "bias", "threshold", "tap", "pair", "program")
_AMPLE = 65536


@st.composite
def machines(draw, depth=4096, **fixed):
    """A random small machine; keyword arguments fix fields."""
    rows = draw(st.sampled_from([1, 2, 3, 4, 5, 8]))
    cols = draw(st.sampled_from([1, 2, 3, 4]))
    lanes = cols * draw(st.sampled_from([n for n in (1, 2, 3, 5, 8, 9, 16) if n * cols <= 40]))
    fields = {
        "rows": rows, "cols": cols, "lanes": lanes,
        "units": draw(st.sampled_from([n for n in range(1, rows + 1) if rows % n == 0])),
        "doubling": draw(st.booleans()),
        "count_bits": draw(st.integers(max(11, lanes.bit_length()), 17)),
        "scale_bits": draw(st.integers(6, 18)), "acc_bits": 32,
        "code_bits": draw(st.integers(1, 4)),
        "popcount_stages": draw(st.sampled_from([1, 2])),
        **{f"{name}_depth": depth for name in _DEPTHS},
    }
    return MachineConfig(**{**fields, **fixed})


@st.composite
def code_formats(draw, planes):
    """A code table of ``planes`` planes in any order, and a padding code."""
    rng = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    codes = np.arange(1 << planes)
    if draw(st.booleans()):
        codes = rng.permutation(codes)
    table = (codes[:, None] >> np.arange(planes) & 1).astype(np.uint8)
    return CodeFormat(table, draw(st.sampled_from([0, len(table) - 1, len(table) // 2])))


def _scales(rng, kind, shape, limit):
    """Scales of a kind: int64, ``(outputs, groups, activation planes, weight planes)``."""
    if kind == "arbitrary":
        return rng.integers(-limit - 1, limit + 1, shape)
    ones = np.ones(shape, dtype=np.int64)
    sign = -1 if kind == "negative" else 1
    i, j = np.arange(shape[2])[:, None], np.arange(shape[3])
    if kind == "equal":
        level = 0 * (i + j)
    elif kind in ("ratio2", "negative"):
        level = i + j
    else:
        level = rng.integers(0, 4, shape[2:])
    top = max(1, limit >> int(level.max()))
    scales = sign * rng.integers(1, top + 1, shape[:2])[:, :, None, None] * ones
    scales = np.clip(scales << level, -limit, limit)
    if kind == "sparse":
        scales = scales * rng.integers(0, 2, shape[2:])
    return scales


@st.composite
def layers(draw, config, name, source, in_shape, input_format, raw):
    """A random layer that reads ``in_shape``."""
    channels, height, width = in_shape
    kernel, stride, padding = [], [], []
    for side in (height, width):
        pad = draw(st.sampled_from([0, 0, 1, 2, 3]))
        kernel.append(draw(st.integers(1, min(7, side + 2 * pad))))
        stride.append(draw(st.sampled_from([1, 1, 2, 3, 4])))
        padding.append(pad)
    outputs = draw(st.integers(1, 2 * config.cols + 2))
    planes = draw(st.sampled_from([1, 1, 2, 2, 3, 5, 8]))
    grouping = draw(st.sampled_from(["layer", "layer", "row", "pixel"]))
    kind = draw(st.sampled_from(SCALE_KINDS))
    rng = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    shape = (outputs, group_count(grouping, kernel), input_format.planes, planes)
    limit = min(200, (1 << config.scale_bits - 1) - 1)
    scales = _scales(rng, kind, shape, limit).astype(np.int64)
    biases = rng.integers(-1000, 1000, outputs)
    out_shape = (outputs, *((side + 2 * pad - taps) // step + 1 for side, pad, taps, step in
                            zip((height, width), padding, kernel, stride, strict=True)))
    requantize = None
    if not raw:
        bits = draw(st.integers(1, config.code_bits))
        half = channels * kernel[0] * kernel[1] * scales.sum(axis=(2, 3)).mean(axis=1) / 2
        spread = 2 + np.abs(scales).max() * np.sqrt(channels * kernel[0] * kernel[1] * planes)
        centre = (biases + half)[:, None]
        thresholds = np.rint(centre + spread * rng.standard_normal((outputs, (1 << bits) - 1)))
        thresholds = thresholds.astype(np.int64)
        if draw(st.booleans()):
            thresholds[rng.random(thresholds.shape) < 0.2] = 1 << 40
            thresholds[rng.random(thresholds.shape) < 0.1] = -(1 << 40)
        requantize = Requantize(np.sort(thresholds, axis=1), draw(code_formats(bits)))
    weights = rng.integers(0, 2, (planes, outputs, channels, *kernel)).astype(np.uint8)
    return MatrixLayer(
        name=name, source=source, weights=weights, scales=scales, biases=biases,
        frac_bits=draw(st.integers(-2, 8)), grouping=grouping, stride=tuple(stride),
        padding=tuple(padding), in_shape=in_shape, out_shape=out_shape, input_format=input_format,
        requantize=requantize)


@st.composite
def networks(draw, config, most=3):
    """A random chain of 1 to ``most`` layers."""
    count = draw(st.integers(1, most))
    shape = (draw(st.sampled_from([1, 2, 3, config.lanes, config.lanes + 1])),
             draw(st.integers(1, 9)), draw(st.integers(1, 9)))
    form = draw(code_formats(draw(st.sampled_from([1, 2, 3, 4, 8]))))
    first, in_shape, chain, source = form, shape, [], "input"
    for index in range(count):
        raw = index == count - 1 and draw(st.booleans())
        layer = draw(layers(config, f"layer{index}", source, shape, form, raw))
        chain.append(layer)
        if not raw:
            source, shape, form = layer.name, layer.out_shape, layer.requantize.format
    return Network("random", tuple(chain), in_shape, first, input_step=1.0)


@st.composite
def cases(draw, most=3, **fixed):
    """A network, a machine whose memories are just about large enough for it, and its image."""
    ample = draw(machines(depth=_AMPLE, **fixed))
    network = draw(networks(ample, most))
    batch = draw(st.sampled_from([1, 1, 2, 3, None]))
    image = compile_network(network, ample, batch=batch)
    slack = draw(st.integers(0, 3))
    depths = {f"{name[:-1] if name[-1] == 's' else name}_depth": used for name, used in
              image.metadata["usage"].items()}
    depths["bias_depth"] = depths.pop("biase_depth")
    low = MachineConfig._RANGES
    depths = {name: max(low[name][0], used + slack) for name, used in depths.items()}
    needed = max(layer["acc_bits"] for layer in image.layers)
    config = dataclasses.replace(ample, acc_bits=max(8, min(32, needed + slack)), **depths)
    return network, config, compile_network(network, config, batch=image.batch)


def random_codes(network, count, seed=0):
    """Random input codes: uint8, shape ``(count, channels, height, width)``."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, len(network.input_format.table), (count, *network.in_shape)).astype(
        np.uint8)
