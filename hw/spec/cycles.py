"""The cycle model: what a layer costs, exact to the cycle.

Everything behind the feed's gate is a rigid pipeline, so a layer ends a constant time after its
last step has passed the gate. At the gate

* a step follows the one before in the next cycle,
* a step that ends a pass follows the last such step after ``drain_cycles`` at the earliest; behind
  a tile whose codes are found by multiplication after ``rescale_cycles``, as the units multiply
  once more,
* a step that ends the first pass of a sweep follows the last such step after the cycles in which
  the parameters of a column tile are loaded,
* a step that ends a tile follows the last such step after ``tile_cycles``, the first one comes so
  late that the positions of the second tile are there,
* in a raw layer a step that ends a pass waits until the tile before has left.

A tile ends with a step that ends its last pass, so tiles of one sweep but the first take the same
time, and sweeps that begin alike are alike: few are walked. The host is taken to be always ready.
"""

from dataclasses import dataclass

from .descriptor import DESCRIPTOR
from .latency import (
    PARAMETER_CYCLES,
    code_latency,
    first_issue_cycles,
    raw_latency,
    rescale_cycles,
    tile_cycles,
)

__all__ = ["FETCH_CYCLES", "LayerCycles", "RunCycles", "pass_steps", "predict_layer",
           "predict_run"]

FETCH_CYCLES = DESCRIPTOR.used + 2
"""Cycles to fetch a descriptor; hidden under the layer before, if that is longer."""


@dataclass(frozen=True)
class LayerCycles:
    """What one layer costs, in cycles; the fields are :data:`hw.spec.memory.PROFILE_COUNTERS`."""

    cycles: int
    busy: int
    stalled_on_drain: int
    stalled_on_output: int
    stalled_on_input: int


@dataclass(frozen=True)
class RunCycles:
    """What a run costs: ``total`` cycles from the request to the last write, and every layer's
    share."""

    total: int
    layers: tuple


def pass_steps(terms):
    """Steps of every pass of one tile, in order.

    Parameters
    ----------
    terms : list of tuple of dict, list of dict
        Fields of every :data:`hw.spec.descriptor.TERM` of the tile, and its entries of the pair
        table.
    """
    passes = []
    for term, pairs in terms:
        group, steps = [], 0
        for pair in pairs:
            steps += term["taps_per_group"] * term["words"]
            if pair["drain"]:
                group.append(steps)
                steps = 0
        passes += group * term["groups"]
    return tuple(passes)


class _Gate:
    """The gate, walked step by step that ends a pass; time 0 is the last step of the tile before.

    Attributes
    ----------
    time : int
        Cycle of the last step.
    loaded : int
        Cycle of the last step that ended the first pass of a sweep.
    """

    def __init__(self, config, descriptor, *, time, drained, tile, loaded, raw_free):
        self.config, self.descriptor = config, descriptor
        self.time, self.drained, self.tile, self.loaded = time, drained, tile, loaded
        self.raw_free = raw_free
        self.drain = self.input = self.output = 0

    def steps(self, passes, first_of_sweep):
        """Walks one tile."""
        load = self.descriptor["block"] + PARAMETER_CYCLES
        for index, steps in enumerate(passes):
            self.time += steps
            wait = self.config.drain_cycles
            if index == 0 and self.descriptor["rescale"] and self.drained == self.tile:
                wait = rescale_cycles(self.config)
            self.drain += self._until(self.drained + wait)
            if index == 0 and first_of_sweep:
                self.input += self._until(self.loaded + load)
            self.output += self._until(self.raw_free)
            if index == len(passes) - 1:
                self.output += self._until(self.tile + self.descriptor["tile_cycles"])
                self.tile = self.time
            if index == 0 and first_of_sweep:
                self.loaded = self.time
            self.drained = self.time

    def _until(self, cycle):
        waited = max(0, cycle - self.time)
        self.time += waited
        return waited


def _sum(counts):
    return tuple(sum(each) for each in zip(*counts, strict=True))


def _sweep(config, descriptor, passes, gate, raw_cycles):
    """Walks a sweep on from a gate: cycles, and those waited for drain, input and output."""
    tiles, start = descriptor["pixel_tiles"], gate.time
    gate.steps(passes, first_of_sweep=True)
    counts = (gate.time - start, gate.drain, gate.input, gate.output)
    if tiles == 1:
        return counts, gate.loaded - gate.time
    one = _Gate(config, descriptor, time=0, drained=0, tile=0, loaded=0, raw_free=raw_cycles)
    one.steps(passes, first_of_sweep=False)
    each = (one.time, one.drain, one.input, one.output)
    counts = tuple(first + (tiles - 1) * rest for first, rest in zip(counts, each, strict=True))
    return counts, gate.loaded - gate.time - (tiles - 1) * one.time


def predict_layer(config, descriptor, lists, *, stalled_on_input=1):
    """Cost of one layer.

    Parameters
    ----------
    config : MachineConfig
        Machine.
    descriptor : dict
        Fields of its :data:`hw.spec.descriptor.DESCRIPTOR`.
    lists : list
        Its term lists, one for every ``term_period`` column tiles, each as for :func:`pass_steps`.
    stalled_on_input : int
        Cycles in which the run waits for the descriptor.

    Returns
    -------
    LayerCycles
    """
    passes = [pass_steps(terms) for terms in lists]
    raw = descriptor["raw"]
    leave = raw_latency(config) if raw else code_latency(config, descriptor)
    raw_cycles = leave + 1 if raw else -1
    first = first_issue_cycles(config) - 1
    known: dict = {}
    total, loaded, busy = (0, 0, 0, 0), 0, 0
    for column in range(descriptor["col_tiles"]):
        now = passes[column // descriptor["term_period"]]
        busy += descriptor["pixel_tiles"] * sum(now)
        key = (now, loaded, column == 0)
        if key not in known:
            gate = _first_gate(config, descriptor, first) if column == 0 else _Gate(
                config, descriptor, time=0, drained=0, tile=0, loaded=loaded, raw_free=raw_cycles)
            known[key] = _sweep(config, descriptor, now, gate, raw_cycles)
        counts, loaded = known[key]
        total = _sum((total, counts))
    cycles, drain, waited, output = total
    return LayerCycles(cycles=first + cycles + leave + 1, busy=busy, stalled_on_drain=drain,
                       stalled_on_output=output, stalled_on_input=waited + stalled_on_input)


def _first_gate(config, descriptor, first):
    """The gate at the begin of a layer, in which time counts from the layer's first cycle."""
    pairs = config.pixels_per_cycle == 2 and descriptor["pixel_pairs"]
    tile = first + tile_cycles(config, pixel_pairs=pairs) - descriptor["tile_cycles"]
    return _Gate(config, descriptor, time=first, drained=first - 2 * config.drain_cycles,
                 tile=tile, loaded=0, raw_free=-1)


def predict_run(config, layers):
    """Cost of a run of layers, given as ``(descriptor, term lists)`` of each.

    A descriptor is fetched while the layer before runs; only the first one, and one behind a very
    short layer, is waited for.
    """
    predicted, total, waiting = [], 0, FETCH_CYCLES
    for descriptor, lists in layers:
        layer = predict_layer(config, descriptor, lists, stalled_on_input=waiting)
        predicted.append(layer)
        total += waiting + layer.cycles
        waiting = max(1, FETCH_CYCLES - layer.cycles)
    return RunCycles(total=total, layers=tuple(predicted))
