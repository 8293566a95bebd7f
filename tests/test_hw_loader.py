# amaranth: UnusedElaboratable=no
"""The loader reads block after block, and says where every entry goes."""

import random

import pytest

from tests.bench import play
from xnorloom.hw.column.loader import ParameterLoader
from xnorloom.hw.spec.config import MachineConfig
from xnorloom.hw.spec.latency import threshold_levels


def _layer(**fields):
    return {"code_bits": 1, "rescale": 0, "parameter_base": 0, **fields}


def _expected(config, layer, blocks):
    """Entries in order: address, phase, whether bias, level and place."""
    levels = threshold_levels(config)
    biases = 16 if any(layer.get(name) for name in layer if name.startswith("border")) else 1
    for number in range(blocks):
        for entry in range(layer["block"]):
            node = entry - biases + 1
            depth = max(node, 1).bit_length() - 1
            first = 0 if layer["rescale"] else levels - layer["code_bits"]
            address = layer["parameter_base"] + number * layer["block"] + entry
            yield (address % config.parameter_depth, number % 2, node == 0,
                   1 << first + depth if node > 0 else 0,
                   node - (1 << depth) if node > 0 else None, address >= config.parameter_depth)


@pytest.mark.parametrize("widest", [1, 2, 3, 4])
@pytest.mark.parametrize("rescale", [False, True])
def test_blocks(widest, rescale):
    config = MachineConfig(rows=1, cols=1, lanes=4, code_bits=widest, parameter_depth=128,
                           rescale=rescale)
    unit = ParameterLoader(config)
    rng = random.Random(widest)
    layers = [(_layer(code_bits=bits, block=1 << bits), 3) for bits in range(1, widest + 1)]
    layers += [(_layer(block=1, parameter_base=7), 4),
               (_layer(block=17, border_right=1), 2),
               (_layer(code_bits=widest, block=15 + (1 << widest), border_top=3,
                       parameter_base=100), 2)]
    if rescale:
        layers += [(_layer(rescale=1, code_bits=8, block=3), 3),
                   (_layer(rescale=1, code_bits=5, block=18, border_left=1), 3)]
    cycles, expected, latency = [], [], threshold_levels(config)
    for layer, blocks in layers:
        entries = list(_expected(config, layer, blocks))
        for number in range(blocks):
            extra = rng.choice([0, 0, 3])
            start = len(cycles)
            cycles.append([(unit.layer, layer), (unit.begin, number == 0),
                           (unit.load, number > 0)])
            cycles += [[(unit.begin, 0), (unit.load, 0)]] * (layer["block"] - 1 + extra)
            block = entries[number * layer["block"]:(number + 1) * layer["block"]]
            expected += [(start + latency + late, entry) for late, entry in enumerate(block)]
        cycles += [[(unit.begin, 0), (unit.load, 0)]] * 8
    token = unit.token
    seen = [(cycle, values) for cycle, (en, *values) in enumerate(play(
        unit, cycles, [token.en, token.address, token.phase, token.bias, token.levels, token.place,
                       unit.fault])) if en or any(values[2:4]) or values[-1]]
    assert len(seen) == len(expected)
    for (cycle, values), (when, entry) in zip(seen, expected, strict=True):
        assert cycle == when
        for value, wanted in zip(values, entry, strict=True):
            assert wanted is None or value == wanted
