"""What the columns must do, written from the descriptor's text, and layers to try it on."""

from dataclasses import dataclass, field

from tests.bench import simulate
from xnorloom.hw.column.columns import Columns
from xnorloom.hw.spec.descriptor import RESCALE_DOWN, RESCALE_SHIFTS
from xnorloom.hw.spec.latency import (
    ELEMENT_LATENCY,
    FEED_LATENCY,
    PARAMETER_CYCLES,
    SCALE_LATENCY,
    rescale_cycles,
    rescaled_latency,
    staircase_latency,
    tile_cycles,
)

BORDERS = ("border_top", "border_bottom", "border_left", "border_right")


def wrapped(value, bits):
    """Two's complement of ``bits`` bits."""
    return (value + (1 << bits - 1)) % (1 << bits) - (1 << bits - 1)


def heap(thresholds):
    """Rising thresholds in heap order, from node 1 on."""
    entries = [0] * (len(thresholds) + 1)

    def fill(node, low, high):
        if low < high:
            middle = (low + high) // 2
            entries[node] = int(thresholds[middle])
            fill(2 * node, low, middle)
            fill(2 * node + 1, middle + 1, high)

    fill(1, 0, len(thresholds))
    return entries[1:]


@dataclass
class Work:
    """A layer, its parameters and what drains.

    ``scales[sweep][pass][col]`` is ``(scale, relu)``; ``biases[sweep][col]`` one bias or one per
    class; ``rest[sweep][col]`` rising thresholds, or an addend; ``multipliers[sweep][col]``;
    ``counts[sweep][tile][pass][pixel][col]``; ``classes[sweep][tile][pixel]``.
    """

    layer: dict
    scales: list
    biases: list
    rest: list
    multipliers: list
    counts: list
    classes: list


def random_work(config, rng, *, scale_base=0, parameter_base=0, **fields):
    """A layer of random numbers."""
    layer = {"raw": 0, "rescale": 0, "code_bits": 1, "col_tiles": 1, "pixel_tiles": 1, "passes": 1,
             "shift": 0, **dict.fromkeys(BORDERS, 0), "scale_base": scale_base,
             "parameter_base": parameter_base, **fields}
    sweeps, tiles, passes = layer["col_tiles"], layer["pixel_tiles"], layer["passes"]
    cols, pixels = range(config.cols), range(config.rows)
    reach = 1 << config.scale_bits - 1
    wide = min((1 << config.acc_bits - 1) - 1, passes * reach << config.count_bits - 1)
    bordered = any(layer[name] for name in BORDERS)
    classes = 16 if bordered else 1

    def rest():
        if layer["raw"]:
            return []
        if layer["rescale"]:
            return [rng.randrange(-wide, wide)]
        return sorted(rng.randrange(-wide, wide) for _ in range((1 << layer["code_bits"]) - 1))

    scales = [[[(rng.randrange(-reach, reach), rng.getrandbits(1)) for _ in cols]
               for _ in range(passes)] for _ in range(sweeps)]
    biases = [[[rng.randrange(-wide, wide) for _ in range(classes)] for _ in cols]
              for _ in range(sweeps)]
    rests = [[rest() for _ in cols] for _ in range(sweeps)]
    multipliers = [[rng.randrange(-reach, reach) for _ in cols] for _ in range(sweeps)]
    layer["block"] = classes + len(rests[0][0])
    counts = [[[[[rng.getrandbits(config.count_bits) for _ in cols] for _ in pixels]
                for _ in range(passes)] for _ in range(tiles)] for _ in range(sweeps)]
    kinds = [[[rng.randrange(16) for _ in pixels] for _ in range(tiles)] for _ in range(sweeps)]
    return Work(layer, scales, biases, rests, multipliers, counts, kinds)


def entries(config, work, col):
    """Entries of the scale and the parameter bank of a column, from the bases on."""
    scales, parameters, multiplied = [], [], work.layer["rescale"] and not work.layer["raw"]
    for sweep, multipliers in zip(work.scales, work.multipliers, strict=True):
        scales += [scale % (1 << config.scale_bits) + (relu << config.scale_bits)
                   for scale, relu in (one[col] for one in sweep)]
        scales += [multipliers[col] % (1 << config.scale_bits)] * multiplied
    for biases, rest in zip(work.biases, work.rest, strict=True):
        parameters += biases[col] + (rest[col] if multiplied else heap(rest[col]))
    return scales, [entry % (1 << config.acc_bits) for entry in parameters]


