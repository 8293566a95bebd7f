# amaranth: UnusedElaboratable=no
"""The feed's walker knows where every virtual pixel is without a division."""

import random

import pytest
from amaranth.hdl import Module
from amaranth.lib import data, wiring
from amaranth.lib.wiring import Out

from tests.bench import play
from tests.feed_model import border_class, place_of, random_layer
from xnorloom.hw.feed.classes import BorderClasses
from xnorloom.hw.feed.walker import FeedWalker
from xnorloom.hw.spec.config import MachineConfig


class Walk(wiring.Component):
    """The walker, and the classes that count along with it."""

    def __init__(self, config):
        self.config = config
        self.walker = FeedWalker(config)
        super().__init__({name: member for name, member in self.walker.signature.members.items()
                          if name != "raster"}
                         | {"classes": Out(data.ArrayLayout(4, config.rows))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.walker = walker = self.walker
        m.d.comb += [walker.layer.eq(self.layer), walker.begin.eq(self.begin),
                     walker.advance.eq(self.advance), walker.restart.eq(self.restart),
                     self.origin.eq(walker.origin),
                     *(to.eq(at) for to, at in zip(self.positions, walker.positions))]
        if self.config.border_classes:
            m.submodules.classes = classes = BorderClasses(self.config)
            wiring.connect(m, walker.raster, classes.raster)
            m.d.comb += [classes.layer.eq(self.layer), self.classes.eq(classes.classes)]
        return m


def _walk(config, layers, rng):
    """Shows every tile of every layer; yields ``(layer, tile, what the walker shows)``."""
    block = Walk(config)
    rows = config.rows
    cycles, shown = [], []
    for layer in layers:
        cycles.append([(block.layer, {name: layer[name] for name in layer}), (block.begin, 1),
                       (block.advance, 0)])
        least = rows // 2 if layer.get("pixel_pairs") else rows
        gap = least - 1
        for _column in range(layer["col_tiles"]):
            for tile in range(layer["pixel_tiles"]):
                cycles += [[(block.begin, 0), (block.advance, 0),
                            (block.restart, rng.getrandbits(1))]] * gap
                last = tile == layer["pixel_tiles"] - 1
                cycles.append([(block.begin, 0), (block.advance, 1), (block.restart, last)])
                shown.append((len(cycles), layer, tile))
                gap = least - 1 + rng.choice([0, 0, 0, 1, 5])
        cycles += [[(block.begin, 0), (block.advance, 0)]] * 2
    fields = ["lines", "place", "alive"]
    outputs = [block.classes, block.origin.line, block.origin.place, *(
        at[name] for at in block.positions for name in fields)]
    seen = play(block, cycles, outputs)
    for cycle, layer, tile in shown:
        _classes, line, place, *flat = seen[cycle]
        codes = seen[cycle + 1][0]
        yield layer, tile, (line, place), [
            {**dict(zip(fields, flat[3 * row:])), "class": codes[row]} for row in range(rows)]


def _check(config, layers, rng):
    for layer, tile, (line, place), positions in _walk(config, layers, rng):
        for row, at in enumerate(positions):
            expected = place_of(layer, config.rows, tile, row)
            if at["lines"]:
                found = line + at["lines"], at["place"], at["alive"]
            else:
                found = line, place + row, at["alive"]
            # Far below the map the lines may begin anew, for nothing lives there.
            assert found[2] == expected[2], (layer, tile, row)
            assert found == expected or not expected[2], (layer, tile, row)
            if config.border_classes and at["alive"] and not layer.get("pixel_pairs"):
                assert at["class"] == border_class(layer, *expected[:2]), (layer, tile, row)


@pytest.mark.parametrize("classes", [False, True])
@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 8])
def test_every_row_of_every_tile(rows, classes):
    config = MachineConfig(rows=rows, cols=1, lanes=1, border_classes=classes)
    rng = random.Random(rows)
    _check(config, [random_layer(rng, config, most_tiles=12)[0] for _ in range(40)], rng)


@pytest.mark.parametrize("rows, units", [(2, 2), (4, 2), (4, 4), (6, 2), (8, 4)])
def test_tiles_in_pairs_come_in_half_the_time(rows, units):
    config = MachineConfig(rows=rows, cols=1, lanes=1, units=units)
    rng = random.Random(rows + units)
    layers = [random_layer(rng, config, most_tiles=12)[0] for _ in range(120)]
    paired = [layer for layer in layers if layer["pixel_pairs"]]
    assert {layer["walk_width"] % 2 for layer in paired} == {0, 1}
    assert any(layer["walk_width"] == 1 for layer in paired)
    assert 40 < len(paired) < 80
    _check(config, layers, rng)


def test_long_lines_and_many_of_them():
    config = MachineConfig(rows=4, cols=1, lanes=1)
    rng = random.Random(1)
    layer = random_layer(rng, config)[0]
    # The border on the right begins far out; lines beyond the map do not come back to life.
    wide = {**layer, "walk": 1003, "walk_width": 1000, "images": 10, "border_left": 0,
            "border_right": 3, "border_top": 1, "border_bottom": 1, "out_lines": 2,
            "pixel_tiles": 900, "col_tiles": 1}
    high = {**layer, "walk": 1, "walk_width": 1, "images": 1, "border_left": 1,
            "border_right": 0, "border_top": 0, "border_bottom": 3, "out_lines": 2050,
            "pixel_tiles": 1100, "col_tiles": 2}
    _check(config, [wide, high], rng)
    twin = MachineConfig(rows=4, cols=1, lanes=1, units=2)
    pairs = {**wide, "walk": 1004, "walk_width": 999, "border_right": 0, "border_top": 0,
             "border_bottom": 0, "pixel_pairs": 1}
    high |= {"walk": 2, "border_left": 0, "border_bottom": 0, "pixel_pairs": 1}
    _check(twin, [pairs, high], rng)


def test_lines_of_the_largest_map_end_for_good():
    config = MachineConfig(rows=4, cols=1, lanes=1, border_classes=False)
    rng = random.Random(2)
    layer = {**random_layer(rng, config)[0], "walk": 1, "walk_width": 1, "out_lines": 1,
             "pixel_tiles": 1030, "col_tiles": 1}
    for _layer, tile, _origin, positions in _walk(config, [layer], rng):
        assert [at["alive"] for at in positions] == [int(tile == 0), 0, 0, 0]
