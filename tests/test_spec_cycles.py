"""The cycle model: numbers worked out by hand, and a walk through every cycle at the gate."""

import random

import pytest

from xnorloom.hw.spec.config import MachineConfig
from xnorloom.hw.spec.cycles import (
    FETCH_CYCLES,
    LayerCycles,
    first_issue_cycles,
    pass_steps,
    predict_layer,
    predict_run,
    requantize_cycles,
)
from xnorloom.hw.spec.descriptor import DESCRIPTOR

SMALL = MachineConfig(rows=2, cols=2, lanes=4, units=1, popcount_stages=1, code_bits=2)
"""Drains in 2 cycles, requantizes a tile in 3 a bit, issues its first step 4 cycles after start.
From the gate to the last accumulator: 6 + 2 + 1 to the top left result, 1 more row, 1 more column,
4 to the accumulator, 1 for the second row's: 16."""

ONE_PASS = [{"clear": 1, "double": 0, "drain": 1}]


def _layer(**fields):
    return {"raw": 0, "code_bits": 1, "pixel_tiles": 1, "col_tiles": 1, "groups": 1,
            "taps_per_group": 1, "words": 1, **fields}


def test_constants_of_the_small_machine():
    assert (SMALL.drain_cycles, requantize_cycles(SMALL), first_issue_cycles(SMALL)) == (2, 3, 4)
    assert FETCH_CYCLES == len(DESCRIPTOR) + 2


@pytest.mark.parametrize("layer, pairs, expected", [
    # Ten steps in cycles 4 to 13. Its last accumulator is there 16 later, then come the header and
    # four words: the last leaves 16 + 4 + 4 after the last step, in cycle 37 of 0 to 37.
    (_layer(raw=1, words=10), ONE_PASS, LayerCycles(38, 10, 0, 0, 1)),
    # As before, then a search of 3, 1 to the collector, 2 rows: 13 + 16 + 3 + 1 + 2.
    (_layer(words=10), ONE_PASS, LayerCycles(36, 10, 0, 0, 1)),
    # A second bit: another turn of the search, and 2 more rows.
    (_layer(words=10, code_bits=2), ONE_PASS, LayerCycles(41, 10, 0, 0, 1)),
    # One step alone could go in cycle 4, but the walker needs until 5 to prepare the next tile.
    (_layer(), ONE_PASS, LayerCycles(28, 1, 0, 1, 1)),
    # Three passes of one step: cycles 4, 6, 8, each but the first waits one cycle for the drain.
    (_layer(groups=3), ONE_PASS, LayerCycles(31, 3, 2, 0, 1)),
    # Two tiles of one step, 3 apart for the output: cycles 5 and 8. The second waits in 6 and 7, in
    # 6 for the drain, in 7 for the output.
    (_layer(pixel_tiles=2), ONE_PASS, LayerCycles(31, 2, 1, 2, 1)),
    # Two tiles of 6 steps, two bits: 6 apart. Nothing waits.
    (_layer(col_tiles=2, words=6, code_bits=2), ONE_PASS,
     LayerCycles(4 + 12 - 1 + 16 + 3 + 3 + 1 + 4 + 1, 12, 0, 0, 1)),
    # Two raw tiles of ten steps: 24 + 1 apart, so the second one's last step waits 15.
    (_layer(raw=1, words=10, col_tiles=2), ONE_PASS, LayerCycles(38 + 25, 20, 0, 15, 1)),
])
def test_by_hand(layer, pairs, expected):
    assert predict_layer(SMALL, layer, pairs) == expected


def test_pairs_that_share_a_pass():
    pairs = [{"drain": 0}, {"drain": 1}, {"drain": 1}]
    layer = _layer(groups=2, taps_per_group=3, words=2)
    assert pass_steps(layer, pairs) == [12, 6, 12, 6]
    assert predict_layer(SMALL, layer, pairs).busy == 36


