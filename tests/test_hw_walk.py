# amaranth: UnusedElaboratable=no
"""The walkers find borders and places of every virtual pixel without a division."""

import random

import pytest

from tests.bench import play
from tests.maps import OutputMap, random_map
from xnorloom.hw.common.raster import Raster
from xnorloom.hw.feed.walker import FeedWalker
from xnorloom.hw.output.walker import WriteWalker
from xnorloom.hw.spec.config import MachineConfig
from xnorloom.hw.spec.cycles import first_issue_cycles

SHAPES = [(1, 1, 1), (2, 2, 4), (3, 1, 5), (5, 3, 9), (8, 2, 16)]


def _config(rows, cols, lanes):
    return MachineConfig(rows=rows, cols=cols, lanes=lanes, activation_depth=1000)


def _maps(config, count):
    rng = random.Random(config.rows)
    return [random_map(rng, config) for _ in range(count)]


def test_raster():
    config = _config(3, 1, 1)
    block = Raster(config)
    shape = OutputMap(rows=3, lanes=1, images=2, height=3, width=4, channels=1, planes=1,
                      pitch=(4, 6), reader_pitch=(3, 4), reader_stride=(1, 1))
    rng = random.Random(0)
    cycles, expected, number = [], [], 0
    cycles.append([(block.layer, shape.fields()), (block.start, 1)])
    for _ in range(120):
        step = rng.getrandbits(1)
        cycles.append([(block.start, 0), (block.step, step)])
        _image, y, x = shape.pixel(number)
        expected.append((x, y, int(shape.alive(number)), x == 5, x == 5 and y == 3))
        number += step
    seen = play(block, cycles, [block.x, block.y, block.alive, block.line_end, block.image_end])
    assert number > shape.pixels
    assert seen[1:] == expected


@pytest.mark.parametrize("shape", SHAPES)
def test_feed(shape):
    config = _config(*shape)
    block = FeedWalker(config)
    rng = random.Random(7)
    largest = OutputMap(rows=config.rows, lanes=config.lanes, images=1, height=1, width=255,
                        channels=1, planes=1, pitch=(2, 255), reader_pitch=(1, 255),
                        reader_stride=(1, 1))
    cycles, advances = [], []
    for chart in [largest, *_maps(config, 6)]:
        cycles.append([(block.layer, chart.fields()), (block.start, 1), (block.advance, 0)])
        gap = first_issue_cycles(config)
        for tile in range(min(chart.pixel_tiles, 40)):
            cycles += [[(block.start, 0), (block.advance, 0)]] * (gap - 1)
            cycles.append([(block.start, 0), (block.advance, 1)])
            advances.append((len(cycles), chart, tile))
            gap = config.rows + rng.choice([0, 0, 0, 1, 3])
        cycles.append([(block.start, 0), (block.advance, 0)])
    fields = ("above", "below", "left", "right", "alive")
    seen = play(block, cycles, [position[name] for position in block.positions
                                for name in fields])
    for cycle, chart, tile in advances:
        for row in range(config.rows):
            number = tile * config.rows + row
            *distances, alive = seen[cycle][5 * row:5 * row + 5]
            assert alive == chart.alive(number), (chart, number)
            if alive:
                _image, y, x = chart.pixel(number)
                assert distances == [min(distance, 7) for distance in (
                    y, chart.height - 1 - y, x, chart.width - 1 - x)], (chart, number)


@pytest.mark.parametrize("shape", SHAPES)
def test_write(shape):
    config = _config(*shape)
    rng = random.Random(11)
    largest = OutputMap(rows=config.rows, lanes=config.lanes, images=1, height=255, width=2,
                        channels=1, planes=1, pitch=(255, 2), reader_pitch=(37, 1),
                        reader_stride=(7, 2))
    for chart in [largest, *_maps(config, 8)]:
        block = WriteWalker(config)
        cycles = [[(block.layer, chart.fields()), (block.start, 1)]]
        cycles += [[(block.start, 0)]] * (config.rows + 1)
        turns = []
        for tile in range(min(chart.pixel_tiles, 60)):
            rounds = rng.randint(1, 3)
            for turn in range(rounds * config.rows):
                cycles += [[(block.rotate, 0), (block.replace, 1)]] * (rng.random() < 0.1)
                turns.append((len(cycles), tile * config.rows + turn % config.rows))
                last = turn >= (rounds - 1) * config.rows
                cycles.append([(block.rotate, 1), (block.replace, int(last))])
        seen = play(block, cycles, [block.place.valid, block.place.bank, block.place.address])
        for cycle, number in turns:
            valid, *place = seen[cycle]
            assert valid == chart.alive(number), (chart, number)
            if valid:
                assert tuple(place) == chart.place(number), (chart, number)
