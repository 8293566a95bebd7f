"""The cycle model: what a layer costs, exact to the cycle.

Everything behind the feed's gate is a rigid pipeline, so a layer ends a constant time after its
last step has passed the gate. At the gate

* a step follows the one before in the next cycle,
* a step that ends a pass follows the last such step after ``drain_cycles`` at the earliest,
* a step that ends a tile follows the last such step after ``code_bits * requantize_cycles``, or in
  a raw layer a cycle after that tile has left.

A tile ends with a step that is the last of its pass, too, so all tiles but the first take the same
time and the sum needs no simulation. The host is taken to be always ready.
"""

from dataclasses import dataclass

from .descriptor import DESCRIPTOR

__all__ = ["LayerCycles", "RunCycles", "SEARCH_CYCLES", "first_issue_cycles", "predict_layer",
           "predict_run", "requantize_cycles"]

SEARCH_CYCLES = 3
"""Cycles between two levels of one threshold search."""

FEED_LATENCY = 6
"""Cycles from the gate to the top row of the array: sums, addresses, bank, output register,
rotator."""

ELEMENT_LATENCY = 2
"""Cycles through an element, besides its popcount."""

SCALE_LATENCY = 4
"""Cycles from a count to its accumulator at the output of the scale-and-accumulate unit."""

PARAMETER_CYCLES = 2
"""Cycles by which the first pass of a sweep follows the first one of the sweep before, on top of
the entries of a block."""

FETCH_CYCLES = len(DESCRIPTOR) + 2
"""Cycles to fetch a descriptor; hidden under the layer before, if that is longer."""


def requantize_cycles(config):
    """Cycles per code bit in which a tile is requantized and written: one per row."""
    return max(config.rows, SEARCH_CYCLES)


def first_issue_cycles(config):
    """Cycles from a layer's start to its first step: table lookup, or the first tile's
    positions."""
    return max(4, config.rows + 1)


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


def pass_steps(descriptor, pairs):
    """Steps of every pass of one column tile, in order."""
    steps_per_pair = descriptor["taps_per_group"] * descriptor["words"]
    passes, steps = [], 0
    for pair in pairs:
        steps += steps_per_pair
        if pair["drain"]:
            passes.append(steps)
            steps = 0
    return passes * descriptor["groups"]


def _accumulator_cycles(config):
    """Cycles from the gate until the last accumulator of a tile leaves its unit."""
    return (FEED_LATENCY + ELEMENT_LATENCY + config.popcount_stages
            + (config.rows - 1) + (config.cols - 1)
            + SCALE_LATENCY + config.drain_cycles - 1)


def _raw_tile_cycles(config):
    """Cycles from the gate until the last word of a raw tile is taken: behind three words of
    header."""
    return _accumulator_cycles(config) + 4 + config.rows * config.cols


def _code_tile_cycles(config, code_bits):
    """Cycles from the gate until the last word of a tile of codes is written."""
    places = max(config.drain_cycles, SEARCH_CYCLES)
    search = 3 + (code_bits - 1) * places
    return _accumulator_cycles(config) + search + 1 + code_bits * config.rows


def _tile(passes, drain_cycles, time, drained, output_free):
    """Walks one tile through the gate; ``time`` is the cycle of the step before its first one.

    Returns the cycle of its last step and the cycles it waited for drain and for output.
    """
    waited_drain = waited_output = 0
    for index, steps in enumerate(passes):
        time += steps
        if drained + drain_cycles > time:
            waited_drain += drained + drain_cycles - time
            time = drained + drain_cycles
        if index == len(passes) - 1 and output_free > time:
            waited_output += output_free - time
            time = output_free
        drained = time
    return time, waited_drain, waited_output


def predict_layer(config, descriptor, pairs, *, stalled_on_input=1):
    """Cost of one layer.

    Parameters
    ----------
    config : MachineConfig
        Machine.
    descriptor : dict
        Fields of its :data:`hw.spec.descriptor.DESCRIPTOR`.
    pairs : list of dict
        Its entries of the pair table, in order.
    stalled_on_input : int
        Cycles in which the run waits for the descriptor.

    Returns
    -------
    LayerCycles
    """
    passes = pass_steps(descriptor, pairs)
    tiles = descriptor["pixel_tiles"] * descriptor["col_tiles"]
    raw, code_bits = descriptor["raw"], descriptor["code_bits"]
    leave = _raw_tile_cycles(config) if raw else _code_tile_cycles(config, code_bits)
    output = leave + 1 if raw else code_bits * requantize_cycles(config)

    first = first_issue_cycles(config)
    time, drain_first, output_first = _tile(
        passes, config.drain_cycles, first - 1, first - 1 - config.drain_cycles,
        first + config.rows - 1)
    duration, drain_next, output_next = _tile(passes, config.drain_cycles, 0, 0, output)
    return LayerCycles(
        cycles=time + (tiles - 1) * duration + leave + 1,
        busy=tiles * sum(passes),
        stalled_on_drain=drain_first + (tiles - 1) * drain_next,
        stalled_on_output=output_first + (tiles - 1) * output_next,
        stalled_on_input=stalled_on_input)


def predict_run(config, layers):
    """Cost of a run of layers, given as ``(descriptor, pairs)`` of each.

    A descriptor is fetched while the layer before runs; only the first one, and one behind a very
    short layer, is waited for.
    """
    predicted, waiting = [], FETCH_CYCLES
    for descriptor, pairs in layers:
        layer = predict_layer(config, descriptor, pairs, stalled_on_input=waiting)
        predicted.append(layer)
        waiting = max(1, FETCH_CYCLES - layer.cycles)
    total = sum(layer.cycles + layer.stalled_on_input for layer in predicted)
    return RunCycles(total=total, layers=tuple(predicted))
