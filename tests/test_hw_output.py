# amaranth: UnusedElaboratable=no
"""The output leaves the planes of a layer, pooled or not, where the reader of the map looks for
them, and ends after the cycles it states."""

import random

import pytest

from tests.bench import recorder, simulate
from tests.output_layers import RAW_LAYER, random_layer
from xnorloom.hw.output.collect import code_width
from xnorloom.hw.output.output import OUTPUT_BEGIN_CYCLES, Output
from xnorloom.hw.spec.config import MachineConfig

SHAPES = [(1, 1, 1, 1, 1), (2, 2, 4, 1, 2), (3, 1, 5, 3, 3), (4, 3, 9, 2, 4), (6, 2, 8, 2, 4),
          (5, 4, 4, 1, 3), (8, 2, 16, 1, 1)]


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

    Returns the words left in the banks, the cycles of all faults, and for every layer the cycles
    from its last code to its end.
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
    return words, faults, [end - last for end, last in zip(ends, last_codes)]


def _check(config, layers, gaps=lambda: 0):
    lead = 6 if config.pool_depth else 2
    words, faults, ends = _run(config, layers, gaps)
    expected = {}
    for layer, codes in layers:
        expected.update(layer.written(codes))
    assert words == expected, [layer for layer, _codes in layers]
    assert not faults
    assert ends == [layer.end(lead) for layer, _codes in layers]


@pytest.mark.parametrize("fields", [{}, {"pool_depth": 0}, {"rescale": False},
                                    {"pool_depth": 0, "rescale": False}], ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_maps(shape, fields):
    config, rng = _config(shape, **fields), random.Random(str(shape))
    for number in range(3):
        layer = random_layer(rng, config)
        gaps = (lambda: 0) if number % 2 else lambda: rng.choice([0, 0, 1, 5])
        _check(config, [(layer, _random_codes(rng, layer))], gaps)


@pytest.mark.parametrize("pool", ["max", "sum"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_pooled_maps(shape, pool):
    config, rng = _config(shape, rescale=shape[0] % 2 == 0), random.Random(str(shape))
    for number in range(6):
        layer = random_layer(rng, config, pool=pool)
        gaps = (lambda: 0) if number % 2 else lambda: rng.choice([0, 0, 1, 5])
        _check(config, [(layer, _random_codes(rng, layer))], gaps)


def test_layers_in_a_row():
    config, rng = _config((3, 2, 6, 1, 3)), random.Random(5)
    layers = [random_layer(rng, config, pool=pool)
              for pool in ("none", "max", "none", "sum", "max", "none", "none")]
    _check(config, [(layer, _random_codes(rng, layer)) for layer in layers])


def test_raw_tiles_between_layers_of_codes():
    config, rng = _config((4, 3, 9, 2, 4)), random.Random(2)
    block = Output(config)
    tiles, sent, done, ends = 6, [], [], []
    accs = [[[rng.randrange(1 << 20) for _ in range(config.cols)] for _ in range(config.rows)]
            for _ in range(tiles)]

    async def bench(ctx):
        ctx.set(block.layer.payload, {**RAW_LAYER, "pixel_tiles": 2, "col_tiles": 3})
        ctx.set(block.layer.valid, 1)
        await ctx.tick().repeat(5)
        for tile in accs:
            queues = {(c, u): [tile[(config.units - 1 - u) * config.drain_cycles + row][c]
                               for row in range(config.drain_cycles)]
                      for c in range(config.cols) for u in range(config.units)}
            ctx.set(block.arrived, 1)
            await ctx.tick()
            ctx.set(block.arrived, 0)
            while any(queues.values()):
                for (c, u), queue in queues.items():
                    ctx.set(block.acc[c][u], queue[0] if queue else 0)
                assert ctx.get(block.raw_request)
                ctx.set(block.raw.ready, rng.getrandbits(1))
                names = list(queues)
                *_, valid, ready, word, popped = await ctx.tick().sample(
                    block.raw.valid, block.raw.ready, block.raw.payload,
                    sum(block.pop[c][u] << k for k, (c, u) in enumerate(names)))
                assert valid
                if ready:
                    sent.append(word)
                for k, name in enumerate(names):
                    if popped >> k & 1:
                        queues[name].pop(0)
            assert not ctx.get(block.raw_request)
            *_, raw_done, ready = await ctx.tick().sample(block.raw_done, block.layer.ready)
            done.append(raw_done)
            ends.append(ready)
            for _ in range(3):
                *_, raw_done, ready = await ctx.tick().sample(block.raw_done, block.layer.ready)
                assert not raw_done and not ready

    simulate(block, bench)
    assert sent == [acc for tile in accs for pixel in tile for acc in pixel]
    assert done == [1] * tiles
    assert ends == [0] * (tiles - 1) + [1]
