# amaranth: UnusedElaboratable=no
"""The walker of windows shows every window that a pixel lies in, and the pool combines them."""

import random

import pytest

from tests.bench import play
from tests.output_layers import random_layer
from xnorloom.hw.output.pool import CODES_LATE, Pool
from xnorloom.hw.output.windows import WindowWalker
from xnorloom.hw.spec.config import MachineConfig
from xnorloom.hw.spec.latency import POOL_LATENCY, WINDOW_LATENCY

CONFIG = MachineConfig(rows=4, cols=2, lanes=4, pool_depth=70, activation_depth=3000)


def _windows(layer, number):
    """Windows that a virtual pixel lies in, oldest first: ``(oy, ox, image, dy, dx)``; those below
    the last ones, which have lines of their own, are among them."""
    y, c = divmod(number, layer.walk)
    x, image = divmod(c, layer.images)
    rows, cols = (
        [(o, place + layer.before[axis] - o * layer.step[axis]) for o in range(count)
         if 0 <= place + layer.before[axis] - o * layer.step[axis] < layer.window[axis]]
        for axis, place, count in ((0, y, layer.pooled[0] + 99), (1, x, layer.pooled[1])))
    return [(oy, ox, image, dy, dx) for oy, dy in rows for ox, dx in cols]


@pytest.mark.parametrize("seed", range(24))
def test_windows(seed):
    rng = random.Random(seed)
    layer = random_layer(rng, CONFIG, pool=rng.choice(["max", "sum"]), most=9, tiles=80)
    block = WindowWalker(CONFIG)
    cycles, pixels = [], []
    idle = [(block.begin, 0), (block.active, 0), (block.step, 0)]
    cycles += [[(block.layer, layer.fields()), *idle, (block.begin, 1)], idle, idle]
    last = layer.pixel_tiles * layer.rows - 1
    for _sweep in range(2):
        for number in range(last + 1):
            cycles += [idle] * (rng.random() < 0.1)
            pixels.append((number, len(cycles) + WINDOW_LATENCY))
            for cycle in range(layer.pool_cycles):
                cycles.append([
                    (block.begin, 0), (block.active, 1), (block.first, int(cycle == 0)),
                    (block.step, int(cycle == layer.pool_cycles - 1)),
                    (block.line_end, int((number + 1) % layer.walk == 0)),
                    (block.sweep_end, int(number == last))])
    cycles += [idle] * WINDOW_LATENCY
    visit = block.visit
    seen = play(block, cycles, [visit.valid, visit.entry, visit.first, visit.complete])
    for number, begin in pixels:
        expected = []
        alive = layer.pixel(number) is not None
        for oy, ox, image, dy, dx in _windows(layer, number):
            entry = (oy % layer.opened[0] * layer.pooled[1] + ox) * layer.images + image
            y, x = number // layer.walk, number % layer.walk // layer.images
            complete = (oy < layer.pooled[0]
                        and (dy, dx) == tuple(size - 1 for size in layer.window))
            expected.append((entry, (dy == 0 or y == 0) and (dx == 0 or x == 0), complete))
        shown = [(entry, first, complete) for valid, entry, first, complete
                 in seen[begin:begin + layer.pool_cycles] if valid]
        if alive:
            assert shown == expected, (layer, number)
        assert sum(complete for *_rest, complete in shown) == any(
            complete for *_rest, complete in expected), (layer, number)
        assert not any(complete for *_rest, complete in shown[1:])


@pytest.mark.parametrize("windows", [1, 2, 3, 15])
@pytest.mark.parametrize("pool", ["none", "max", "sum"])
def test_codes_meet_entries(pool, windows):
    """Of few windows, most visits meet one that was visited one or two cycles before."""
    block, rng = Pool(CONFIG), random.Random(f"{pool} {windows}")
    entries, cycles, expected = {}, [], {}
    codes = {}
    kept = {"none": 0, "max": 1, "sum": 2}[pool]
    for cycle in range(600):
        entry = 7 + rng.randrange(windows)
        new = [rng.choice([0, 15, rng.randrange(16)]) for _ in range(CONFIG.cols)]
        valid, alive = rng.random() < 0.9, rng.random() < 0.8
        first = entry not in entries or rng.random() < 0.2
        codes[cycle + CODES_LATE] = new[0] | new[1] << 8
        old = entries.get(entry, [0, 0])
        if first and alive or pool == "none":
            result = new
        elif not alive:
            result = old
        else:
            result = [(max(a, b) if pool == "max" else (a + b) % 256)
                      for a, b in zip(old, new)]
        if valid and (entry in entries or alive):
            expected[cycle + POOL_LATENCY] = result[0] | result[1] << 8
        if valid and alive:
            entries[entry] = result
        cycles.append([
            (block.layer.pool, kept), (block.visit.valid, int(valid)), (block.alive, int(alive)),
            (block.visit.entry, entry), (block.visit.first, int(first)),
            (block.codes, codes.get(cycle, 0))])
    seen = play(block, cycles, [block.pooled])
    assert {cycle: seen[cycle][0] for cycle in expected if cycle < 600} == {
        cycle: row for cycle, row in expected.items() if cycle < 600}
