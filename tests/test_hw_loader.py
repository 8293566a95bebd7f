# amaranth: UnusedElaboratable=no
"""The loader reads block after block, and says where every entry goes."""

import random

import pytest

from tests.bench import play
from xnorloom.hw.column.loader import ParameterLoader
from xnorloom.hw.spec.config import MachineConfig


def _layer(**fields):
    return {"raw": 0, "code_bits": 1, "rescale": 0, "parameter_base": 0, **fields}


def _expected(config, layer, blocks):
    """Entries of every block, in order: address, phase, whether bias, level, place and fault."""
    biases = 16 if any(layer.get(name) for name in layer if name.startswith("border")) else 1
    for number in range(blocks):
        block = []
        for entry in range(biases, biases if layer["rescale"] else layer["block"]):
            node = entry - biases + 1
            depth = node.bit_length() - 1
            first = config.code_bits - layer["code_bits"]
            address = layer["parameter_base"] + number * layer["block"] + entry
            block.append((address % config.parameter_depth, number % 2, 0, 1 << first + depth,
                          node - (1 << depth), address >= config.parameter_depth))
        yield block


@pytest.mark.parametrize("widest", [1, 2, 3, 4])
@pytest.mark.parametrize("rescale", [False, True])
def test_blocks(widest, rescale):
    config = MachineConfig(rows=1, cols=1, lanes=4, code_bits=widest, parameter_depth=128,
                           rescale=rescale)
    unit = ParameterLoader(config)
    rng, latency = random.Random(widest), widest + 1
    layers = [(_layer(code_bits=bits, block=1 << bits), 3) for bits in range(1, widest + 1)]
    layers += [(_layer(raw=1, block=1, parameter_base=7), 4),
               (_layer(block=17, border_right=1), 2),
               (_layer(code_bits=widest, block=15 + (1 << widest), border_top=3,
                       parameter_base=100), 2)]
    if rescale:
        layers += [(_layer(rescale=1, code_bits=8, block=2), 3),
                   (_layer(rescale=1, code_bits=5, block=17, border_left=1), 3)]
    cycles, expected = [], []
    for layer, blocks in layers:
        bordered = any(layer.get(name) for name in layer if name.startswith("border"))
        for number, block in enumerate(_expected(config, layer, blocks)):
            start, length = len(cycles), latency + 2 * len(block) + rng.choice([0, 1, 3])
            cycles += [[(unit.begin, 0), (unit.load, 0), (unit.bias, 0)] for _ in range(length)]
            cycles[start] += [(unit.layer, layer), (unit.begin, number == 0),
                              (unit.load, number > 0)]
            # A bias whenever it is needed, and every second cycle at the most.
            taken = range(1, length, 2) if bordered else rng.sample(range(length), 1)
            for late in taken:
                entry = rng.randrange(2 * config.parameter_depth)
                cycles[start + late] += [(unit.bias, 1), (unit.bias_entry, entry)]
                expected.append((start + late, (entry % config.parameter_depth, None, 1, 0, None,
                                                entry >= config.parameter_depth)))
            free = [late for late in range(latency, length) if late not in taken]
            expected += [(start + late, entry) for late, entry in zip(free, block)]
    cycles += [[(unit.bias, 0)]] * 8
    expected.sort()
    token = unit.token
    seen = [(cycle, values) for cycle, (en, *values) in enumerate(play(
        unit, cycles, [token.en, token.address, token.phase, token.bias, token.levels, token.place,
                       unit.fault])) if en or any(values[2:4]) or values[-1]]
    assert len(seen) == len(expected)
    for (cycle, values), (when, entry) in zip(seen, expected, strict=True):
        assert cycle == when
        for value, wanted in zip(values, entry, strict=True):
            assert wanted is None or value == wanted
