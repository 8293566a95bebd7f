"""Hypothesis strategies: random machines and random networks, odd ones above all."""

import dataclasses

import numpy as np
from hypothesis import reject
from hypothesis import strategies as st

from xnorloom.hw.spec.config import MachineConfig
from xnorloom.hw.spec.descriptor import RESCALE_DOWN, RESCALE_SHIFTS
from xnorloom.hw.spec.memory import Memory
from xnorloom.sw.bitplanes import group_count
from xnorloom.sw.errors import CompileError
from xnorloom.sw.graph.network import (
    CodeFormat,
    Encoder,
    Layer,
    Network,
    Pool,
    Rescale,
    Staircase,
    Term,
    binary_table,
)
from xnorloom.sw.passes.borders import border_classes
from xnorloom.sw.passes.compiler import compile_network
from xnorloom.sw.passes.demands import term_map
from xnorloom.sw.passes.multiply import extra_bits

__all__ = ["SCALE_KINDS", "cases", "code_formats", "layers", "machines", "networks", "random_codes"]

SCALE_KINDS = ("equal", "ratio2", "arbitrary", "negative", "mixed", "sparse")
"""How the scales of the plane pairs relate."""

DEPTHS = {memory: f"{memory.name.lower().removesuffix('s')}_depth" for memory in Memory
          if memory is not Memory.PROFILE}
"""Field of a machine that says how many entries a memory has."""

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
        "rescale": draw(st.booleans()), "border_classes": draw(st.booleans()),
        "pool_depth": draw(st.sampled_from([0, _AMPLE, _AMPLE])),
        "popcount_stages": draw(st.sampled_from([1, 2])),
        **dict.fromkeys(DEPTHS.values(), depth),
    }
    return MachineConfig(**{**fields, **fixed})


@st.composite
def code_formats(draw, planes):
    """A code table of ``planes`` planes, in any order where it has at most 4."""
    if planes > 4 or draw(st.booleans()):
        return CodeFormat(binary_table(planes))
    rng = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    codes = rng.permutation(1 << planes)
    return CodeFormat((codes[:, None] >> np.arange(planes) & 1).astype(np.uint8))


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
def _geometry(draw, size, made=None):
    """Kernel, stride, dilation and padding before and behind of one direction, which make
    ``made`` pixels of ``size``; None if there are none."""
    kernel = draw(st.sampled_from([1, 1, 2, 3, 3, 5, 7]))
    stride = draw(st.sampled_from([1, 1, 1, 2, 3, 4]))
    dilation = draw(st.sampled_from([1, 1, 1, 2, 3]))
    span = (kernel - 1) * dilation + 1
    if made is None:
        if draw(st.integers(0, 5)) == 0:
            return size, 1, 1, 0, 0
        before, behind = (draw(st.sampled_from([0, 0, 1, 1, 2, 3])) for _ in range(2))
        if span > size + before + behind:
            return 1, stride, dilation, 0, 0
        return kernel, stride, dilation, before, behind
    added = (made - 1) * stride + span - size
    if added < 0:
        # What does not fit behind the last window is left out.
        kernel, dilation, added = (1 - added + span - 1, 1, 0) if -added >= stride else (
            kernel, dilation, 0)
        if (made - 1) * stride + (kernel - 1) * dilation + 1 > size:
            return None
    before = draw(st.integers(0, added))
    return kernel, stride, dilation, before, added - before


