"""The cycle model: numbers worked out by hand, and a walk through every cycle at the gate."""

import random

import pytest

from xnorloom.hw.spec.config import MachineConfig
from xnorloom.hw.spec.cycles import FETCH_CYCLES, pass_steps, predict_layer, predict_run
from xnorloom.hw.spec.descriptor import DESCRIPTOR
from xnorloom.hw.spec.latency import (
    PARAMETER_CYCLES,
    code_latency,
    first_issue_cycles,
    raw_latency,
    rescale_cycles,
)

SMALL = MachineConfig(rows=2, cols=2, lanes=4, units=1, popcount_stages=1, code_bits=2)

ONE_PASS = [{"clear": 1, "double": 0, "drain": 1}]


def _term(**fields):
    return {"taps_per_group": 1, "words": 1, "groups": 1, **fields}


def _layer(**fields):
    return {"raw": 0, "rescale": 0, "pool": 0, "pool_cycles": 1, "code_bits": 1, "map_bits": 1,
            "turns": 1, "block": 2, "pixel_tiles": 1, "col_tiles": 1, "term_period": 1,
            "tile_cycles": 2, "pixel_pairs": 0, **fields}


def test_pairs_that_share_a_pass():
    pairs = [{"drain": 0}, {"drain": 1}, {"drain": 1}]
    term = _term(groups=2, taps_per_group=3, words=2)
    assert pass_steps([(term, pairs)]) == (12, 6, 12, 6)
    assert pass_steps([(term, pairs), (_term(words=5), ONE_PASS)]) == (12, 6, 12, 6, 5)
    layer = _layer(pixel_tiles=3, col_tiles=2)
    assert predict_layer(SMALL, layer, [[(term, pairs)]] * 2).busy == 6 * 36


def test_one_long_tile():
    first = first_issue_cycles(SMALL)
    one = [[(_term(words=100), ONE_PASS)]]
    cost = predict_layer(SMALL, _layer(), one)
    assert cost.cycles == first + 99 + code_latency(SMALL, _layer()) + 1
    assert (cost.busy, cost.stalled_on_drain, cost.stalled_on_output, cost.stalled_on_input) == (
        100, 0, 0, 1)
    cost = predict_layer(SMALL, _layer(raw=1), one)
    assert cost.cycles == first + 99 + raw_latency(SMALL) + 1


def test_a_run_waits_for_descriptors():
    one = (_layer(), [[(_term(words=100), ONE_PASS)]])
    cycles = predict_layer(SMALL, *one).cycles
    run = predict_run(SMALL, [one, one, one])
    assert [layer.stalled_on_input for layer in run.layers] == [FETCH_CYCLES, 1, 1]
    assert run.total == FETCH_CYCLES + 3 * cycles + 2
    assert predict_run(SMALL, []).total == 0
    assert FETCH_CYCLES == DESCRIPTOR.used + 2


