# amaranth: UnusedElaboratable=no
"""The tile counter knows the last tile of a sweep and the last column tile of a layer."""

import random

import pytest

from tests.bench import play
from xnorloom.hw.output.tiles import TileCounter
from xnorloom.hw.spec.config import MachineConfig


@pytest.mark.parametrize("pause", [0, 2])
def test_tiles(pause):
    config = MachineConfig(rows=2, cols=2, lanes=4, parameter_depth=16)
    block = TileCounter(config)
    rng = random.Random(pause)
    cycles, expected = [], {}
    for pixels, cols in [(1, 1), (16, 1), (1, 16), (3, 2), (2, 5)]:
        layer = {"pixel_tiles": pixels, "col_tiles": cols}
        cycles.append([(block.layer, layer), (block.begin, 1), (block.step, 0)])
        for col in range(cols):
            for pixel in range(pixels):
                cycles += [[(block.begin, 0), (block.step, 0)]] * rng.randint(0, pause)
                expected[len(cycles)] = (pixel == pixels - 1, col == cols - 1)
                cycles.append([(block.begin, 0), (block.step, 1)])
    seen = play(block, cycles, [block.sweep_last, block.col_last])
    assert {cycle: seen[cycle] for cycle in expected} == expected
