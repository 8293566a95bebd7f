"""Metadata of an image that comes from a file: that every key is there and of its type."""

import math
import reprlib

from ..bitplanes import GROUPINGS
from ..errors import ImageError
from .layout import MapLayout

__all__ = ["check_metadata"]

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
    top = _Entry("", metadata)
    top.text("network")
    top.integer("batch", 1)
    top.entry("info")
    usage = top.entry("usage")
    for name in usage.value:
        usage.integer(name, 0)
    given = top.entry("input")
    shape = given.integers("shape", 3, 1)
    step = given.get("step")
    given.demand("step", "a positive finite number", _is_number(step) and 0 < step < math.inf)
    folded = given.get("folded")
    if folded is not None:
        inner = given.entry("folded")
        inner.integers("kernel", 2, 1)
        inner.integers("stride", 2, 1)
        inner.integers("padding", 2, 0)
        inner.integer("pad_code", 0, len(_stored_map(given)) - 1)
        shape = _folded(shape, inner.value)
        given.demand("folded", "a fold of the input shape", min(shape) >= 1)
    _stored_map(given, shape)
    layers = top.get("layers")
    top.demand("layers", "a list of at least one layer", isinstance(layers, list) and bool(layers))
    sources = {"input": tuple(given.value["shape"])}
    for index, value in enumerate(layers):
        _check_layer(_Entry(f"layers[{index}]", value), sources)


def _check_layer(layer, sources):
    name, source = layer.text("name"), layer.text("source")
    layer.demand("name", "a name of its own", name not in sources)
    layer.demand("source", "'input' or a layer before it that stores codes", source in sources)
    for key in ("in_shape", "out_shape"):
        layer.integers(key, 3, 1)
    layer.demand("in_shape", f"that of its source, {list(sources[source])}",
                 tuple(layer.value["in_shape"]) == sources[source])
    for key, low in (("kernel", 1), ("stride", 1), ("padding", 0)):
        layer.integers(key, 2, low)
    for key in ("groups", "activation_planes", "weight_planes", "pairs", "passes", "acc_bits"):
        layer.integer(key, 1)
    layer.demand("grouping", f"one of {', '.join(GROUPINGS)}",
                 isinstance(layer.get("grouping"), str) and layer.value["grouping"] in GROUPINGS)
    for key in ("folded", "raw"):
        layer.demand(key, "true or false", isinstance(layer.get(key), bool))
    outputs, raw = layer.value["out_shape"][0], layer.value["raw"]
    frac_bits = layer.get("frac_bits")
    exponents = frac_bits if isinstance(frac_bits, list) and not raw else [frac_bits] * outputs
    layer.demand("frac_bits", "one integer" + ("" if raw else f", or a list of {outputs}"),
                 len(exponents) == outputs and all(
                     _is_integer(each, -_MOST_FRAC_BITS, _MOST_FRAC_BITS) for each in exponents))
    sign = layer.get("sign")
    layer.demand("sign", f"null, or {outputs} numbers 1 or -1 of a raw layer", sign is None or (
        raw and isinstance(sign, list) and len(sign) == outputs
        and all(_is_integer(each, -1, 1) and each for each in sign)))
    layer.get("output")
    if raw:
        layer.demand("output", "null for a raw layer", layer.value["output"] is None)
    else:
        _stored_map(layer.entry("output"), tuple(layer.value["out_shape"]))
        sources[name] = tuple(layer.value["out_shape"])


def _stored_map(described, shape=None):
    """Checks where and how a map is stored; returns its code table."""
    described.integer("base", 0)
    layout, table = described.entry("layout"), described.get("table")
    fields = tuple(MapLayout.__dataclass_fields__)
    layout.demand(None, f"an object with {', '.join(fields)}", set(layout.value) == set(fields))
    for name in fields:
        layout.integer(name, 1)
    planes = layout.value["planes"]
    described.demand("table", f"2 ** {planes} lists of {planes} bits", planes <= 8 and (
        isinstance(table, list) and len(table) == 1 << planes and all(
            isinstance(row, list) and len(row) == planes and all(
                _is_integer(bit, 0, 1) for bit in row) for row in table)))
    if shape is not None:
        stored = tuple(layout.value[key] for key in ("channels", "height", "width"))
        layout.demand(None, f"of a map of {list(shape)}", stored == tuple(shape))
    return table


def _folded(shape, folded):
    """Channels, height and width of the input map behind a folded kernel."""
    sides = zip(shape[1:], folded["kernel"], folded["stride"], folded["padding"], strict=True)
    return (shape[0] * math.prod(folded["kernel"]),
            *((side + 2 * pad - taps) // step + 1 for side, taps, step, pad in sides))


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_integer(value, low, high=_MOST):
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


class _Entry:
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
        return _Entry(self._where(key), self.get(key))

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