def _steps(layer, lists):
    """Every step of a layer: whether it ends a pass, the first pass of its sweep, its tile."""
    steps = []
    for column in range(layer["col_tiles"]):
        for tile in range(layer["pixel_tiles"]):
            tile_steps = []
            for term, pairs in lists[column // layer["term_period"]]:
                size = term["taps_per_group"] * term["words"]
                for _group in range(term["groups"]):
                    for pair in pairs:
                        tile_steps += [[step == size - 1 and bool(pair["drain"]), False, False]
                                       for step in range(size)]
            tile_steps[-1][2] = True
            if tile == 0:
                next(step for step in tile_steps if step[0])[1] = True
            steps += tile_steps
    return steps


def _walk(config, layer, lists):
    """Steps of a layer through the gate, cycle by cycle; cycle 0 is the layer's first one."""
    drain = config.rows // config.units
    leave = raw_latency(config) if layer["raw"] else code_latency(config, layer)
    cycle = first_issue_cycles(config)
    positions = config.rows // 2 if layer["pixel_pairs"] and config.units % 2 == 0 else config.rows
    drain_free, tile_free, raw_free = 0, cycle + positions - 1, 0
    loaded = layer["block"] + PARAMETER_CYCLES
    stalls = {"drain": 0, "output": 0, "input": 0}
    behind = 0
    for ends_pass, ends_first, ends_tile in _steps(layer, lists):
        while True:
            if ends_pass and cycle < (behind or drain_free):
                stalls["drain"] += 1
            elif ends_first and cycle < loaded:
                stalls["input"] += 1
            elif (ends_pass and cycle < raw_free) or (ends_tile and cycle < tile_free):
                stalls["output"] += 1
            else:
                break
            cycle += 1
        if ends_first:
            loaded = cycle + layer["block"] + PARAMETER_CYCLES
        if ends_pass:
            drain_free = cycle + drain
            behind = (cycle + rescale_cycles(config)) * (ends_tile and layer["rescale"])
        if ends_tile:
            tile_free, end = cycle + layer["tile_cycles"], cycle + leave
            raw_free = end + 1 if layer["raw"] else 0
        cycle += 1
    return end + 1, stalls["drain"], stalls["output"], stalls["input"]


@pytest.mark.parametrize("units, last_step", [(1, 3), (2, 2)])
def test_positions_of_the_second_tile_come_in_pairs_where_the_machine_can(units, last_step):
    config = MachineConfig(rows=2, cols=2, lanes=4, units=units, popcount_stages=1, code_bits=2)
    layer = _layer(pixel_pairs=1, pixel_tiles=2)
    cost = predict_layer(config, layer, [[(_term(), ONE_PASS)]])
    assert cost.cycles == first_issue_cycles(config) + last_step + code_latency(config, layer) + 1


@pytest.mark.parametrize("seed", range(6))
def test_every_cycle_at_the_gate(seed):
    rng = random.Random(seed)
    for _ in range(40):
        rows = rng.choice([1, 2, 3, 4, 5, 8, 32])
        cols = rng.choice([1, 2, 5])
        config = MachineConfig(
            rows=rows, cols=cols, lanes=4 * cols, popcount_stages=rng.choice([1, 2]),
            units=rng.choice([units for units in range(1, rows + 1) if rows % units == 0]))
        raw = rng.getrandbits(1)
        layer = _layer(raw=raw, rescale=0 if raw else rng.getrandbits(1),
                       map_bits=rng.randint(1, 8), turns=rng.randint(1, rows),
                       block=rng.choice([1, 2, 4, 16, 31]), pool=rng.choice([0, 0, 1]),
                       pool_cycles=rng.randint(1, 9), pixel_tiles=rng.randint(1, 4),
                       col_tiles=rng.randint(1, 5), term_period=rng.randint(1, 3),
                       tile_cycles=rows + rng.choice([0, 0, 3, 40]))
        if config.units % 2 == 0 and not raw and rng.getrandbits(1):
            layer |= {"pixel_pairs": 1, "turns": 1, "pool": 0,
                      "tile_cycles": rows // 2 + rng.choice([0, 0, 1, 3, 40])}
        lists = []
        for _list in range(-(-layer["col_tiles"] // layer["term_period"])):
            terms = []
            for _term_number in range(rng.randint(1, 3)):
                pairs = [{"drain": rng.getrandbits(1)} for _ in range(rng.randrange(4))]
                terms.append((_term(groups=rng.randint(1, 3), words=rng.choice([1, 1, 2, 5]),
                                    taps_per_group=rng.choice([1, 1, 2, 9])),
                              [*pairs, {"drain": 1}]))
            lists.append(terms)
        cost = predict_layer(config, layer, lists, stalled_on_input=seed)
        assert (cost.cycles, cost.stalled_on_drain, cost.stalled_on_output,
                cost.stalled_on_input - seed) == _walk(config, layer, lists), (config, layer, lists)
