# amaranth: UnusedElaboratable=no
"""The tile counter knows the last column tile and the last tile of a layer."""

import random

import pytest

from tests.bench import play
from xnorloom.hw.output.tiles import TileCounter
from xnorloom.hw.spec.config import MachineConfig


@pytest.mark.parametrize("pause", [0, 2])
def test_tiles(pause):
    config = MachineConfig(rows=2, cols=2, lanes=4, activation_depth=16, bias_depth=16)
    block = TileCounter(config)
    rng = random.Random(pause)
    cycles, expected = [], {}
    for pixels, cols in [(1, 1), (16, 1), (1, 16), (3, 2), (2, 5)]:
        layer = {"pixel_tiles": pixels, "col_tiles": cols}
        cycles.append([(block.layer, layer), (block.start, 1), (block.step, 0)])
        for pixel in range(pixels):
            for col in range(cols):
                cycles += [[(block.start, 0), (block.step, 0)]] * rng.randint(0, pause)
                last_col = col == cols - 1
                expected[len(cycles)] = (last_col, last_col and pixel == pixels - 1)
                cycles.append([(block.start, 0), (block.step, 1)])
    seen = play(block, cycles, [block.tile.last_col, block.tile.last])
    assert {cycle: seen[cycle] for cycle in expected} == expected