def result(config, work, sweep, tile, pixel, col):
    """The raw accumulator or the code of a pixel."""
    biases = work.biases[sweep][col]
    acc = biases[work.classes[sweep][tile][pixel] if len(biases) > 1 else 0]
    for one, (counts, scales) in enumerate(zip(work.counts[sweep][tile], work.scales[sweep])):
        scale, relu = scales[col]
        if relu:
            acc = max(acc, 0)
        acc = wrapped(acc + scale * counts[pixel][col], config.acc_bits)
        assert one < work.layer["passes"]
    if work.layer["raw"]:
        return acc
    rest = work.rest[sweep][col]
    if work.layer["rescale"]:
        factor = wrapped(acc >> RESCALE_SHIFTS[work.layer["shift"]], config.count_bits + 1)
        code = factor * work.multipliers[sweep][col] + rest[0] >> RESCALE_DOWN
        return min(max(code, 0), (1 << work.layer["code_bits"]) - 1)
    return sum(threshold <= acc for threshold in rest)


@dataclass
class Played:
    """What was seen: ``codes[col, unit]`` as ``(cycle, code)``, ``accs[col, unit]``, cycles of
    ``arrived`` and of the layers' ends, and cycles in which each fault was seen."""

    codes: dict = field(default_factory=dict)
    accs: dict = field(default_factory=dict)
    arrived: list = field(default_factory=list)
    ends: list = field(default_factory=list)
    faults: list = field(default_factory=list)


def play_columns(config, works, *, gap=lambda: 0):
    """Runs layers on the columns, passes as close as the feed's rules allow.

    Returns
    -------
    (Played, Played)
        What was seen, and what was to be expected.
    """
    block, seen, expected = Columns(config), Played(), Played()
    cols = config.cols
    places = [(c, u) for c in range(cols) for u in range(config.units)]
    codes = [signal for c, u in places
             for signal in (block.codes[c][u].valid, block.codes[c][u].payload)]
    draining = set()
    for played in (seen, expected):
        played.codes, played.accs = ({place: [] for place in places} for _ in range(2))
    clock = 0

    async def step(ctx, schedule=None):
        """One cycle: what drains in it, and what is seen."""
        nonlocal clock
        now = (schedule or {}).pop(clock, {})
        if "classes" in now and config.border_classes:
            ctx.set(block.classes.valid, 1)
            ctx.set(block.classes.payload, now["classes"])
        elif config.border_classes:
            ctx.set(block.classes.valid, 0)
        drains = now.keys() - {"classes"}
        for c, u in drains:
            first, count = now[c, u]
            ctx.set(block.counts[c][u].valid, 1)
            ctx.set(block.counts[c][u].payload, {"first": first, "count": count})
        for c, u in draining - drains:
            ctx.set(block.counts[c][u].valid, 0)
            ctx.set(block.counts[c][u].payload, {"first": 0, "count": 0})
        draining.clear()
        draining.update(drains)
        _clk, _rst, arrived, end, scales, parameters, *values = await ctx.tick().sample(
            block.arrived, block.layer.ready, block.fault_scales, block.fault_parameters, *codes)
        for place, valid, code in zip(places, values[::2], values[1::2], strict=True):
            if valid:
                seen.codes[place].append((clock, code))
        if arrived:
            seen.arrived.append(clock)
        if end:
            seen.ends.append(clock)
            ctx.set(block.layer.valid, 0)
        if scales or parameters:
            seen.faults.append((clock, scales, parameters))
        clock += 1

    async def fill(ctx, work):
        for c in range(cols):
            ports = (block.scales[c], block.parameters[c])
            bases = (work.layer["scale_base"], work.layer["parameter_base"])
            for port, base, words in zip(ports, bases, entries(config, work, c), strict=True):
                ctx.set(port.en, 1)
                for address, word in enumerate(words, base):
                    if address < 1 << len(port.addr):
                        ctx.set(port.addr, address)
                        ctx.set(port.data, word)
                        await step(ctx)
                ctx.set(port.en, 0)

    async def bench(ctx):
        nonlocal clock
        for work in works:
            await fill(ctx, work)
            ctx.set(block.layer.payload, work.layer)
            ctx.set(block.layer.valid, 1)
            if work.layer["raw"]:
                await _raw(ctx, config, block, step, work, seen, expected, gap, lambda: clock)
            else:
                schedule, times = _schedule(config, work, clock, gap)
                _expect_codes(config, work, times, expected)
                while schedule or len(seen.ends) < len(expected.ends):
                    await step(ctx, schedule)
                    assert clock < times[-1][-1][-1] + 200, "the layer does not end"
            # The output lets go later than the columns.
            for _ in range(12):
                await step(ctx)

    simulate(block, bench)
    return seen, expected


