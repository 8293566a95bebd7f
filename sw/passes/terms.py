"""A term as the machine streams it: the words it reads, its weights in them, its passes."""

from dataclasses import dataclass

import numpy as np

from ..bitplanes import group_index
from ..graph.network import Term
from .schedule import schedule_passes

__all__ = ["TermPlan", "common_period", "needs_halves", "plan_constant", "plan_term"]


@dataclass(frozen=True, eq=False)
class TermPlan:
    """A term, independent of the size of the batch.

    Parameters
    ----------
    term : Term or None
        None: a constant, read from padding words.
    words : int
        Words of a pixel and plane that are read.
    starts : tuple of int
        First of them, of every ``term_period`` column tiles.
    weights : uint8 array, shape ``(planes, outputs, words * lanes, height, width)``
    passes : tuple of sw.passes.schedule.Pass
    groups : int
    relu : bool
    extra : int64 array, shape ``(outputs,)``
        What the term adds to an accumulator beyond what it stands for.
    worst : int
        Most mismatches of one pair and group.
    low, high : int64 array, shape ``(outputs,)``
        Least and largest of what all passes of the term together add to an accumulator.
    """

    term: Term | None
    words: int
    starts: tuple
    weights: np.ndarray
    passes: tuple
    groups: int
    relu: bool
    extra: np.ndarray
    worst: int
    low: np.ndarray
    high: np.ndarray

    @property
    def taps(self):
        """Kernel taps of all groups."""
        return self.weights.shape[3] * self.weights.shape[4]


