"""What a network must be for the machine: each layer against itself, its sources and the format."""

import math

import numpy as np

from xnorloom.hw.spec.descriptor import (
    DESCRIPTOR,
    MAX_CODE_BITS,
    MAX_MAP,
    MAX_MAP_BITS,
    MAX_PLANES,
    MAX_POOL,
    MAX_STRIDE,
    MAX_TERMS,
    PAIR,
    RESCALE_DOWN,
    RESCALE_SHIFTS,
    TERM,
)
from xnorloom.hw.spec.latency import pool_cycles

from ..bitplanes import GROUPINGS, group_count
from ..errors import CompileError
from ..graph.network import Rescale, Staircase, binary_table

__all__ = ["check_network", "term_map"]

_MOST_POOL_CYCLES = DESCRIPTOR.fields["pool_cycles"].range[1]


def term_map(term, height, width):
    """Height and width of what a term makes of a map; below 1 where its kernel does not fit."""
    top, bottom, left, right = term.padding
    sides = ((height + top + bottom, 0), (width + left + right, 1))
    return tuple((size - (term.kernel[axis] - 1) * term.dilation[axis] - 1) // term.stride[axis] + 1
                 for size, axis in sides)


def check_network(network, config):
    """Checks a network against the machine and against itself.

    Raises
    ------
    CompileError
        If a layer is beyond the machine's reach or contradicts itself or its sources.
    """
    if not network.layers:
        raise CompileError(f"Network {network.name!r} must have at least one layer")
    _check_format("Network", network.name, "input", network.input_format, MAX_MAP_BITS)
    if len(network.in_shape) != 3 or not all(
            1 <= size <= most for size, most in
            zip(network.in_shape, (1 << 16, MAX_MAP, MAX_MAP), strict=True)):
        raise CompileError(f"Network {network.name!r} input shape must be channels, height and "
                           f"width, the map from 1 to {MAX_MAP} in each direction, not "
                           f"{tuple(network.in_shape)}")
    maps = {"input": (network.in_shape, network.input_format)}
    raw = set()
    for layer in network.layers:
        if layer.name in maps or layer.name in raw:
            raise CompileError(f"Layer {layer.name!r} must have a name of its own")
        _LayerCheck(layer, config).check(maps, raw)
        if layer.requantize is None:
            raw.add(layer.name)
        else:
            maps[layer.name] = layer.out_shape, layer.format
    if not any(term.source == "input" for layer in network.layers for term in layer.terms):
        raise CompileError(f"Network {network.name!r} must have a layer that reads the input")
    _check_head(network)


def _check_head(network):
    last, head = network.layers[-1], network.head
    if head is None:
        return
    if last.requantize is not None:
        raise CompileError(f"Network {network.name!r} must have no head, for the last layer "
                           f"{last.name!r} has codes")
    if math.prod(head.shape) != math.prod(last.out_shape):
        raise CompileError(f"Network {network.name!r} head must have a shape of "
                           f"{math.prod(last.out_shape)} values, not {tuple(head.shape)}")


