# amaranth: UnusedElaboratable=no
"""The writer leaves the planes of all codes where the reader of the map looks for them."""

import random

import pytest

from tests.bench import recorder, simulate
from tests.maps import OutputMap, random_map
from xnorloom.hw.output.writer import Writer
from xnorloom.hw.spec.config import MachineConfig
from xnorloom.hw.spec.cycles import requantize_cycles
from xnorloom.hw.spec.descriptor import descriptor_limits

SHAPES = [(1, 1, 1, 1, 1), (2, 2, 4, 1, 2), (3, 1, 5, 3, 3), (4, 3, 9, 2, 4), (6, 2, 8, 2, 4),
          (5, 4, 4, 1, 3), (8, 2, 16, 1, 1)]


def _config(rows, cols, lanes, units, code_bits):
    return MachineConfig(rows=rows, cols=cols, lanes=lanes, units=units, code_bits=code_bits,
                         activation_depth=1500)


def _layer(rng, config, chart):
    col_tiles = -(-chart.channels // config.cols)
    table = [rng.randrange(1 << config.code_bits) for _ in range(16)]
    return {
        **chart.fields(), "col_tiles": col_tiles,
        "last_cols": chart.channels - (col_tiles - 1) * config.cols,
        "planes_low": sum(planes << 4 * code for code, planes in enumerate(table[:8])),
        "planes_high": sum(planes << 4 * code for code, planes in enumerate(table[8:])),
    }, table


def _codes(rng, config, chart, col_tiles):
    """Codes of all tiles, with codes in the columns and pixels that do not exist, too."""
    return [[[rng.randrange(1 << chart.planes) for _ in range(config.cols)]
             for _ in range(config.rows)] for _ in range(chart.pixel_tiles * col_tiles)]


def _expected(config, chart, table, codes):
    """Words of all banks after the layer: ``(bank, address) -> word``."""
    col_tiles = -(-chart.channels // config.cols)
    words = {}
    for number in filter(chart.alive, range(chart.pixel_tiles * config.rows)):
        tile, row = divmod(number, config.rows)
        bank, address = chart.place(number)
        for plane in range(chart.planes):
            for word in range(chart.words):
                words[bank, address + plane * chart.words + word] = 0
            for channel in range(chart.channels):
                col_tile, col = divmod(channel, config.cols)
                code = codes[tile * col_tiles + col_tile][row][col]
                word, lane = divmod(channel, config.lanes)
                words[bank, address + plane * chart.words + word] |= (
                    table[code] >> plane & 1) << lane
    return words


def _write(writer, layers, gaps):
    """Runs layers; returns the words left, and every layer's writes and cycles of faults."""
    config = writer.config
    drain = config.drain_cycles
    rows, readies, starts, layer_of, time = {}, [], {}, {}, 1
    for layer, codes in layers:
        starts[time] = layer
        time += config.rows + 2 + drain
        for tile in codes:
            time += gaps()
            readies.append(time)
            layer_of[time] = layer
            for pixel, columns in enumerate(tile):
                unit, row = config.units - 1 - pixel // drain, pixel % drain
                rows[time - drain - unit * drain + row, unit] = sum(
                    code << col * config.code_bits for col, code in enumerate(columns))
            time += layer["code_bits"] * requantize_cycles(config)
        time += config.rows + 2
    tiles = [0, 0]

    async def feed(ctx):
        for cycle in range(time + 3):
            layer = starts.get(cycle)
            ctx.set(writer.start, layer is not None)
            if layer is not None:
                ctx.set(writer.layer, layer)
                tiles[:] = layer["col_tiles"], layer["pixel_tiles"]
            for unit in range(config.units):
                ctx.set(writer.rows[unit].valid, (cycle, unit) in rows)
                ctx.set(writer.rows[unit].payload, rows.get((cycle, unit), 0))
            ctx.set(writer.ready, cycle in readies)
            ctx.set(writer.tile.last_col, tiles[0] == 1)
            ctx.set(writer.tile.last, tiles == [1, 1])
            _clk, _rst, tile_done = await ctx.tick().sample(writer.tile_done)
            if tile_done:
                tiles[0] -= 1
                if not tiles[0]:
                    tiles[:] = ctx.get(writer.layer.col_tiles), tiles[1] - 1

    port = writer.write
    watch_writes, writes = recorder(port.banks.any(), port.banks, port.granules, port.address,
                                    port.data)
    watch_tiles, tile_ends = recorder(writer.tile_done)
    watch_done, done = recorder(writer.done)
    watch_faults, faults = recorder(writer.fault)
    simulate(writer, feed, processes=(watch_writes, watch_tiles, watch_done, watch_faults))
    part = config.lanes // config.granules
    words = {}
    for _cycle, banks, granules, address, data in writes:
        assert banks.bit_count() == 1
        mask = sum((1 << part) - 1 << k * part for k in range(config.granules)
                   if granules >> k & 1)
        place = (banks.bit_length() - 1, address)
        # What was in the banks before must not shine through.
        words[place] = words.get(place, (1 << config.lanes) - 1) & ~mask | data & mask
    assert [cycle for cycle, in tile_ends] == [
        ready + layer_of[ready]["code_bits"] * config.rows - 1 for ready in readies]
    lasts, count = [], -1
    for _layer_fields, codes in layers:
        count += len(codes)
        lasts.append(tile_ends[count][0] + 1)
    assert [cycle for cycle, in done] == lasts
    begins = [*starts, time]
    return words, *([[event for event in events if begin <= event[0] < end]
                     for begin, end in zip(begins, begins[1:])] for events in (writes, faults))


@pytest.mark.parametrize("shape", SHAPES)
def test_maps(shape):
    config = _config(*shape)
    rng = random.Random(config.rows)
    for number in range(4):
        chart = random_map(rng, config, most=6)
        layer, table = _layer(rng, config, chart)
        codes = _codes(rng, config, chart, layer["col_tiles"])
        gaps = (lambda: 0) if number % 2 else lambda: rng.choice([0, 0, 1, 5])
        words, _writes, faults = _write(Writer(config), [(layer, codes)], gaps)
        assert words == _expected(config, chart, table, codes), chart
        assert not any(faults)


def test_layers_in_a_row():
    config = _config(3, 2, 6, 1, 3)
    rng = random.Random(5)
    layers, expected = [], {}
    for _ in range(5):
        chart = random_map(rng, config, most=4)
        layer, table = _layer(rng, config, chart)
        codes = _codes(rng, config, chart, layer["col_tiles"])
        layers.append((layer, codes))
        expected.update(_expected(config, chart, table, codes))
    words, _writes, faults = _write(Writer(config), layers, lambda: 0)
    # Words of an earlier map may be overwritten by a later one, whole.
    assert words == expected
    assert not any(faults)


@pytest.mark.parametrize("base, faulty", [(1499, False), (1500 - 2, True)])
def test_a_word_past_the_banks_is_a_fault(base, faulty):
    config = _config(2, 1, 1, 1, 2)
    chart = OutputMap(rows=2, lanes=1, images=1, height=1, width=2 + faulty, channels=1, planes=1,
                      pitch=(1, 2 + faulty), reader_pitch=(1, 2 + faulty), reader_stride=(1, 1),
                      base=base + faulty)
    rng = random.Random(1)
    layer, _table = _layer(rng, config, chart)
    codes = _codes(rng, config, chart, 1)
    _words, (writes,), (faults,) = _write(Writer(config), [(layer, codes)], lambda: 0)
    outside = [(cycle,) for cycle, _banks, _granules, address, _data in writes if address >= 1500]
    assert faults == outside
    assert bool(faults) == faulty


def _unbounded(config, layer):
    """Bank and address of every word that is written, in order, if addresses had no end."""
    rows = config.rows
    x = y = phase_x = phase_y = 0
    pixel = line = image = (0, layer["out_base"])
    places = []

    def moved(cursor, banks, words):
        carry, bank = divmod(cursor[0] + banks, rows)
        return bank, cursor[1] + words + carry * layer["out_tile_words"]

    for number in range(layer["pixel_tiles"] * rows):
        alive = (number < layer["pixels"] and x < layer["out_width"] and y < layer["out_height"])
        address = pixel[1] + phase_x * layer["out_phase_x"] + phase_y * layer["out_phase_y"]
        places.append((pixel[0], address) if alive else None)
        x, phase_x = x + 1, phase_x + 1
        if phase_x == layer["out_stride_x"]:
            phase_x, pixel = 0, moved(pixel, 1, 0)
        if x == layer["pitch_x"]:
            x, y, phase_x, phase_y = 0, y + 1, 0, phase_y + 1
            if phase_y == layer["out_stride_y"]:
                phase_y = 0
                line = moved(line, layer["out_line_banks"], layer["out_line_words"])
            if y == layer["pitch_y"]:
                y = phase_y = 0
                image = moved(image, layer["out_image_banks"], layer["out_image_words"])
                line = image
            pixel = line
    for tile in range(layer["pixel_tiles"]):
        for col in range(layer["col_tiles"]):
            for plane in range(layer["code_bits"]):
                for place in places[tile * rows:tile * rows + rows]:
                    if place is not None:
                        yield place[0], (place[1] + plane * layer["out_plane_words"]
                                         + col // config.granules)


@pytest.mark.parametrize("depth", [2, 12, 32])
def test_a_layer_that_leaves_the_banks_is_noticed_at_its_first_word_outside(depth):
    config = MachineConfig(rows=3, cols=1, lanes=2, code_bits=3, activation_depth=depth,
                           bias_depth=16)
    rng = random.Random(depth)
    limits = descriptor_limits(config)
    layers, escapes = [], 0
    for _ in range(120):
        layer = {"pixel_tiles": rng.randint(1, 9), "col_tiles": rng.choice([1, 1, 2, 5]),
                 "code_bits": rng.randint(1, 3), "pitch_x": rng.randint(1, 6),
                 "pitch_y": rng.randint(1, 4), "out_width": rng.randint(1, 6),
                 "out_height": rng.randint(1, 4), "last_cols": 1,
                 "pixels": min(rng.randint(1, 27), limits["pixels"][1]),
                 "out_stride_x": rng.choice([1, 2, 7]), "out_stride_y": rng.choice([1, 2, 7])}
        for name in ("out_base", "out_tile_words", "out_plane_words", "out_phase_x",
                     "out_phase_y", "out_line_banks", "out_line_words", "out_image_banks",
                     "out_image_words"):
            low, high = limits[name]
            layer[name] = min(rng.choice([low, low, 1, depth - 1, high]), high)
        layers.append((layer, [[[0]] * 3] * (layer["pixel_tiles"] * layer["col_tiles"])))
    _words, writes, faults = _write(Writer(config), layers, lambda: 0)
    for (layer, _codes), seen, strobes in zip(layers, writes, faults, strict=True):
        expected = list(_unbounded(config, layer))
        outside = [k for k, (_bank, address) in enumerate(expected) if address >= depth]
        # The address port is as wide as a bank: what is outside shows by its fault alone.
        inside = outside[0] if outside else len(expected)
        assert [(banks.bit_length() - 1, address) for _cycle, banks, _granules, address, _data
                in seen[:inside]] == expected[:inside], layer
        if outside:
            escapes += 1
            assert strobes[:1] == [seen[inside][:1]], layer
        else:
            assert not strobes, layer
    assert escapes > 50