@st.composite
def terms(draw, config, source, shape, form, outputs=None, made=None):
    """A random term over a map; one that makes a given map, or None if it cannot."""
    channels = shape[0]
    if made is None and draw(st.integers(0, 7)) == 0:
        made = (1, 1)
    made = (None, None) if made is None else made
    vertical, horizontal = (draw(_geometry(size, out)) for size, out in
                            zip(shape[1:], made, strict=True))
    if vertical is None or horizontal is None:
        return None
    kernel = vertical[0], horizontal[0]
    if kernel[0] * kernel[1] > 64:
        return None
    if outputs is None:
        outputs = draw(st.sampled_from([1, 2, config.cols + 1, channels, 2 * channels,
                                        2 * config.cols + 2]))
    blocks = draw(st.sampled_from([1, 1, *(n for n in range(2, channels + 1)
                                           if channels % n == 0 and outputs % n == 0)]))
    planes = draw(st.sampled_from([1, 1, 2, 2, 3, 5]))
    grouping = draw(st.sampled_from(["layer", "layer", "row", "pixel"]))
    rng = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    limit = min(200, (1 << config.scale_bits - 2) - 1)
    scales = _scales(rng, draw(st.sampled_from(SCALE_KINDS)),
                     (outputs, group_count(grouping, kernel), form.planes, planes), limit)
    weights = rng.integers(0, 2, (planes, outputs, channels // blocks, *kernel))
    if kernel == (1, 1) and blocks == channels == outputs and draw(st.booleans()):
        weights = weights[:1] * 0
        scales = scales[..., :1]
    border = None
    if config.border_classes and draw(st.booleans()):
        border = rng.integers(-300, 300, (outputs, *kernel))
    return Term(
        source, weights.astype(np.uint8), scales.astype(np.int64), grouping, blocks,
        (vertical[1], horizontal[1]), (vertical[2], horizontal[2]),
        (*vertical[3:], *horizontal[3:]), draw(st.integers(0, len(form.table) - 1)), border)


def _without_impossible_borders(terms, maps, out_map, config):
    shapes = {name: shape for name, (shape, _form) in maps.items()}
    try:
        border_classes("layer", terms, shapes, out_map, config)
    except CompileError:
        return [dataclasses.replace(term, border=None) for term in terms]
    return terms


def _bound(terms, biases):
    """No accumulator is larger."""
    total = np.abs(biases).max()
    for term in terms:
        taps = term.kernel[0] * term.kernel[1]
        channels = term.weights.shape[2] * term.blocks
        total += np.abs(term.scales).sum(axis=(1, 2, 3)).max() * 2 * taps * channels
        if term.border is not None:
            total += 2 * np.abs(term.border).sum(axis=(1, 2)).max()
    return 2 * int(total) + 1


@st.composite
def _rescaled(draw, config, shift, outputs, rng):
    down = draw(st.sampled_from([RESCALE_DOWN, RESCALE_DOWN, 14, 9]))
    most = 1 << max(0, config.scale_bits - 1 - (RESCALE_DOWN - down))
    multipliers = rng.integers(-most + 1, most, outputs)
    bits = draw(st.integers(1, 8))
    return Rescale(multipliers, rng.integers(0, 1 << bits + down, outputs), shift, down, bits)


@st.composite
def _requantized(draw, config, terms, biases, rng):
    """How codes are found; None for raw accumulators."""
    outputs = len(biases)
    if config.rescale and draw(st.booleans()):
        most = max(np.abs(term.scales).max() for term in terms)
        room = min(config.scale_bits - 1 - int(most).bit_length(),
                   31 - _bound(terms, biases).bit_length())
        needed = max(0, _bound(terms, biases).bit_length() - config.count_bits)
        shifts = [shift for shift in range(needed, 13) for extra in [extra_bits(
            Rescale(biases, biases, shift, 0, 1), 1)]
                  if extra <= room and shift + extra in RESCALE_SHIFTS]
        if shifts:
            return draw(_rescaled(config, draw(st.sampled_from(shifts)), outputs, rng))
    bits = draw(st.integers(1, config.code_bits))
    half, spread = 0, 2
    for term in terms:
        inputs = term.weights[0, 0].size
        half = half + inputs * term.scales.sum(axis=(2, 3)).mean(axis=1) / 2
        spread += np.abs(term.scales).max() * np.sqrt(inputs * len(term.weights))
    centre = (biases + half)[:, None]
    thresholds = np.rint(centre + spread * rng.standard_normal((outputs, (1 << bits) - 1)))
    thresholds = thresholds.astype(np.int64)
    if draw(st.booleans()):
        thresholds[rng.random(thresholds.shape) < 0.2] = 1 << 40
        thresholds[rng.random(thresholds.shape) < 0.1] = -(1 << 40)
    return Staircase(np.sort(thresholds, axis=1))


@st.composite
def _pools(draw, out_map, bits):
    kind = draw(st.sampled_from(["max", "max", "sum"]))
    window, stride, before, behind = [], [], [], []
    for size in out_map:
        wide = draw(st.sampled_from([1, 2, 2, 3, 3, 4, 7, size]))
        pad = [draw(st.integers(0, min(3, wide // 2))) for _ in range(2)]
        if wide > size + sum(pad) or wide > 15:
            wide, pad = 1, [0, 0]
        window.append(wide)
        stride.append(min(15, draw(st.sampled_from([1, 2, 2, 3, wide]))))
        before.append(pad[0])
        behind.append(pad[1])
    pool = Pool(kind, tuple(window), tuple(stride), (before[0], behind[0], before[1], behind[1]))
    return pool if pool.bits(bits) <= 8 else dataclasses.replace(pool, kind="max")


@st.composite
def layers(draw, config, name, maps, raw, most_terms=4):
    """A random layer that reads some of the maps: ``name -> (shape, format)``."""
    source = draw(st.sampled_from(list(maps)[::-1]))
    first = draw(terms(config, source, *maps[source]).filter(lambda term: term is not None))
    out_map, outputs = term_map(first, *maps[source][0][1:]), first.weights.shape[1]
    summed = [first]
    for _ in range(draw(st.integers(0, most_terms - 1))):
        source = draw(st.sampled_from(list(maps)))
        term = draw(terms(config, source, *maps[source], outputs, out_map))
        if term is not None:
            relu = draw(st.sampled_from([False, True]))
            summed.append(dataclasses.replace(term, relu=relu))
    summed = _without_impossible_borders(summed, maps, out_map, config)
    rng = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    biases = rng.integers(-1000, 1000, outputs)
    frac_bits = draw(st.integers(-2, 8))
    if raw:
        return Layer(name, tuple(summed), biases, frac_bits, out_map)
    requantize = draw(_requantized(config, summed, biases, rng))
    pool, bits = None, requantize.bits
    if config.pool_depth and draw(st.booleans()):
        pool = draw(_pools(out_map, bits))
        bits = pool.bits(bits)
    return Layer(name, tuple(summed), biases, frac_bits, out_map, requantize, pool,
                 draw(code_formats(bits)))


@st.composite
def networks(draw, config, most=3, most_terms=4):
    """A random network of 1 to ``most`` layers."""
    count = draw(st.integers(1, most))
    shape = (draw(st.sampled_from([1, 2, 3, config.lanes, config.lanes + 1])),
             draw(st.integers(1, 9)), draw(st.integers(1, 9)))
    form = draw(code_formats(draw(st.sampled_from([1, 2, 3, 4, 8]))))
    maps, chain = {"input": (shape, form)}, []
    for index in range(count):
        raw = index == count - 1 and draw(st.booleans())
        readable = maps if index else {"input": maps["input"]}
        layer = draw(layers(config, f"layer{index}", readable, raw, most_terms))
        chain.append(layer)
        if not raw:
            maps[layer.name] = layer.out_shape, layer.format
    return Network("random", tuple(chain), shape, form, Encoder(1.0))


@st.composite
def cases(draw, most=3, most_terms=4, **fixed):
    """A network, a machine whose memories are just about large enough for it, and its image."""
    ample = draw(machines(depth=_AMPLE, **fixed))
    network = draw(networks(ample, most, most_terms))
    batch = draw(st.sampled_from([1, 1, 2, 3, None]))
    try:
        image = compile_network(network, ample, batch=batch)
    except CompileError as error:
        # Maps that two strides read cannot be copied on every machine.
        if "cannot copy" not in str(error) and ".copy" not in str(error):
            raise
        reject()
    slack = draw(st.integers(0, 3))
    low = MachineConfig._RANGES
    depths = {name: max(low[name][0], image.metadata["usage"][memory.name.lower()] + slack)
              for memory, name in DEPTHS.items()}
    needed = max(layer["acc_bits"] for layer in image.layers)
    config = dataclasses.replace(ample, acc_bits=max(8, min(32, needed + slack)), **depths)
    return network, config, compile_network(network, config, batch=image.batch)


def random_codes(network, count, seed=0):
    """Random input codes: uint8, shape ``(count, channels, height, width)``."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, len(network.input_format.table), (count, *network.in_shape)).astype(
        np.uint8)
