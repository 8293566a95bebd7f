# amaranth: UnusedElaboratable=no
"""Every pass that drains finds its scale, bias and thresholds."""

import random

import pytest

from tests.bench import play
from xnorloom.hw.column.passes import PassSequencer
from xnorloom.hw.spec.config import MachineConfig

CONFIG = MachineConfig(rows=2, cols=2, lanes=4, code_bits=3, scale_depth=40, bias_depth=10,
                       threshold_depth=64)


def _play(layers, pixel_tiles=3, gaps=lambda: 0):
    """Tokens and faults at every drain of the layers."""
    block = PassSequencer(CONFIG)
    cycles, drains = [], []
    for layer in layers:
        cycles.append([(block.layer, layer), (block.start, 1), (block.drained, 0)])
        cycles.append([(block.start, 0)])
        passes = layer["groups"] * layer["passes_per_group"]
        for _pixel in range(pixel_tiles):
            for number in range(1, layer["col_tiles"] * passes + 1):
                # Ends mean nothing while no pass drains.
                cycles += [[(block.drained, 0), (block.ends, {"tile": 1, "sweep": 1})]] * gaps()
                drains.append(len(cycles))
                cycles.append([(block.drained, 1), (block.ends, {
                    "tile": number % passes == 0,
                    "sweep": number == layer["col_tiles"] * passes})])
    token = block.token
    seen = play(block, cycles, [
        token.scale, token.bias, token.block, token.first, token.final, block.fault_scales,
        block.fault_biases, block.fault_thresholds])
    for cycle, values in enumerate(seen):
        assert cycle in drains or not any(values[5:])
    return [seen[cycle] for cycle in drains]


def _expected(layer, pixel_tiles=3):
    passes = layer["groups"] * layer["passes_per_group"]
    for _pixel in range(pixel_tiles):
        for col in range(layer["col_tiles"]):
            for number in range(passes):
                scale = layer["scale_base"] + col * passes + number
                bias = layer["bias_base"] + col
                block = layer["threshold_base"] + (col << layer["code_bits"])
                yield (scale, bias, block, number == 0, number == passes - 1, scale >= 40,
                       bias >= 10, not layer["raw"] and block >= 64)


def _layer(**fields):
    return {"raw": 0, "code_bits": 1, "col_tiles": 1, "groups": 1, "passes_per_group": 1,
            "scale_base": 0, "bias_base": 0, "threshold_base": 0, **fields}


@pytest.mark.parametrize("layer", [
    _layer(), _layer(raw=1, scale_base=39, bias_base=9, threshold_base=63),
    _layer(code_bits=3, col_tiles=7, groups=2, passes_per_group=2, scale_base=12, bias_base=3,
           threshold_base=8),
    _layer(groups=1, passes_per_group=9, col_tiles=4, code_bits=2),
    _layer(groups=9, passes_per_group=1, col_tiles=2)])
def test_tokens(layer):
    assert _play([layer]) == list(_expected(layer))


def test_layers_in_a_row_and_pauses():
    rng = random.Random(3)
    layers = [_layer(code_bits=rng.randint(1, 3), col_tiles=rng.randint(1, 3),
                     groups=rng.randint(1, 3), passes_per_group=rng.randint(1, 3),
                     scale_base=rng.randrange(10), bias_base=rng.randrange(6),
                     threshold_base=rng.randrange(20), raw=rng.getrandbits(1))
              for _ in range(8)]
    seen = _play(layers, gaps=lambda: rng.choice([0, 0, 1, 4]))
    assert seen == [token for layer in layers for token in _expected(layer)]


@pytest.mark.parametrize("layer", [
    _layer(scale_base=36, col_tiles=2, groups=3), _layer(bias_base=8, col_tiles=4),
    _layer(threshold_base=48, code_bits=3, col_tiles=4),
    _layer(threshold_base=48, code_bits=3, col_tiles=4, raw=1)])
def test_faults(layer):
    seen = _play([layer], pixel_tiles=1)
    assert seen == list(_expected(layer, 1))
    assert any(any(values[5:]) for values in seen) != bool(layer["raw"])
