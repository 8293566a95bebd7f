"""A layer as the machine runs it, independent of the size of the batch."""

import dataclasses
from dataclasses import dataclass

import numpy as np

from xnorloom.hw.spec.descriptor import TERM

from ..errors import CompileError
from ..graph.network import Layer, Rescale, Staircase
from .borders import Borders, border_classes
from .multiply import extra_bits, for_machine
from .prove import final_bounds, prove_accumulator, prove_rescale, prove_scales
from .terms import common_period, needs_halves, plan_constant, plan_term

__all__ = ["LayerPlan", "plan_layer"]


@dataclass(frozen=True, eq=False)
class LayerPlan:
    """What the compiler knows of a layer before it has addresses.

    Parameters
    ----------
    layer : Layer
        As it is compiled.
    original : Layer or None
        As the network has it; None for a copy of a map.
    terms : tuple of TermPlan
        Those of the layer, and constants behind a relu.
    period : int
        Column tiles that use the same terms.
    extra_bits : int
        Bits by which its accumulators are shifted left.
    biases : int64 array, shape ``(outputs, 1)`` or ``(outputs, 16)``
    borders : Borders
    thresholds : int64 array or None
    rescale : Rescale or None
    acc_bits : int
        Bits that its accumulators need, and the sums of codes by multiplication.
    """

    layer: Layer
    original: Layer | None
    terms: tuple
    period: int
    extra_bits: int
    biases: np.ndarray
    borders: Borders
    thresholds: np.ndarray | None
    rescale: Rescale | None
    acc_bits: int

    @property
    def passes(self):
        """Passes of a tile."""
        return sum(term.groups * len(term.passes) for term in self.terms)

    @property
    def steps(self):
        """Steps of a tile."""
        return sum(term.taps * term.words * sum(len(each.steps) for each in term.passes)
                   for term in self.terms)


def plan_layer(layer, original, shapes, config):
    """Plans a layer.

    Parameters
    ----------
    layer : Layer
        Checked.
    original : Layer or None
    shapes : dict of str to tuple
        Channels, height and width of every map.
    config : MachineConfig

    Returns
    -------
    LayerPlan

    Raises
    ------
    CompileError
        If a scale, a count or an accumulator could overflow, or borders need more classes than
        the machine has.
    """
    period = common_period(layer.terms, config)
    rescale = layer.requantize if isinstance(layer.requantize, Rescale) else None
    extra = int(any(needs_halves(term, config, period) and (np.asarray(term.scales) & 1).any()
                    for term in layer.terms))
    if rescale is not None:
        extra = extra_bits(rescale, extra)
        rescale = for_machine(layer.name, rescale, extra)
    layer_terms = [_shifted(term, extra) for term in layer.terms]
    terms = [plan_term(term, config, period, layer.name) for term in layer_terms]
    borders = border_classes(layer.name, layer_terms, shapes, layer.map, config)
    staircase = layer.requantize if isinstance(layer.requantize, Staircase) else None
    thresholds = None if staircase is None else _thresholds(staircase.thresholds, extra)

    # What a term adds too much is taken back before the next relu: ahead of all terms in the
    # biases, else where codes are found, or by a constant.
    segments = [np.zeros(layer.outputs, dtype=np.int64)]
    ends = []
    for index, term in enumerate(terms):
        if term.relu:
            ends.append(index)
            segments.append(np.zeros(layer.outputs, dtype=np.int64))
        segments[-1] -= term.extra
    ends.append(len(terms))
    if len(segments) > 1 and thresholds is not None:
        thresholds = _raised(thresholds, -segments.pop())
        ends.pop()
    for end, constant in reversed(list(zip(ends[1:], segments[1:], strict=False))):
        if constant.any():
            terms.insert(end, plan_constant(constant, config, layer.name))
    inner = (np.asarray(layer.biases, dtype=np.int64) << extra) + segments[0]
    biases = inner[:, None] + borders.corrections
    prove_scales(layer.name, terms, config)
    bits = prove_accumulator(layer.name, terms, biases, layer.requantize is not None, config)
    if rescale is not None:
        bits = max(bits, prove_rescale(layer.name, rescale, *final_bounds(terms, inner), config))
    _check_pairs(layer.name, terms)
    return LayerPlan(layer, original, tuple(terms), period, extra, biases, borders, thresholds,
                     rescale, bits)


def _shifted(term, bits):
    border = None if term.border is None else np.asarray(term.border, dtype=np.int64) << bits
    return dataclasses.replace(term, border=border,
                               scales=np.asarray(term.scales, dtype=np.int64) << bits)


_FAR = 1 << 48
"""No accumulator comes near it."""


def _thresholds(thresholds, bits):
    return np.clip(np.asarray(thresholds, dtype=np.int64), -_FAR, _FAR) << bits


def _raised(thresholds, extra):
    """Thresholds of accumulators that are too large by `extra`."""
    return thresholds + extra[:, None]


def _check_pairs(name, terms):
    most = TERM.fields["pairs"].range[1]
    for term in terms:
        pairs = sum(len(each.steps) for each in term.passes)
        if pairs > most:
            raise CompileError(f"Layer {name!r} plane pairs of a term must be at most {most}, "
                               f"not {pairs}")
