# amaranth: UnusedElaboratable=no
"""The walkers of the output find every pixel, and its place, without a division."""

import random

import pytest

from tests.bench import play
from tests.output_layers import random_layer
from xnorloom.hw.output.pixels import PixelWalker
from xnorloom.hw.output.place import PLACE_LATENCY, PlaceWalker
from xnorloom.hw.spec.config import MachineConfig

SHAPES = [(1, 1, 1), (2, 2, 4), (3, 1, 5), (5, 3, 9), (8, 2, 16)]


def _layers(shape, count):
    rows, cols, lanes = shape
    config = MachineConfig(rows=rows, cols=cols, lanes=lanes, activation_depth=3000)
    rng = random.Random(rows)
    return config, rng, [random_layer(rng, config, most=9, tiles=60) for _ in range(count)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_pixels(shape):
    config, rng, layers = _layers(shape, 5)
    block = PixelWalker(config)
    cycles, expected = [], {}
    for layer in layers:
        cycles.append([(block.layer, layer.fields()), (block.begin, 1), (block.step, 0)])
        for _sweep in range(2):
            for number in range(layer.pixel_tiles * config.rows):
                cycles += [[(block.begin, 0), (block.step, 0)]] * (rng.random() < 0.2)
                tile, row = divmod(number, config.rows)
                sweep_last, tile_end = tile == layer.pixel_tiles - 1, row == config.rows - 1
                expected[len(cycles)] = (
                    layer.pixel(number) is not None, (number + 1) % layer.walk == 0, tile_end,
                    tile_end and sweep_last)
                cycles.append([(block.begin, 0), (block.step, 1),
                               (block.sweep_last, int(sweep_last))])
    seen = play(block, cycles, [block.alive, block.line_end, block.tile_end, block.sweep_end])
    assert {cycle: seen[cycle] for cycle in expected} == expected


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_places(shape):
    config, rng, layers = _layers(shape, 6)
    block = PlaceWalker(config)
    cycles, expected = [], {}
    idle = [(block.begin, 0), (block.step, 0), (block.restart, 0)]
    for layer in layers:
        cycles += [[(block.layer, layer.fields()), *idle, (block.begin, 1)], idle]
        for sweep in range(min(layer.col_tiles, 2 * config.granules + 1)):
            word, granule = divmod(sweep, config.granules)
            for number in range(layer.pixel_tiles * config.rows):
                cycles += [idle] * (rng.random() < 0.2)
                pixel = layer.pixel(number)
                if pixel is not None:
                    bank, address = layer.place(*pixel)
                    expected[len(cycles) + PLACE_LATENCY] = (bank, address + word, 1 << granule)
                last = number == layer.pixel_tiles * config.rows - 1
                cycles.append([(block.begin, 0), (block.step, 1), (block.restart, int(last))])
        cycles += [idle] * PLACE_LATENCY
    seen = play(block, cycles, [block.place.bank, block.place.address, block.granules])
    assert {cycle: seen[cycle] for cycle in expected} == expected
