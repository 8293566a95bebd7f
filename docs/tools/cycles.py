"""Tables of the cycle model: latencies, layers by example, how well maps fill the rows."""

import dataclasses
import math

import numpy as np

from xnorloom.hw.spec import cycles
from xnorloom.hw.spec.config import PRESETS
from xnorloom.sw.graph.network import CodeFormat, MatrixLayer, Network, Requantize
from xnorloom.sw.machine.estimate import estimate
from xnorloom.sw.passes.compiler import compile_network

from .tables import markdown_table

__all__ = ["BLOCKS"]


def latencies():
    """The constants of the model, and the sums for the presets."""
    rows = [
        ["gate to the top row of the array", "6", cycles.FEED_LATENCY],
        ["operands at an element to its result", "2 + `popcount_stages`",
         lambda c: cycles.ELEMENT_LATENCY + c.popcount_stages],
        ["count to accumulator", "4", cycles.SCALE_LATENCY],
        ["level of a threshold search", "3", cycles.SEARCH_CYCLES],
        ["descriptor fetch", "20", cycles.FETCH_CYCLES],
        ["`first`: layer's start to first step", "max(4, `rows` + 1)", cycles.first_issue_cycles],
        ["`leave`: last step to last code written, 2-bit codes", "see below",
         lambda c: cycles._code_tile_cycles(c, 2)],
        ["`leave`: last step to last raw accumulator taken", "see below", cycles._raw_tile_cycles]]
    for row in rows:
        value = row.pop()
        row += [value(preset) if callable(value) else value for preset in PRESETS.values()]
    return markdown_table(["", "formula", *(f"`{name}`" for name in PRESETS)], rows)


def _binary(planes):
    return CodeFormat((np.arange(1 << planes)[:, None] >> np.arange(planes) & 1).astype(np.uint8))


def _layer(in_shape, outputs, kernel, *, planes, ratio=2, padding=0, stride=1, code_bits=2):
    """A layer without meaning; its planes have scales in the given ratio."""
    out = [(side + 2 * padding - kernel) // stride + 1 for side in in_shape[1:]]
    scales = np.array([ratio ** plane for plane in range(planes)], dtype=np.int64)
    thresholds = np.zeros((outputs, (1 << (code_bits or 1)) - 1), dtype=np.int64)
    return MatrixLayer(
        name="layer", source="input",
        weights=np.zeros((1, outputs, in_shape[0], kernel, kernel), dtype=np.uint8),
        scales=np.broadcast_to(scales[None, None, :, None], (outputs, 1, planes, 1)).copy(),
        biases=np.zeros(outputs, dtype=np.int64), frac_bits=0, grouping="layer",
        stride=(stride, stride), padding=(padding, padding), in_shape=in_shape,
        out_shape=(outputs, *out), input_format=_binary(planes),
        requantize=None if code_bits is None else Requantize(thresholds, _binary(code_bits)))


def layers():
    """Cycles of layers on the default machine."""
    machine = PRESETS["default"]
    plain = dataclasses.replace(machine, doubling=False)
    cases = [
        ("3 x 3, 64 -> 64, 16 x 16, 2 planes in no simple ratio", 1, machine,
         _layer((64, 16, 16), 64, 3, planes=2, ratio=3, padding=1)),
        ("the same, planes in ratio 2", 1, machine,
         _layer((64, 16, 16), 64, 3, planes=2, padding=1)),
        ("the same, stride 2", 1, machine,
         _layer((64, 16, 16), 64, 3, planes=2, padding=1, stride=2)),
        ("3 x 3, 64 -> 64, 4 x 4, batch of 4", 4, machine,
         _layer((64, 4, 4), 64, 3, planes=2, padding=1)),
        ("1 x 1, 64 -> 64, 16 x 16", 1, machine, _layer((64, 16, 16), 64, 1, planes=2)),
        ("first layer: 3 x 3, 3 -> 64, 16 x 16, 8-bit pixels", 1, machine,
         _layer((3, 16, 16), 64, 3, planes=8, padding=1)),
        ("the same on a machine without `doubling`", 1, plain,
         _layer((3, 16, 16), 64, 3, planes=8, padding=1)),
        ("linear, 1024 -> 10, batch of 8, raw", 8, machine,
         _layer((1024, 1, 1), 10, 1, planes=2, code_bits=None)),
    ]
    rows = []
    for title, batch, config, layer in cases:
        network = Network("layer", (layer,), layer.in_shape, layer.input_format, 1.0)
        (cost,) = estimate(compile_network(network, config, batch=batch))
        rows.append([title, cost["passes"], cost["tiles"], cost["cycles"], cost["busy"],
                     cost["stalled_on_drain"], cost["stalled_on_output"],
                     f"{100 * cost['utilization']:.1f} %"])
    return markdown_table(["layer", "passes of a tile", "tiles", "cycles", "busy",
                           "stalled on drain", "stalled on output", "utilization"], rows)


def filling():
    """Share of rows at work for square maps, by either way of giving pixels to rows."""
    count, rows = 8, []
    for side in (4, 5, 7, 8, 9, 12, 14, 16, 28):
        lines = side / (math.ceil(side / count) * count)
        pixels = side * side / (math.ceil(side * side / count) * count)
        rows.append([f"{side} x {side}", f"{100 * lines:.0f} %", f"{100 * pixels:.0f} %"])
    return markdown_table(["map, 8 rows", "lines in rows", "pixels in sequence"], rows)


BLOCKS = {"latencies": latencies, "layers": layers, "filling": filling}
"""Name of a block -> function that returns its Markdown."""
