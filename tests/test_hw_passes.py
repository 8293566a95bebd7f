# amaranth: UnusedElaboratable=no
"""Every pass that drains finds its scale, its biases and its place in tile, sweep and layer."""

import random
from dataclasses import replace

import pytest

from tests.bench import play
from xnorloom.hw.column.passes import PassSequencer
from xnorloom.hw.spec.config import MachineConfig
from xnorloom.hw.spec.latency import rescale_cycles, rescale_delay

CONFIG = MachineConfig(rows=3, cols=2, lanes=4, code_bits=3, scale_depth=40, parameter_depth=64)


def _layer(**fields):
    return {"raw": 0, "rescale": 0, "col_tiles": 1, "pixel_tiles": 1, "passes": 1, "scale_base": 0,
            "parameter_base": 0, "block": 2, **fields}


def _expected(layer):
    """Token, load and fault of every pass."""
    sweeps, tiles, passes = layer["col_tiles"], layer["pixel_tiles"], layer["passes"]
    scales = passes + (layer["rescale"] and not layer["raw"])
    for sweep in range(sweeps):
        for tile in range(tiles):
            for number in range(passes):
                scale = layer["scale_base"] + sweep * scales + number
                opening = tile == 0 and number == 0
                yield {"scale": scale, "first": number == 0, "final": number == passes - 1,
                       "opening": opening, "phase": sweep % 2,
                       "last": sweep == sweeps - 1 and tile == tiles - 1,
                       "load": opening and sweep < sweeps - 1, "fault": scale >= 40,
                       "block": layer["parameter_base"] + sweep * layer["block"]}


def _play(layers, gaps=lambda: 0, seed=1, config=CONFIG):
    """Compares what is seen at every cycle of the layers; returns the faults."""
    block, rng = PassSequencer(config), random.Random(seed)
    drain, token = config.drain_cycles, block.token
    cycles, drains, biases, slots = [], {}, {}, {}
    for layer in layers:
        cycles.append([(block.layer, layer), (block.begin, 1), (block.drained, 0)])
        cycles.append([(block.begin, 0)])
        bordered = any(layer.get(name) for name in layer if name.startswith("border"))
        for expected in _expected(layer):
            kinds = [rng.randrange(16) for _ in range(drain)]
            cycles += [[(block.drained, 0)]] * gaps()
            now = len(cycles)
            drains[now] = expected
            cycles.append([(block.drained, 1), (block.classes.payload, kinds)])
            if expected["first"]:
                if bordered:
                    biases |= {now + 1 + row: expected["block"] + kind
                               for row, kind in enumerate(kinds)}
                elif expected["opening"] or layer["rescale"]:
                    biases[now + 1] = expected["block"]
            wait = drain
            if expected["final"] and layer["rescale"] and not layer["raw"]:
                wait = rescale_cycles(config)
                begin = now + rescale_delay(config)
                slots |= dict.fromkeys(range(begin, now + wait), expected["scale"] + 1)
                biases[begin + 1] = expected["block"] + (16 if bordered else 1)
            cycles += [[(block.drained, 0)]] * (wait - 1)
    cycles += [[(block.drained, 0)]] * 4
    names = ["scale", "first", "final", "opening", "phase", "last"]
    seen = play(block, cycles, [getattr(token, name) for name in names] + [
        block.load, block.fault, block.classes.ready, block.bias, block.bias_entry, token.rescale])
    for cycle, (*values, load, fault, ready, bias, entry, rescale) in enumerate(seen):
        expected = drains.get(cycle)
        if expected:
            assert [*values, load, fault, ready] == [
                expected[name] for name in (*names, "load", "fault", "first")]
        else:
            assert not (load or ready) and fault == (slots.get(cycle, 0) >= 40)
        assert values[0] == slots.get(cycle, values[0])
        assert bias == (cycle in biases)
        assert entry == biases.get(cycle, entry)
        assert rescale == (cycle in slots)
    return any(expected["fault"] for expected in drains.values()) or max(slots.values(),
                                                                         default=0) >= 40


@pytest.mark.parametrize("layer", [
    _layer(), _layer(raw=1, scale_base=39, parameter_base=63),
    _layer(col_tiles=7, passes=4, scale_base=12, parameter_base=8, pixel_tiles=2),
    _layer(passes=9, col_tiles=4, pixel_tiles=3, border_top=1, block=16),
    _layer(passes=1, col_tiles=2, pixel_tiles=5, border_left=3, block=17),
    _layer(rescale=1, col_tiles=2, pixel_tiles=2, passes=2, border_bottom=2, block=18),
    _layer(rescale=1, raw=1, col_tiles=2, pixel_tiles=2),
    _layer(rescale=1, scale_base=38, parameter_base=62)])
def test_tokens(layer):
    assert not _play([layer])


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 8, 32])
def test_multiplied_accumulators(rows):
    config = replace(CONFIG, rows=rows)
    layers = [_layer(rescale=1, col_tiles=3, pixel_tiles=3, passes=passes, border_top=border,
                     block=2 + 15 * border, parameter_base=2)
              for border in (0, 1) for passes in (1, 3)]
    assert not _play(layers, config=config)


def test_layers_in_a_row_and_pauses():
    rng = random.Random(3)
    layers = [_layer(col_tiles=rng.randint(1, 3), pixel_tiles=rng.randint(1, 3),
                     passes=rng.randint(1, 3), scale_base=rng.randrange(10),
                     parameter_base=rng.randrange(20), block=rng.randint(1, 20),
                     raw=rng.getrandbits(1), rescale=rng.getrandbits(1),
                     border_right=rng.getrandbits(1))
              for _ in range(10)]
    assert not _play(layers, gaps=lambda: rng.choice([0, 0, 1, 4]))


@pytest.mark.parametrize("layer", [
    _layer(scale_base=36, col_tiles=2, passes=3), _layer(scale_base=40),
    _layer(scale_base=39, passes=2, pixel_tiles=2), _layer(rescale=1, scale_base=39),
    _layer(rescale=1, scale_base=37, col_tiles=2)])
def test_faults(layer):
    assert _play([layer])