def _latency(config):
    return FEED_LATENCY + ELEMENT_LATENCY + config.popcount_stages + config.rows - 1


def _add(config, work, schedule, time, sweep, tile, number):
    """One pass; unit 0 of column 0 begins to drain at ``time``."""
    drain = config.drain_cycles
    for pixel in range(config.rows):
        unit, row = config.units - 1 - pixel // drain, pixel % drain
        for col in range(config.cols):
            cycle = time - unit * drain + col + row
            schedule.setdefault(cycle, {})[col, unit] = (
                row == 0, work.counts[sweep][tile][number][pixel][col])


def _schedule(config, work, begin, gap):
    """What drains when, and ``times[sweep][tile][pass]``."""
    layer, latency, drain = work.layer, _latency(config), config.drain_cycles
    ready = begin + layer["block"] + PARAMETER_CYCLES
    bordered = any(layer[name] for name in BORDERS)
    apart = tile_cycles(config, bordered=bordered,
                        pixel_pairs=config.pixels_per_cycle == 2 and not bordered)
    schedule, times, issue, ended = {}, [], begin, begin - apart
    for sweep in range(layer["col_tiles"]):
        times.append([])
        for tile in range(layer["pixel_tiles"]):
            times[-1].append([])
            schedule.setdefault(issue + 1, {})["classes"] = work.classes[sweep][tile]
            for number in range(layer["passes"]):
                time = issue + (drain if times[0][0] else 1) + gap()
                if number == 0 and layer["rescale"] and (sweep or tile):
                    time = max(time, issue + rescale_cycles(config))
                if number == 0 and tile == 0:
                    time = max(time, ready)
                    ready = time + layer["block"] + PARAMETER_CYCLES
                if number == layer["passes"] - 1:
                    time = max(time, ended + apart)
                    ended = time
                issue = time
                times[-1][-1].append(time + latency)
                _add(config, work, schedule, time + latency, sweep, tile, number)
    return schedule, times


def _expect_codes(config, work, times, expected):
    drain = config.drain_cycles
    latency = (rescaled_latency if work.layer["rescale"] else staircase_latency)(config)
    for sweep, tiles in enumerate(times):
        for tile, passes in enumerate(tiles):
            for pixel in range(config.rows):
                unit, row = config.units - 1 - pixel // drain, pixel % drain
                for col in range(config.cols):
                    expected.codes[col, unit].append((
                        passes[-1] - unit * drain + col + row + latency,
                        result(config, work, sweep, tile, pixel, col)))
    last = times[-1][-1][-1] + drain - 1 + config.cols - 1 + latency
    late = config.code_bits - 1 if work.layer["rescale"] else 0
    expected.ends.append(last + late)


async def _raw(ctx, config, block, step, work, seen, expected, gap, now):
    """Tiles whose accumulators are popped one by one before the next one ends a pass."""
    layer, drain, latency = work.layer, config.drain_cycles, _latency(config)
    issue = now() + layer["block"] + PARAMETER_CYCLES
    for sweep in range(layer["col_tiles"]):
        opened = None
        for tile in range(layer["pixel_tiles"]):
            schedule = {now(): {"classes": work.classes[sweep][tile]}}
            for number in range(layer["passes"]):
                issue = max(issue, now()) + gap()
                if opened is None:
                    opened = issue
                _add(config, work, schedule, issue + latency, sweep, tile, number)
                last = issue + latency + drain - 1 + config.cols - 1 + SCALE_LATENCY
                issue += drain
            expected.arrived.append(last)
            if sweep == layer["col_tiles"] - 1 and tile == layer["pixel_tiles"] - 1:
                expected.ends.append(last)
            while schedule or now() <= last:
                await step(ctx, schedule)
            for pixel in range(config.rows):
                unit = config.units - 1 - pixel // drain
                for col in range(config.cols):
                    for _ in range(gap()):
                        await step(ctx)
                    expected.accs[col, unit].append(result(config, work, sweep, tile, pixel, col))
                    seen.accs[col, unit].append(ctx.get(block.acc[col][unit]))
                    ctx.set(block.pop[col][unit], 1)
                    await step(ctx)
                    ctx.set(block.pop[col][unit], 0)
        issue = max(issue, opened + layer["block"] + PARAMETER_CYCLES)