class _Spans:
    """The words that the column tiles of a term read.

    Parameters
    ----------
    term : Term
    config : MachineConfig
    """

    def __init__(self, term, config):
        self.outputs, self.inputs = term.weights.shape[1:3]
        self.blocks, self.lanes, self.cols = term.blocks, config.lanes, config.cols
        self.channels = self.inputs * term.blocks
        self.tiles = -(-self.outputs // config.cols)
        first = np.arange(self.tiles) * config.cols
        last = np.minimum(first + config.cols, self.outputs) - 1
        each = self.outputs // term.blocks
        self.low = first // each * self.inputs // config.lanes
        self.high = ((last // each + 1) * self.inputs - 1) // config.lanes

    def words(self, period):
        """Most words that a run of ``period`` column tiles reads."""
        lows, highs = self._runs(period)
        return int((highs - lows).max()) + 1

    def _runs(self, period):
        edges = np.arange(0, self.tiles, period)
        return np.minimum.reduceat(self.low, edges), np.maximum.reduceat(self.high, edges)

    def starts(self, period):
        """First word of every run, so that all runs read the same number."""
        lows, _highs = self._runs(period)
        whole = -(-self.channels // self.lanes)
        return np.minimum(lows, whole - self.words(period))

    def period(self):
        """Longest run that reads no more words than a single column tile does."""
        least = self.words(1)
        return next(period for period in range(self.tiles, 0, -1) if self.words(period) == least)


def common_period(terms, config):
    """Column tiles that use the same terms: ``term_period`` of a layer.

    Parameters
    ----------
    terms : sequence of Term
    config : MachineConfig

    Returns
    -------
    int
    """
    spans = [_Spans(term, config) for term in terms if term.blocks > 1]
    tiles = -(-terms[0].weights.shape[1] // config.cols)
    periods = [period for period in (each.period() for each in spans) if period < tiles]
    return int(np.gcd.reduce(periods)) if periods else tiles


def _lanes(term, config, period):
    """Where the block of every output lies among the lanes that it reads.

    Returns
    -------
    tuple of int, int64 array, int64 array
        Words; first lane of each output's block; real channels that each output reads.
    """
    spans = _Spans(term, config)
    words, starts = spans.words(period), spans.starts(period)
    output = np.arange(spans.outputs)
    origin = starts[output // config.cols // period] * config.lanes
    block = output // (spans.outputs // term.blocks)
    read = np.minimum(words * config.lanes, spans.channels - origin)
    return words, block * spans.inputs - origin, read


def needs_halves(term, config, period):
    """Whether outputs read channels of other blocks, so that each weight plane is streamed twice,
    with half its scale."""
    _words, _first, read = _lanes(term, config, period)
    return bool((read > term.weights.shape[2]).any())


def plan_term(term, config, period, name):
    """Words, weights and passes of a term.

    Parameters
    ----------
    term : Term
        With even scales where it needs halves.
    config : MachineConfig
    period : int
        The layer's ``term_period``.
    name : str
        Of the layer, for messages.

    Returns
    -------
    TermPlan
    """
    planes, outputs, inputs, *kernel = term.weights.shape
    words, first, read = _lanes(term, config, period)
    halves = needs_halves(term, config, period)
    lanes = np.arange(words * config.lanes)
    weights = np.zeros((2 if halves else 1, planes, outputs, len(lanes), *kernel), dtype=np.uint8)
    if halves:
        other = (lanes < read[:, None]) & ((lanes < first[:, None])
                                           | (lanes >= first[:, None] + inputs))
        weights[1] = other[:, :, None, None]
    place = first[:, None] + np.arange(inputs)
    output = np.arange(outputs)[:, None]
    weights[:, :, output, place] = term.weights
    weights = weights.swapaxes(0, 1).reshape(-1, *weights.shape[2:])
    scales = np.asarray(term.scales, dtype=np.int64)
    groups = scales.shape[1]
    taps = kernel[0] * kernel[1] // groups
    low, high = _swing(term, scales)
    extra = np.zeros(outputs, dtype=np.int64)
    if halves:
        scales = np.repeat(scales >> 1, 2, axis=3)
        # Lanes of other blocks mismatch in exactly one of the two planes.
        extra = scales.sum(axis=(1, 2, 3)) // 2 * (read - inputs) * taps
    worst = int(read.max()) * taps
    passes = schedule_passes(scales, doubling=config.doubling, worst_mismatches=worst,
                             count_bits=config.count_bits, name=name)
    starts = tuple(int(start) for start in _Spans(term, config).starts(period))
    return TermPlan(term, words, starts, weights, passes, groups, term.relu, extra, worst,
                    low + extra, high + extra)


def _swing(term, scales):
    """Least and largest of what a term stands for: int64, ``(outputs,)`` each."""
    taps = scales[:, group_index(term.grouping, term.kernel)] * term.weights.shape[2]
    low, high = (part.sum(axis=(3, 4)) for part in (np.minimum(taps, 0), np.maximum(taps, 0)))
    if term.border is not None:
        low, high = np.minimum(low, term.border), np.maximum(high, term.border)
    return low.sum(axis=(1, 2)), high.sum(axis=(1, 2))


def plan_constant(values, config, name):
    """A term that adds a constant to every output.

    It reads words of padding zeros: as many mismatches of the largest scale as are needed, and of
    scale 1 for what they leave.

    Parameters
    ----------
    values : int64 array, shape ``(outputs,)``
        Not all zero.
    config : MachineConfig
    name : str
        Of the layer, for messages.

    Returns
    -------
    TermPlan
    """
    most = (1 << config.scale_bits - 1) - 1
    ones = -(-int(np.abs(values).max()) // most)
    words = -(-ones // config.lanes)
    weights = np.zeros((2, len(values), words * config.lanes, 1, 1), dtype=np.uint8)
    whole, left = np.divmod(np.abs(values), ones)
    weights[0, :, :ones] = 1
    weights[1] = (np.arange(words * config.lanes) < left[:, None])[..., None, None]
    scales = (np.sign(values) * np.stack([whole, left > 0])).T[:, None, None]
    passes = schedule_passes(scales, doubling=False, worst_mismatches=ones,
                             count_bits=config.count_bits, name=name)
    return TermPlan(None, words, (0,), weights, passes, 1, False, 0 * values, ones, values, values)
