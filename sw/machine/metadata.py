"""Metadata of an image that comes from a file: that every key is there and of its type."""

import math
import reprlib

from xnorloom.hw.spec.descriptor import MAX_MAP_BITS

from ..bitplanes import GROUPINGS, group_count
from ..errors import ImageError
from .check_head import check_head
from .layout import MapLayout
from .walk import pooled_map

__all__ = ["Entry", "check_metadata"]

_MOST_FRAC_BITS = 1000
"""Exponents beyond it are no longer those of a float64."""

_MOST = 1 << 32
"""No count in an image comes near it."""


def check_metadata(metadata):
    """Checks the metadata of an image, as :mod:`sw.passes.describe` makes them.

    Parameters
    ----------
    metadata : object
        What JSON gave, without ``machine``.

    Raises
    ------
    ImageError
        For the first key that is absent, or whose value is not what it must be.
    """
    top = Entry("", metadata)
    top.text("network")
    top.integer("batch", 1)
    top.entry("info")
    usage = top.entry("usage")
    for name in usage.value:
        usage.integer(name, 0)
    layers = top.get("layers")
    sources = _check_input(top.entry("input"))
    top.demand("layers", "a list of at least one layer", isinstance(layers, list) and bool(layers))
    names = {"input"}
    for index, value in enumerate(layers):
        _check_layer(Entry(f"layers[{index}]", value), names, sources)
    top.demand("layers", "ended by a layer of the network", not layers[-1]["copy"])
    # Images that an earlier version of the compiler wrote have none.
    if metadata.get("head") is not None:
        check_head(top.entry("head"), layers[-1])


def _check_input(given):
    """Checks the input and how images are encoded; returns what layers can read: shape, shape as
    stored, planes and whether it is folded, by name."""
    shape = given.integers("shape", 3, 1)
    step = given.get("step")
    given.demand("step", "a positive finite number", _is_number(step) and 0 < step < math.inf)
    given.integer("low", -_MOST)
    for key in ("gain", "shift"):
        values = given.get(key)
        given.demand(key, f"null, or {shape[0]} finite numbers", values is None or (
            isinstance(values, list) and len(values) == shape[0]
            and all(_is_number(each) and math.isfinite(each) for each in values)))
    given.demand("gain", "given where shift is", (given.value["gain"] is None)
                 == (given.value["shift"] is None))
    given.demand("kept", "true or false", isinstance(given.get("kept"), bool))
    stored, folded = tuple(shape), given.get("folded")
    if folded is not None:
        inner = given.entry("folded")
        for key, count, low in (("kernel", 2, 1), ("stride", 2, 1), ("dilation", 2, 1),
                                ("padding", 4, 0)):
            inner.integers(key, count, low)
        inner.integer("pad_code", 0, len(_stored_map(given)) - 1)
        stored = (shape[0] * math.prod(folded["kernel"]), *_convolved(shape[1:], folded))
        given.demand("folded", "a fold of the input shape", min(stored) >= 1)
    table = _stored_map(given, stored)
    return {"input": (tuple(shape), len(table).bit_length() - 1, folded)}


def _convolved(size, geometry):
    """Height and width that a convolution makes of a map."""
    before, behind = geometry["padding"][::2], geometry["padding"][1::2]
    sides = zip(size, geometry["kernel"], geometry["stride"], geometry["dilation"], before, behind,
                strict=True)
    return tuple((side + top + bottom - (taps - 1) * apart - 1) // step + 1
                 for side, taps, step, apart, top, bottom in sides)


def _check_layer(layer, names, sources):
    name = layer.text("name")
    layer.demand("name", "a name of its own", name not in names)
    names.add(name)
    outputs = layer.integers("out_shape", 3, 1)[0]
    layer.integers("map", 2, 1)
    for key in ("copy", "raw"):
        layer.demand(key, "true or false", isinstance(layer.get(key), bool))
    layer.integer("extra_bits", 0, 31)
    for key in ("passes", "acc_bits"):
        layer.integer(key, 1)
    terms = layer.get("terms")
    layer.demand("terms", "a list of at least one term", isinstance(terms, list) and bool(terms))
    for index, value in enumerate(terms):
        _check_term(Entry(f"{layer.path}.terms[{index}]", value), layer.value, sources)
    constants = layer.get("constants")
    most = len(terms) + (len(constants) if isinstance(constants, list) else 0) - 1
    layer.demand("constants", f"a list of rising integers up to {most}", isinstance(
        constants, list) and all(_is_integer(each, 0, most) for each in constants)
        and constants == sorted(set(constants)))
    raw = layer.value["raw"]
    frac_bits = layer.get("frac_bits")
    exponents = frac_bits if isinstance(frac_bits, list) and not raw else [frac_bits] * outputs
    layer.demand("frac_bits", "one integer" + ("" if raw else f", or a list of {outputs}"),
                 len(exponents) == outputs and all(
                     _is_integer(each, -_MOST_FRAC_BITS, _MOST_FRAC_BITS) for each in exponents))
    sign = layer.get("sign")
    layer.demand("sign", f"null, or {outputs} numbers 1 or -1 of a raw layer", sign is None or (
        raw and isinstance(sign, list) and len(sign) == outputs
        and all(_is_integer(each, -1, 1) and each for each in sign)))
    _check_result(layer, sources)


