"""Tables of the cycle model: latencies, layers by example, how well maps fill the rows."""

import dataclasses
import math

import numpy as np

from xnorloom.hw.spec import latency
from xnorloom.hw.spec.config import PRESETS
from xnorloom.hw.spec.cycles import FETCH_CYCLES
from xnorloom.sw.graph.network import (
    CodeFormat,
    Encoder,
    Layer,
    Network,
    Pool,
    Staircase,
    Term,
    binary_table,
)
from xnorloom.sw.machine.estimate import estimate
from xnorloom.sw.passes.compiler import compile_network

from .tables import markdown_table

__all__ = ["BLOCKS"]


def _rest(total, *parts, pools=True):
    """What a sum holds besides its parts; the same for all presets."""
    machines = (dataclasses.replace(config, pool_depth=config.pool_depth if pools else 0)
                for config in PRESETS.values())
    (rest,) = {total(config) - sum(part(config) for part in parts) for config in machines}
    return rest


def _codes(config, **fields):
    plain = {"rescale": 0, "pool": 0, "map_bits": 1, "turns": 1, "pool_cycles": 1}
    return latency.code_latency(config, plain | fields)


def latencies():
    """The constants of the model."""
    scale = latency.SCALE_LATENCY
    found = latency.drained_latency, latency.staircase_latency, lambda config: 1
    write = _rest(_codes, *found, pools=False)
    rows = [
        ["tables", latency.FIRST_ISSUE_CYCLES, "look-ups before the first step of a layer"],
        ["feed", latency.FEED_LATENCY, "from the gate to the top row of the array"],
        ["element", latency.ELEMENT_LATENCY,
         "from the operands at an element to its count, besides `popcount_stages`"],
        ["scale", scale, "from a count to its accumulator, and to a product of one"],
        ["clip", _rest(latency.rescaled_latency, latency.rescale_delay, lambda config: scale),
         "from a product to its code"],
        ["write", write, "from the last code of a tile to its first plane in the banks"],
        ["pool", _rest(_codes, *found) - write, "more, on a machine that can pool"],
        ["frame", _rest(latency.raw_latency, latency.drained_latency, lambda c: c.rows * c.cols)
         - scale, "from the last accumulator of a tile to its first word, and behind the last one"],
        ["parameters", latency.PARAMETER_CYCLES,
         "to load the block of a column tile, besides one for each entry"],
        ["fetch", FETCH_CYCLES, "to fetch a descriptor"]]
    return markdown_table(["name", "cycles", "meaning"],
                          [[f"`{name}`", *more] for name, *more in rows])


def sums():
    """What the constants add up to on the presets."""
    rows = [
        ["`first`", latency.first_issue_cycles],
        ["`leave`, codes of 2 bits, 1 turn", lambda c: _codes(c, map_bits=2)],
        ["`leave`, codes of 8 bits by multiplication", lambda c: _codes(c, map_bits=8, rescale=1)],
        ["`leave`, codes of 2 bits, maximum of 2 x 2",
         lambda c: _codes(c, map_bits=2, pool=1, pool_cycles=2)],
        ["`leave`, raw", latency.raw_latency]]
    return markdown_table(["", *(f"`{name}`" for name in PRESETS)],
                          [[title, *map(value, PRESETS.values())] for title, value in rows])


