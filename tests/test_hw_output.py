# amaranth: UnusedElaboratable=no
"""The output leaves the planes of a layer, pooled or not, where the reader of the map looks for
them, and ends after the cycles it states."""

import random
from dataclasses import replace

import pytest
from amaranth.hdl import Cat

from tests.bench import recorder, simulate
from tests.output_layers import RAW_LAYER, Layer, random_layer
from xnorloom.hw.output.collect import code_width
from xnorloom.hw.output.output import OUTPUT_BEGIN_CYCLES, Output
from xnorloom.hw.spec.config import MachineConfig

SHAPES = [(1, 1, 1, 1, 1), (2, 2, 4, 1, 2), (3, 1, 5, 3, 3), (4, 3, 9, 2, 4), (6, 2, 8, 2, 4),
          (5, 4, 4, 1, 3), (8, 2, 16, 1, 1), (2, 2, 2, 2, 1), (4, 2, 4, 4, 3)]


def _config(shape, **fields):
    rows, cols, lanes, units, code_bits = shape
    return MachineConfig(rows=rows, cols=cols, lanes=lanes, units=units, code_bits=code_bits,
                         **{"activation_depth": 3000, "pool_depth": 90, **fields})


def _random_codes(rng, layer):
    """Codes of all pixels and columns that are walked, with those that do not exist, too."""
    most = (1 << layer.code_bits) - 1
    return [[[rng.choice([0, most, rng.randint(0, most)]) for _ in range(layer.cols)]
             for _ in range(layer.pixel_tiles * layer.rows)] for _ in range(layer.col_tiles)]


def _run(config, layers, gaps):
    """Runs ``(layer, codes)`` one after the other.

    Returns the words left in the banks, all writes, the cycles of all faults, and for every layer
    the cycles from its last code to its end.
    """
    block = Output(config)
    drain = config.drain_cycles
    ends, last_codes = [], []
    rng = random.Random(9)

    async def bench(ctx):
        cycle = 0
        garbage = {port: rng.getrandbits(code_width(config))
                   for column in block.codes for port in column}

        async def tick():
            nonlocal cycle
            *_, ready = await ctx.tick().sample(block.layer.ready)
            if ready:
                ends.append(cycle)
                ctx.set(block.layer.valid, 0)
            cycle += 1

        for number, (layer, codes) in enumerate(layers):
            ctx.set(block.layer.payload, layer.fields())
            ctx.set(block.layer.valid, 1)
            start, coming, time = cycle, {}, cycle + OUTPUT_BEGIN_CYCLES
            for sweep in codes:
                for tile in range(layer.pixel_tiles):
                    for row, columns in enumerate(sweep[tile * config.rows:][:config.rows]):
                        unit = config.units - 1 - row // drain
                        for col, code in enumerate(columns):
                            coming[time + row + col, col, unit] = code
                    last_code = time + config.rows - 1 + config.cols - 1
                    time += layer.tile_cycles + gaps()
            last_codes.append(last_code)
            while len(ends) == number:
                assert cycle - start < len(coming) * 100 + 1000, "the layer does not end"
                for col in range(config.cols):
                    for unit in range(config.units):
                        port, code = block.codes[col][unit], coming.get((cycle, col, unit))
                        ctx.set(port.valid, code is not None)
                        ctx.set(port.payload, garbage[port] if code is None else code)
                await tick()
            for _ in range(rng.randrange(3) + 1):
                await tick()

    write, words = block.write, {}
    watch, writes = recorder(write.banks.any(), write.banks, write.granules, write.clear,
                             *write.address, *write.data)
    watch_faults, faults = recorder(block.fault)
    simulate(block, bench, processes=(watch, watch_faults))
    part = (1 << config.cols) - 1
    for _cycle, banks, granules, clear, *rest in writes:
        assert granules.bit_count() == 1 and clear == granules & 1
        shift = (granules.bit_length() - 1) * config.cols
        for bank in range(config.rows):
            if banks >> bank & 1:
                address, data = rest[bank], rest[config.rows + bank]
                # What was in the banks before must not shine through.
                word = 0 if clear else words.get((bank, address), (1 << config.lanes) - 1)
                words[bank, address] = word & ~(part << shift) | data << shift
    assert writes[-1][0] <= ends[-1], "a word is written after the end"
    return words, writes, faults, [end - last for end, last in zip(ends, last_codes)]


def _check(config, layers, gaps=lambda: 0):
    lead = 9 if config.pool_depth else 5
    words, _writes, faults, ends = _run(config, layers, gaps)
    expected = {}
    for layer, codes in layers:
        expected.update(layer.written(codes))
    assert words == expected, [layer for layer, _codes in layers]
    assert not faults
    assert ends == [layer.end(lead) for layer, _codes in layers]