def _check_result(layer, sources):
    """What becomes of accumulators, and where it is stored."""
    shape, pool = tuple(layer.value["out_shape"]), layer.get("pool")
    size = tuple(layer.value["map"])
    if pool is not None:
        inner = layer.entry("pool")
        for key, count, low in (("window", 2, 1), ("stride", 2, 1), ("padding", 4, 0)):
            inner.integers(key, count, low)
        inner.demand("kind", "'max' or 'sum'", inner.get("kind") in ("max", "sum"))
        size = pooled_map(size, pool["window"], pool["stride"], pool["padding"])
    layer.demand("out_shape", f"{[shape[0], *size]}, that of its map", shape[1:] == size)
    output = layer.get("output")
    if layer.value["raw"]:
        layer.demand("output", "null for a raw layer", output is None)
        layer.demand("pool", "null for a raw layer", pool is None)
        layer.demand("copy", "false for a raw layer", not layer.value["copy"])
        return
    table = _stored_map(layer.entry("output"), shape)
    sources[layer.value["name"]] = shape, len(table).bit_length() - 1, None


def _check_term(term, layer, sources):
    source = term.text("source")
    term.demand("source", "'input' or a layer before it that stores codes", source in sources)
    shape, planes, folded = sources[source]
    given = term.integers("in_shape", 3, 1)
    term.demand("in_shape", f"that of its source, {list(shape)}", tuple(given) == shape)
    for key, count, low in (("kernel", 2, 1), ("stride", 2, 1), ("dilation", 2, 1),
                            ("padding", 4, 0)):
        term.integers(key, count, low)
    term.demand("kernel", f"one that makes a map of {layer['map']}",
                list(_convolved(shape[1:], term.value)) == layer["map"])
    for key in ("groups", "weight_planes", "words", "pairs", "passes", "blocks"):
        term.integer(key, 1)
    outputs, blocks = layer["out_shape"][0], term.value["blocks"]
    term.demand("blocks", f"a divisor of {outputs} outputs and {shape[0]} inputs",
                outputs % blocks == 0 and shape[0] % blocks == 0)
    term.integer("activation_planes", 1)
    term.demand("activation_planes", f"those of its source, {planes}",
                term.value["activation_planes"] == planes)
    term.demand("grouping", f"one of {', '.join(GROUPINGS)}",
                isinstance(term.get("grouping"), str) and term.value["grouping"] in GROUPINGS)
    groups = group_count(term.value["grouping"], term.value["kernel"])
    term.demand("groups", f"those of its grouping, {groups}", term.value["groups"] == groups)
    for key in ("relu", "border", "folded"):
        term.demand(key, "true or false", isinstance(term.get(key), bool))
    term.demand("folded", f"{folded is not None}, as its source is".lower(),
                term.value["folded"] == (folded is not None))
    if folded is not None:
        same = all(term.value[key] == folded[key]
                   for key in ("kernel", "stride", "dilation", "padding"))
        term.demand("kernel", "that of the folded input", same)


def _stored_map(described, shape=None):
    """Checks where and how a map is stored; returns its code table."""
    described.integer("base", 0)
    layout, table = described.entry("layout"), described.get("table")
    fields = tuple(MapLayout.__dataclass_fields__)
    layout.demand(None, f"an object with {', '.join(fields)}", set(layout.value) == set(fields))
    for name in fields:
        layout.integer(name, 0 if name.endswith("_banks") else 1)
    planes = layout.value["planes"]
    described.demand("table", f"2 ** {planes} lists of {planes} bits", planes <= MAX_MAP_BITS and (
        isinstance(table, list) and len(table) == 1 << planes and all(
            isinstance(row, list) and len(row) == planes and all(
                _is_integer(bit, 0, 1) for bit in row) for row in table)))
    if shape is not None:
        stored = tuple(layout.value[key] for key in ("channels", "height", "width"))
        layout.demand(None, f"of a map of {list(shape)}", stored == tuple(shape))
    return table


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_integer(value, low, high=_MOST):
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


class Entry:
    """An object of the metadata, and how it is reached."""

    def __init__(self, path, value):
        self.path, self.value = path, value
        self.demand(None, "an object", isinstance(value, dict))

    def _where(self, key):
        return ".".join(part for part in (self.path, key) if part) or "as a whole"

    def demand(self, key, requirement, holds):
        """Raises ImageError unless it holds; ``key`` None is the object itself."""
        if not holds:
            value = self.value if key is None else self.value[key]
            raise ImageError(f"Image metadata {self._where(key)} must be {requirement}, not "
                             f"{reprlib.repr(value)}")

    def get(self, key):
        """Value of a key that must be there."""
        if key not in self.value:
            raise ImageError(f"Image metadata {self._where(key)} must be given, and is not")
        return self.value[key]

    def entry(self, key):
        """An object below this one."""
        return Entry(self._where(key), self.get(key))

    def item(self, key, index):
        """An object of a list below this one."""
        return Entry(f"{self._where(key)}[{index}]", self.get(key)[index])

    def text(self, key):
        """A text that can be printed anywhere."""
        value = self.get(key)
        # A lone surrogate passes JSON, but no terminal and no file.
        self.demand(key, "a text", isinstance(value, str)
                    and value == value.encode(errors="ignore").decode())
        return value

    def integer(self, key, low, high=_MOST):
        """An integer within bounds."""
        value = self.get(key)
        self.demand(key, f"an integer from {low} to {high}", _is_integer(value, low, high))
        return value

    def integers(self, key, count, low):
        """A list of integers of one lower bound."""
        values = self.get(key)
        self.demand(key, f"a list of {count} integers of at least {low}", isinstance(values, list)
                    and len(values) == count and all(_is_integer(each, low) for each in values))
        return values