class _LayerCheck:
    """One layer and the machine."""

    def __init__(self, layer, config):
        self.layer, self.config = layer, config

    def demand(self, what, requirement, value, holds):
        if not holds:
            raise CompileError(f"Layer {self.layer.name!r} {what} must be {requirement}, "
                               f"not {value!r}")

    def check(self, maps, raw):
        layer = self.layer
        biases = np.asarray(layer.biases)
        self.demand("biases", "a list of one integer of each output", biases.shape,
                    biases.ndim == 1 and len(biases) > 0 and biases.dtype.kind in "iu")
        self.demand("map", f"from 1 to {MAX_MAP} in each direction", tuple(layer.map),
                    len(layer.map) == 2 and all(1 <= size <= MAX_MAP for size in layer.map))
        self.demand("number of terms", f"from 1 to {MAX_TERMS}", len(layer.terms),
                    1 <= len(layer.terms) <= MAX_TERMS)
        for index, term in enumerate(layer.terms):
            where = "" if len(layer.terms) == 1 else f"term {index} "
            if term.source in raw:
                raise CompileError(f"Layer {layer.name!r} must read codes, not the raw "
                                   f"accumulators of {term.source!r}")
            if term.source not in maps:
                raise CompileError(f"Layer {layer.name!r} must read the input or a layer before "
                                   f"it, not {term.source!r}")
            self.check_term(where, term, *maps[term.source])
        exponents = np.asarray(layer.frac_bits)
        self.demand("frac_bits", "one integer" + (
            "" if layer.requantize is None else
            f", or one of each of {layer.outputs} channels"), layer.frac_bits,
            exponents.dtype.kind == "i" and (exponents.shape == () or (
                layer.requantize is not None and exponents.shape == (layer.outputs,))))
        self.check_codes()

    def check_term(self, where, term, shape, form):
        outputs, config = self.layer.outputs, self.config
        weights = term.weights
        self.demand(f"{where}weights", "bits of shape (planes, outputs, inputs, height, width)",
                    (weights.dtype.name, weights.shape),
                    weights.ndim == 5 and weights.size > 0 and weights.dtype.kind in "iub"
                    and weights.min() >= 0 and weights.max() <= 1)
        planes, channels = weights.shape[:2]
        self.demand(f"{where}weight planes", f"from 1 to {MAX_PLANES}", planes,
                    planes <= MAX_PLANES)
        self.demand(f"{where}outputs", f"those of its biases, {outputs}", channels,
                    channels == outputs)
        for what, low, high in (("stride", 1, MAX_STRIDE), ("dilation", 1, MAX_MAP),
                                ("padding", 0, MAX_MAP)):
            values = tuple(getattr(term, what))
            self.demand(f"{where}{what}", f"from {low} to {high} in each direction", values,
                        len(values) == (4 if what == "padding" else 2)
                        and all(low <= value <= high for value in values))
        self.demand(f"{where}blocks", f"a divisor of {outputs} outputs and {shape[0]} inputs",
                    term.blocks, term.blocks >= 1 and outputs % term.blocks == 0
                    and shape[0] % term.blocks == 0)
        self.demand(f"{where}weight inputs", f"the channels of a block of its source "
                    f"{term.source!r}, {shape[0] // term.blocks}", weights.shape[2],
                    weights.shape[2] * term.blocks == shape[0])
        found = term_map(term, *shape[1:])
        self.demand(f"{where}kernel", "within its padded map, "
                    f"{shape[1] + sum(term.padding[:2])} x {shape[2] + sum(term.padding[2:])}",
                    tuple(term.kernel), min(found) >= 1)
        self.demand(f"{where}output map", f"that of its layer, {tuple(self.layer.map)}", found,
                    found == tuple(self.layer.map))
        self.demand(f"{where}grouping", f"one of {', '.join(GROUPINGS)}", term.grouping,
                    term.grouping in GROUPINGS)
        groups = group_count(term.grouping, term.kernel)
        self.demand(f"{where}scale groups", f"at most {TERM.fields['groups'].range[1]}", groups,
                    groups <= TERM.fields["groups"].range[1])
        wanted = (outputs, groups, form.planes, planes)
        self.demand(f"{where}scales", f"of shape {wanted}", term.scales.shape,
                    term.scales.shape == wanted)
        most = PAIR.fields["activation_offset"].range[1]
        last = (form.planes - 1) * -(-shape[0] // config.lanes)
        self.demand(f"{where}source", f"of at most {most} words up to its last plane", last,
                    last <= most)
        if term.border is None:
            self.demand(f"{where}padding code", f"from 0 to {len(form.table) - 1}", term.pad_code,
                        0 <= term.pad_code < len(form.table))
        else:
            wanted = (outputs, *term.kernel)
            self.demand(f"{where}border", f"of shape {wanted}", term.border.shape,
                        term.border.shape == wanted)

    def check_codes(self):
        layer, config = self.layer, self.config
        if layer.requantize is None:
            self.demand("pooling", "of codes", "of accumulators", layer.pool is None)
            return
        bits = layer.requantize.bits
        if isinstance(layer.requantize, Staircase):
            thresholds = layer.requantize.thresholds
            self.demand("activation bits", f"at most {config.code_bits} by thresholds on this "
                        "machine", bits, 1 <= bits <= config.code_bits)
            steps = (layer.outputs, (1 << bits) - 1)
            self.demand("thresholds", f"of shape {steps}", thresholds.shape,
                        thresholds.shape == steps)
            self.demand("thresholds", "rising", "a falling staircase",
                        (np.diff(thresholds, axis=1) >= 0).all())
        else:
            self.check_rescale(layer.requantize)
        if layer.pool is not None:
            self.check_pool(layer.pool)
            bits = layer.pool.bits(bits)
            self.demand("bits of pooled codes", f"at most {MAX_MAP_BITS}", bits,
                        bits <= MAX_MAP_BITS)
        self.demand("code table", "given", None, layer.format is not None)
        _check_format("Layer", layer.name, "output", layer.format, MAX_MAP_BITS)
        self.demand("code table", f"of codes of {bits} bits", layer.format.planes,
                    layer.format.planes == bits)

    def check_rescale(self, rescale):
        outputs, config = self.layer.outputs, self.config
        assert isinstance(rescale, Rescale)
        self.demand("re-quantization", "by thresholds on a machine without rescale",
                    "by multiplication", config.rescale)
        self.demand("activation bits", f"from 1 to {MAX_MAP_BITS}", rescale.bits,
                    1 <= rescale.bits <= MAX_MAP_BITS)
        for what, most in (("shift", RESCALE_SHIFTS[-1]), ("down", RESCALE_DOWN)):
            value = getattr(rescale, what)
            self.demand(what, f"from 0 to {most}", value, 0 <= value <= most)
        for what in ("multipliers", "addends"):
            shape = getattr(rescale, what).shape
            self.demand(what, f"of shape {(outputs,)}", shape, shape == (outputs,))

    def check_pool(self, pool):
        self.demand("pooling", "left out on a machine without a pool (pool_depth 0)", pool.kind,
                    self.config.pool_depth > 0)
        self.demand("pooling", "'max' or 'sum'", pool.kind, pool.kind in ("max", "sum"))
        for what in ("window", "stride"):
            values = tuple(getattr(pool, what))
            self.demand(f"pooling {what}", f"from 1 to {MAX_POOL} in each direction", values,
                        len(values) == 2 and all(1 <= value <= MAX_POOL for value in values))
        padding, window = tuple(pool.padding), pool.window
        self.demand("pooling padding", "less than its window", padding, len(padding) == 4 and all(
            0 <= value < window[index // 2] for index, value in enumerate(padding)))
        found = pool.out_map(*self.layer.map)
        self.demand("pooling window", "within its padded map", tuple(window), min(found) >= 1)
        windows = -(-window[0] // pool.stride[0]) * -(-window[1] // pool.stride[1])
        cycles = pool_cycles(1, windows)
        self.demand("cycles of a pooled pixel", f"at most {_MOST_POOL_CYCLES}", cycles,
                    cycles <= _MOST_POOL_CYCLES)


def _check_format(kind, name, which, form, most):
    table = np.asarray(form.table)
    planes = table.shape[1] if table.ndim == 2 else 0
    if not (1 <= planes <= most and table.shape == (1 << planes, planes)
            and table.min() >= 0 and table.max() <= 1):
        raise CompileError(f"{kind} {name!r} {which} code table must have shape (2 ** k, k) of "
                           f"bits, k from 1 to {most}, not {table.shape}")
    if planes > MAX_CODE_BITS and kind == "Layer" and not np.array_equal(
            table, binary_table(planes)):
        raise CompileError(f"{kind} {name!r} {which} code table must be binary where it has more "
                           f"than {MAX_CODE_BITS} planes, not a table of its own")