@pytest.mark.parametrize("fields", [{}, {"pool_depth": 0, "rescale": False}], ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_maps(shape, fields):
    config, rng = _config(shape, **fields), random.Random(str(shape))
    for number in range(2):
        layer = random_layer(rng, config)
        gaps = (lambda: 0) if number % 2 else lambda: rng.choice([0, 0, 1, 5])
        _check(config, [(layer, _random_codes(rng, layer))], gaps)


@pytest.mark.parametrize("pool", ["max", "sum"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_pooled_maps(shape, pool):
    config, rng = _config(shape, rescale=shape[0] % 2 == 0), random.Random(str(shape))
    for number in range(3):
        layer = random_layer(rng, config, pool=pool, most=5, tiles=24)
        gaps = (lambda: 0) if number % 2 else lambda: rng.choice([0, 0, 1, 5])
        _check(config, [(layer, _random_codes(rng, layer))], gaps)


@pytest.mark.parametrize("pool, window, step, before, images", [
    # A window's pixels one behind the other, one window for many, and, of two images, every second
    # one.
    ("max", (2, 2), (2, 2), (0, 0), 1), ("max", (5, 5), (5, 5), (2, 1), 1),
    ("max", (2, 2), (2, 2), (1, 1), 2), ("sum", (1, 1), (1, 1), (0, 0), 1),
    # Two windows, three, and four a pixel, the last of which the next one begins with.
    ("max", (1, 2), (1, 1), (0, 1), 1), ("max", (2, 1), (1, 1), (1, 0), 1),
    ("max", (3, 1), (1, 1), (1, 0), 2), ("sum", (1, 3), (1, 1), (0, 1), 1),
    ("sum", (1, 3), (1, 2), (0, 1), 1), ("max", (3, 3), (2, 2), (1, 1), 3)], ids=str)
def test_pixels_of_as_few_cycles_as_windows(pool, window, step, before, images):
    config, rng = _config((3, 2, 6, 1, 2)), random.Random(f"{pool} {window} {step}")
    pooled = tuple((5 + first + stride - 1) // stride for first, stride in zip(before, step))
    walked = [max(5, (count - 1) * stride - first + size)
              for count, stride, first, size in zip(pooled, step, before, window)]
    opened = -(-window[0] // step[0]) * -(-window[1] // step[1])
    map_bits = (window[0] * window[1]).bit_length() if pool == "sum" else 1
    assert opened >= map_bits
    layer = Layer(
        rows=config.rows, cols=config.cols, lanes=config.lanes, images=images, width=5, lines=5,
        walk=walked[1] * images, walked_lines=walked[0], channels=5, code_bits=1,
        map_bits=map_bits, table=tuple(range(1 << map_bits)) * (16 >> map_bits),
        reader_pitch=pooled[1], stride=(1, 1), phase_banks=(0, 0), base=3, pool=pool,
        window=window, step=step, before=before, pooled=pooled, pool_cycles=opened)
    _check(config, [(layer, _random_codes(rng, layer))] * 2)


@pytest.mark.parametrize("fields", [{}, {"pool_depth": 0, "rescale": False}], ids=str)
@pytest.mark.parametrize("shape", [
    (2, 2, 4, 2, 1), (4, 2, 4, 2, 2), (4, 3, 9, 4, 4), (6, 2, 8, 2, 4), (8, 1, 5, 4, 1),
    (12, 2, 2, 6, 3)], ids=str)
def test_pixels_in_pairs(shape, fields):
    """Tiles come in half the time, or as the writer lets them, and end as late as others."""
    config, rng, layers = _config(shape, **fields), random.Random(str(shape)), []
    while len(layers) < 8:
        layer = random_layer(rng, config, most=7)
        if layer.pairs and layer.pixel_tiles > 2 and (
                len(layers) % 2 or layer.tile_cycles == config.rows // 2):
            layers.append(layer)
    for number, layer in enumerate(layers):
        gaps = (lambda: 0) if number % 4 else lambda: rng.choice([0, 0, 1, 5])
        _check(config, [(layer, _random_codes(rng, layer))], gaps)
    mixed = [layers[0], random_layer(rng, config), layers[1], layers[2],
             *([random_layer(rng, config, pool="max")] if config.pool_depth else []), layers[3]]
    _check(config, [(layer, _random_codes(rng, layer)) for layer in mixed])


def test_layers_in_a_row():
    config, rng = _config((3, 2, 6, 1, 3)), random.Random(5)
    layers = [random_layer(rng, config, pool=pool)
              for pool in ("none", "max", "none", "sum", "max", "none", "none")]
    _check(config, [(layer, _random_codes(rng, layer)) for layer in layers])


def test_a_layer_follows_one_whose_last_pixel_takes_longer_than_its_last_word():
    config, rng = _config((3, 2, 6, 1, 3)), random.Random(6)
    pooled = random_layer(rng, config, pool="max", most=4)
    layers = [layer for cycles in range(pooled.pool_cycles, pooled.pool_cycles + 16) for layer in (
        replace(pooled, pool_cycles=cycles), random_layer(rng, config, most=4, tiles=6))]
    _check(config, [(layer, _random_codes(rng, layer)) for layer in layers])


def _writes(config, layer):
    """Banks and addresses of all words of a layer, cycle by cycle, if addresses had no end."""
    for sweep in range(layer.col_tiles):
        for tile in range(layer.pixel_tiles):
            for turn in range(layer.turns):
                pixels = [layer.pixel(tile * config.rows + row) for row in range(config.rows)
                          if row * layer.turns // config.rows == turn]
                places = dict(layer.place(*pixel) for pixel in pixels if pixel is not None)
                for plane in range(layer.map_bits if places else 0):
                    yield {bank: address + plane * layer.words + sweep // config.granules
                           for bank, address in places.items()}


@pytest.mark.parametrize("shape", [(2, 2, 4, 1, 2), (4, 3, 9, 2, 4), (3, 1, 2, 1, 3)], ids=str)
def test_a_layer_that_leaves_the_banks_is_noticed_at_its_first_word_outside(shape):
    large, rng, escapes = _config(shape, pool_depth=0, rescale=False), random.Random(3), 0
    for _ in range(12):
        layer = random_layer(rng, large, tiles=12)
        expected = list(_writes(large, layer))
        least = max(layer.fields()[name] for name in layer.fields() if name.startswith("out_")
                    and not name.endswith("banks"))
        used = max(max(words.values()) for words in expected) + 1
        # A field is as wide as the depth needs it.
        depth = max(2, 1 << least.bit_length() - 1, used - rng.choice([0, 1, 1, 5]))
        config = _config(shape, pool_depth=0, rescale=False, activation_depth=depth)
        outside = [k for k, words in enumerate(expected) if max(words.values()) >= depth]
        _words, writes, faults, _ends = _run(
            config, [(layer, _random_codes(rng, layer))], lambda: 0)
        # What is outside shows by its fault alone: the port is as wide as an address of the banks.
        inside = outside[0] if outside else len(expected)
        seen = [{b: rest[2 + b] for b in range(config.rows) if banks >> b & 1}
                for _cycle, banks, *rest in writes]
        assert len(seen) == len(expected)
        assert seen[:inside] == expected[:inside]
        assert faults[:1] == ([writes[inside][:1]] if outside else [])
        escapes += bool(outside)
    assert 0 < escapes < 12


def test_raw_tiles():
    config, rng = _config((4, 3, 9, 2, 4)), random.Random(2)
    block = Output(config)
    sent, done, ends, arrivals = [], [], [], []
    accs = [[[rng.randrange(1 << 20) for _ in range(config.cols)] for _ in range(config.rows)]
            for _ in range(6)]
    last_taken = []

    async def bench(ctx):
        cycle, names = 0, [(c, u) for c in range(config.cols) for u in range(config.units)]
        ctx.set(block.layer.payload, {**RAW_LAYER, "pixel_tiles": 2, "col_tiles": 3})
        ctx.set(block.layer.valid, 1)
        for tile in accs:
            queues = {(c, u): [tile[(config.units - 1 - u) * config.drain_cycles + row][c]
                               for row in range(config.drain_cycles)] for c, u in names}
            taken, begin = 0, cycle + 5
            while cycle < begin + 6 or taken < config.rows * config.cols or not done or (
                    done[-1] < begin):
                ctx.set(block.arrived, cycle == begin)
                ctx.set(block.raw.ready, rng.getrandbits(1))
                for (c, u), queue in queues.items():
                    ctx.set(block.acc[c][u], queue[0] if queue else rng.getrandbits(20))
                *_, valid, ready, word, raw_done, end, popped = await ctx.tick().sample(
                    block.raw.valid, block.raw.ready, block.raw.payload, block.raw_done,
                    block.layer.ready,
                    Cat(block.pop[c][u] for c, u in names))
                if valid and not taken:
                    arrivals.append(cycle - begin)
                if valid and ready:
                    sent.append(word)
                    taken += 1
                    if taken == config.rows * config.cols:
                        last_taken.append(cycle)
                if raw_done:
                    done.append(cycle)
                if end:
                    ends.append(cycle)
                for k, name in enumerate(names):
                    if popped >> k & 1:
                        queues[name].pop(0)
                cycle += 1
                assert cycle < begin + 200

    simulate(block, bench)
    assert sent == [acc for tile in accs for pixel in tile for acc in pixel]
    assert done == [cycle + 1 for cycle in last_taken]
    assert ends == done[-1:]
    assert min(arrivals) == 2