def _layer(shape, outputs, kernel, *, planes, ratio=2, padding=0, stride=1, bits=2, pool=None,
           blocks=1, more=()):
    """A layer without meaning; its planes have scales in the given ratio."""
    channels, *size = shape
    out = tuple((side + 2 * padding - kernel) // stride + 1 for side in size)
    scales = np.array([ratio ** plane for plane in range(planes)], dtype=np.int64) * 2
    term = Term("input", np.zeros((1, outputs, channels // blocks, kernel, kernel), np.uint8),
                np.broadcast_to(scales[:, None], (outputs, 1, planes, 1)).copy(), blocks=blocks,
                stride=(stride, stride), padding=(padding,) * 4)
    staircase = bits and Staircase(np.zeros((outputs, (1 << bits) - 1), dtype=np.int64))
    form = bits and CodeFormat(binary_table(pool.bits(bits) if pool else bits))
    return Layer("layer", (term, *more), np.zeros(outputs, dtype=np.int64), 0, out,
                 requantize=staircase or None, pool=pool, format=form or None)


def _identity(channels):
    """A shortcut from the input to an output of as many channels."""
    return Term("input", np.zeros((1, channels, 1, 1, 1), np.uint8),
                np.full((channels, 1, 1, 1), 2, dtype=np.int64), blocks=channels)


def layers():
    """Cycles of layers on the default machine."""
    machine = PRESETS["default"]
    plain = dataclasses.replace(machine, doubling=False)
    units = dataclasses.replace(machine, units=4)
    wide, half, first = (64, 16, 16), (64, 8, 8), (3, 16, 16)
    cases = [
        ("3 x 3, 64 -> 64, 16 x 16, 2 planes in no simple ratio", 1, machine, wide, 2,
         _layer(wide, 64, 3, planes=2, ratio=3, padding=1)),
        ("the same, planes in ratio 2", 1, machine, wide, 2,
         _layer(wide, 64, 3, planes=2, padding=1)),
        ("the same, then maximum of 2 x 2", 1, machine, wide, 2,
         _layer(wide, 64, 3, planes=2, padding=1, pool=Pool("max", (2, 2), (2, 2)))),
        ("the same, stride 2, not pooled", 1, machine, wide, 2,
         _layer(wide, 64, 3, planes=2, padding=1, stride=2)),
        ("3 x 3, 64 -> 64, 8 x 8, 1 plane, and a shortcut", 1, machine, half, 1,
         _layer(half, 64, 3, planes=1, padding=1, more=(_identity(64),))),
        ("3 x 3 depthwise, 64 channels, 16 x 16", 1, machine, wide, 2,
         _layer(wide, 64, 3, planes=2, padding=1, blocks=64)),
        ("3 x 3, 64 -> 64, 4 x 4, batch of 4", 4, machine, (64, 4, 4), 2,
         _layer((64, 4, 4), 64, 3, planes=2, padding=1)),
        ("1 x 1, 64 -> 64, 16 x 16", 1, machine, wide, 2, _layer(wide, 64, 1, planes=2)),
        ("the same on a machine with 4 `units`", 1, units, wide, 2,
         _layer(wide, 64, 1, planes=2)),
        ("first layer: 3 x 3, 3 -> 64, 16 x 16, 8-bit pixels", 1, machine, first, 8,
         _layer(first, 64, 3, planes=8, padding=1)),
        ("the same on a machine without `doubling`", 1, plain, first, 8,
         _layer(first, 64, 3, planes=8, padding=1)),
        ("linear, 1024 -> 10, batch of 4, raw", 4, machine, (1024, 1, 1), 2,
         _layer((1024, 1, 1), 10, 1, planes=2, bits=None)),
    ]
    rows = []
    for title, batch, config, shape, planes, layer in cases:
        network = Network("layer", (layer,), shape, CodeFormat(binary_table(planes)), Encoder(1.0))
        (cost,) = estimate(compile_network(network, config, batch=batch))
        rows.append([title, cost["passes"], cost["tiles"], cost["cycles"], cost["busy"],
                     cost["stalled_on_drain"], cost["stalled_on_input"],
                     cost["stalled_on_output"], f"{100 * cost['utilization']:.1f} %"])
    return markdown_table(["layer", "passes of a tile", "tiles", "cycles", "busy",
                           "stalled on drain", "on input", "on output", "utilization"], rows)


def filling():
    """Share of rows at work for square maps, by either way of giving pixels to rows."""
    count, rows = 4, []
    for side in (4, 5, 7, 8, 9, 12, 14, 16, 28):
        lines = side / (math.ceil(side / count) * count)
        pixels = side * side / (math.ceil(side * side / count) * count)
        rows.append([f"{side} x {side}", f"{100 * lines:.0f} %", f"{100 * pixels:.0f} %"])
    return markdown_table(["map, 4 rows", "lines in rows", "pixels in sequence"], rows)


BLOCKS = {"latencies": latencies, "sums": sums, "layers": layers, "filling": filling}
"""Name of a block -> function that returns its Markdown."""