def test_a_run_waits_for_descriptors():
    one = (_layer(words=10), ONE_PASS)
    run = predict_run(SMALL, [one, one, one])
    assert [layer.stalled_on_input for layer in run.layers] == [FETCH_CYCLES, 1, 1]
    assert run.total == FETCH_CYCLES + 36 + 1 + 36 + 1 + 36
    assert predict_run(SMALL, []).total == 0


def test_the_shortest_layer_hides_a_fetch():
    config = MachineConfig(rows=1, cols=1, lanes=1, popcount_stages=1)
    run = predict_run(config, [(_layer(), ONE_PASS)] * 2)
    # One step in cycle 4; 6 + 2 + 1 + 4 to its accumulator, 3 + 1 + 1 to the write behind it.
    assert run.layers == (LayerCycles(23, 1, 0, 0, FETCH_CYCLES), LayerCycles(23, 1, 0, 0, 1))
    assert run.total == FETCH_CYCLES + 23 + 1 + 23


def _walk(config, layer, pairs):
    """Steps of a layer through the gate, cycle by cycle; cycle 0 is the layer's start."""
    steps = []
    for _tile in range(layer["pixel_tiles"] * layer["col_tiles"]):
        for group in range(layer["groups"]):
            for number, pair in enumerate(pairs):
                for step in range(layer["taps_per_group"] * layer["words"]):
                    ends = bool(pair["drain"]) and (
                        step == layer["taps_per_group"] * layer["words"] - 1)
                    steps.append((ends, ends and group == layer["groups"] - 1
                                  and number == len(pairs) - 1))
    rows, drain = config.rows, config.rows // config.units
    accumulated = (6 + 2 + config.popcount_stages + rows - 1 + config.cols - 1 + 4 + drain - 1)
    bits = layer["code_bits"]
    if layer["raw"]:
        leave = accumulated + 4 + rows * config.cols
    else:
        leave = accumulated + 3 + (bits - 1) * max(drain, 3) + 1 + bits * rows
    cycle = max(4, rows + 1)
    drain_free, output_free = 0, cycle + rows - 1
    stalled_on_drain = stalled_on_output = 0
    while steps:
        ends_pass, ends_tile = steps[0]
        if ends_pass and cycle < drain_free:
            stalled_on_drain += 1
        elif ends_tile and cycle < output_free:
            stalled_on_output += 1
        else:
            if ends_pass:
                drain_free = cycle + drain
            if ends_tile:
                output_free = cycle + (leave + 1 if layer["raw"] else bits * max(rows, 3))
                end = cycle + leave
            steps.pop(0)
        cycle += 1
    return end + 1, stalled_on_drain, stalled_on_output


@pytest.mark.parametrize("seed", range(4))
def test_every_cycle_at_the_gate(seed):
    rng = random.Random(seed)
    for _ in range(50):
        rows = rng.choice([1, 2, 3, 4, 5, 8, 32])
        cols = rng.choice([1, 2, 5])
        config = MachineConfig(
            rows=rows, cols=cols, lanes=4 * cols, popcount_stages=rng.choice([1, 2]),
            units=rng.choice([units for units in range(1, rows + 1) if rows % units == 0]))
        pairs = [{"drain": rng.getrandbits(1)} for _ in range(rng.randrange(5))] + [{"drain": 1}]
        layer = _layer(raw=rng.getrandbits(1), code_bits=rng.randint(1, 4),
                       pixel_tiles=rng.randint(1, 4), col_tiles=rng.randint(1, 3),
                       groups=rng.randint(1, 3), taps_per_group=rng.choice([1, 1, 2, 9]),
                       words=rng.choice([1, 1, 2, 5]))
        cost = predict_layer(config, layer, pairs, stalled_on_input=seed)
        assert (cost.cycles, cost.stalled_on_drain, cost.stalled_on_output) == _walk(
            config, layer, pairs), (config, layer, pairs)
        tiles = layer["pixel_tiles"] * layer["col_tiles"]
        assert cost.busy == tiles * sum(pass_steps(layer, pairs))
        assert cost.busy == (tiles * layer["groups"] * len(pairs) * layer["taps_per_group"]
                             * layer["words"])
        assert cost.stalled_on_input == seed
