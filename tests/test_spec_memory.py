"""Shapes of the memories, as link, loader and compiler share them."""

import pytest

from xnorloom.hw.spec.config import PRESETS, MachineConfig
from xnorloom.hw.spec.memory import PROFILE_COUNTERS, PROFILE_LAYERS, Memory, banks


def test_shapes():
    config = MachineConfig(rows=3, cols=5, lanes=70, scale_bits=12, acc_bits=20,
                           activation_depth=11, weight_depth=12, scale_depth=13, parameter_depth=14,
                           term_depth=15, tap_depth=16, pair_depth=17, program_depth=32)
    shapes = {memory: (bank.count, bank.depth, bank.width, bank.entry_words, bank.writable,
                       bank.readable) for memory, bank in banks(config).items()}
    assert shapes == {
        Memory.PROGRAM: (1, 32, 32, 1, True, False), Memory.TERMS: (1, 15, 160, 5, True, False),
        Memory.TAPS: (1, 16, 96, 3, True, False), Memory.PAIRS: (1, 17, 32, 1, True, False),
        Memory.ACTIVATIONS: (3, 11, 70, 3, True, True),
        # One bit above a scale says relu.
        Memory.WEIGHTS: (5, 12, 70, 3, True, False), Memory.SCALES: (5, 13, 13, 1, True, False),
        Memory.PARAMETERS: (5, 14, 20, 1, True, False),
        Memory.PROFILE: (1, 1024, 32, 1, False, True)}


@pytest.mark.parametrize("config", PRESETS.values())
def test_numbers_are_the_order(config):
    shapes = banks(config)
    assert list(shapes) == list(Memory) == list(range(len(Memory)))
    assert all(bank.memory == memory for memory, bank in shapes.items())
    assert all(bank.bits == bank.count * bank.depth * bank.width for bank in shapes.values())
    # A section header has 8 bits for the bank, 16 for the start.
    assert all(bank.count <= 256 and bank.depth <= 1 << 16 for bank in shapes.values())


def test_counters_of_a_layer_fit_its_place():
    assert len(PROFILE_COUNTERS) <= 8
    assert banks(PRESETS["tiny"])[Memory.PROFILE].depth == 8 * PROFILE_LAYERS
