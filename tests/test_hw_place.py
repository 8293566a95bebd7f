# amaranth: UnusedElaboratable=no
"""The walkers of the output find every pixel, and its place, without a division."""

import random

import pytest

from tests.bench import play
from tests.output_layers import random_layer
from xnorloom.hw.output.pixels import PixelWalker
from xnorloom.hw.output.place import PlaceWalker
from xnorloom.hw.spec.config import MachineConfig
from xnorloom.hw.spec.latency import PLACE_LATENCY

SHAPES = [(1, 1, 1, 1), (2, 2, 4, 1), (3, 1, 5, 3), (5, 3, 9, 1), (8, 2, 16, 1), (2, 1, 2, 2),
          (4, 1, 3, 4), (6, 2, 4, 2)]


def _layers(shape, count):
    rows, cols, lanes, units = shape
    config = MachineConfig(rows=rows, cols=cols, lanes=lanes, units=units, activation_depth=3000)
    rng = random.Random(rows)
    return config, rng, [random_layer(rng, config, most=9, tiles=60) for _ in range(count)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_pixels(shape):
    config, rng, layers = _layers(shape, 8)
    block = PixelWalker(config)
    cycles, expected, seconds = [], {}, {}
    for layer in layers:
        cycles.append([(block.layer, layer.fields()), (block.begin, 1), (block.step, 0)])
        each = 2 if layer.pairs else 1
        for _sweep in range(2):
            for number in range(0, layer.pixel_tiles * config.rows, each):
                cycles += [[(block.begin, 0), (block.step, 0)]] * (rng.random() < 0.2)
                tile, row = divmod(number, config.rows)
                sweep_last, tile_end = tile == layer.pixel_tiles - 1, row == config.rows - each
                expected[len(cycles)] = (
                    layer.pixel(number) is not None, (number + each) % layer.walk == 0, tile_end,
                    tile_end and sweep_last)
                if layer.pairs:
                    seconds[len(cycles)] = layer.pixel(number + 1) is not None
                cycles.append([(block.begin, 0), (block.step, 1),
                               (block.sweep_last, int(sweep_last))])
    assert bool(seconds) == (config.pixels_per_cycle == 2)
    seen = play(block, cycles, [block.alive, block.line_end, block.tile_end, block.sweep_end,
                                *([block.second] if seconds else [])])
    assert {cycle: seen[cycle][:4] for cycle in expected} == expected
    assert {cycle: seen[cycle][4] for cycle in seconds} == seconds


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_places(shape):
    config, rng, layers = _layers(shape, 9)
    assert any(layer.pairs for layer in layers) == (config.pixels_per_cycle == 2)
    block = PlaceWalker(config)
    cycles, expected, seconds = [], {}, {}
    idle = [(block.begin, 0), (block.step, 0), (block.restart, 0)]
    for layer in layers:
        cycles += [[(block.layer, layer.fields()), *idle, (block.begin, 1)], idle]
        for sweep in range(min(layer.col_tiles, 2 * config.granules + 1)):
            word, granule = divmod(sweep, config.granules)
            each = 2 if layer.pairs else 1
            for number in range(0, layer.pixel_tiles * config.rows, each):
                cycles += [idle] * (rng.random() < 0.2)
                pixel = layer.pixel(number)
                if pixel is not None:
                    bank, address = layer.place(*pixel)
                    expected[len(cycles) + PLACE_LATENCY] = (bank, address + word, 1 << granule)
                pixel = layer.pixel(number + 1) if layer.pairs else None
                if pixel is not None:
                    bank, address = layer.place(*pixel)
                    seconds[len(cycles) + PLACE_LATENCY] = bank, address + word
                last = number == layer.pixel_tiles * config.rows - each
                cycles.append([(block.begin, 0), (block.step, 1), (block.restart, int(last))])
        cycles += [idle] * PLACE_LATENCY
    seen = play(block, cycles, [
        block.place.bank, block.place.address, block.granules,
        *([block.second.bank, block.second.address] if seconds else [])])
    assert {cycle: seen[cycle][:3] for cycle in expected} == expected
    assert {cycle: seen[cycle][3:] for cycle in seconds} == seconds
