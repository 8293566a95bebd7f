"""Random networks and what they compute, from docs/numeric-contract.md alone.

It imports nothing of the project, and is as plain as the formulas of the page, so that it can be
held against them line by line.
"""

from dataclasses import dataclass, field

import numpy as np


class Unfit(Exception):
    """The network is too large for the machine."""


def ceil(value, step):
    return -(-value // step)


@dataclass
class Map:
    """A map of codes: ``codes[code][plane]`` are the planes of a code; ``stride`` is that of all
    that read it, and None as long as nothing does."""

    channels: int
    height: int
    width: int
    codes: np.ndarray
    stride: tuple | None = None

    @property
    def planes(self):
        return self.codes.shape[1]


@dataclass
class Term:
    """A convolution over words of a map; bits of weights ``[plane][output][input][ky][kx]``.

    ``passes`` has, for each pass, its pairs ``(activation plane, weight plane, double)``;
    ``scales`` are those of the passes, ``[group][pass][output]``, and ``clamps`` says in the same
    places whether the sum so far is clamped at zero first.
    """

    source: int
    first_word: int
    words: int
    kernel: tuple
    dilation: tuple
    padding: tuple
    pad_code: int
    groups: int
    weights: np.ndarray
    passes: list
    scales: np.ndarray
    clamps: np.ndarray


@dataclass
class Rescale:
    multipliers: np.ndarray
    addends: np.ndarray
    shift: int
    down: int


@dataclass
class Pool:
    kind: str
    window: tuple
    stride: tuple
    padding: tuple
    lines: int
    width: int

    def windows(self, out_map):
        """Every window, with the pixels of the map that it holds: slices of lines and columns."""
        for place in np.ndindex(self.lines, self.width):
            starts = [at * step - pad for at, step, pad in zip(place, self.stride, self.padding)]
            yield (*place, *(slice(max(0, start), min(side, start + size)) for start, size, side
                             in zip(starts, self.window, out_map)))


@dataclass
class Layer:
    """Column tiles of ``cols`` outputs; ``period`` of them in a row share a list of terms.

    ``biases[class][output]`` has one class, or 16, of which ``borders`` (top, bottom, left, right)
    says which a pixel has.
    """

    outputs: int
    map: tuple
    period: int
    lists: list
    borders: tuple
    biases: np.ndarray
    code_bits: int = 1
    requantize: np.ndarray | Rescale | None = None
    pool: Pool | None = None
    target: int | None = None

    @property
    def raw(self):
        return self.requantize is None


@dataclass
class Network:
    """Maps ``inputs`` are written by the host, the others by layers."""

    images: int
    maps: list = field(default_factory=list)
    inputs: list = field(default_factory=list)
    layers: list = field(default_factory=list)


# What a network computes

def wrapped(acc, bits):
    half = 1 << bits - 1
    return (acc + half) % (2 * half) - half


def term_sum(shape, acc, term, source, codes):
    """Accumulators ``(image, output, y, x)`` with a term added, pass by pass."""
    first = term.first_word * shape.lanes
    planes = source.codes[codes[:, first:first + term.weights.shape[2]]]
    height, width = acc.shape[2:]
    (sy, sx), (ey, ex), (pt, pl) = source.stride, term.dilation, term.padding
    taps = [*np.ndindex(term.kernel)]
    seen = []
    for ky, kx in taps:
        y = np.arange(height)[:, None] * sy + ky * ey - pt + np.zeros(width, dtype=np.int64)
        x = np.arange(width) * sx + kx * ex - pl + np.zeros((height, 1), dtype=np.int64)
        inside = (y >= 0) & (y < source.height) & (x >= 0) & (x < source.width)
        read = planes[:, :, np.where(inside, y, 0), np.where(inside, x, 0)]
        seen.append(np.where(inside[..., None], read, source.codes[term.pad_code]))
    size = len(taps) // term.groups
    for g in range(term.groups):
        for number, pairs in enumerate(term.passes):
            count = np.zeros_like(acc)
            for i, j, double in pairs:
                count = 2 * count if double else count
                for tap in range(g * size, (g + 1) * size):
                    wanted = term.weights[j][:, :, taps[tap][0], taps[tap][1]]
                    count += (seen[tap][:, None, :, :, :, i]
                              != wanted[None, :, :, None, None]).sum(axis=2)
            clamped = term.clamps[g, number][:, None, None]
            acc = np.where(clamped, np.maximum(acc, 0), acc)
            acc = wrapped(acc + term.scales[g, number][:, None, None] * count, shape.acc_bits)
    return acc


def classes(layer):
    """Border class of every pixel."""
    (top, bottom, left, right), (height, width) = layer.borders, layer.map
    if not any(layer.borders):
        return np.zeros(layer.map, dtype=np.int64)

    def of(place, before, behind, side):
        if place < before:
            return place
        return before if place < side - behind else before + 1 + place - (side - behind)

    return np.array([[4 * of(y, top, bottom, height) + of(x, left, right, width)
                      for x in range(width)] for y in range(height)])


def accumulators(shape, network, layer, maps):
    begun = np.moveaxis(layer.biases[classes(layer)], 2, 0)
    acc = np.repeat(begun[None], network.images, axis=0).astype(np.int64)
    each = layer.period * shape.cols
    for number, terms in enumerate(layer.lists):
        part = slice(number * each, min(layer.outputs, (number + 1) * each))
        for term in terms:
            acc[:, part] = term_sum(shape, acc[:, part], term, network.maps[term.source],
                                    maps[term.source])
    return acc


def requantized(layer, acc):
    each = layer.requantize
    if isinstance(each, Rescale):
        product = (acc >> each.shift) * each.multipliers[:, None, None]
        codes = product + each.addends[:, None, None] >> each.down
        return np.clip(codes, 0, (1 << layer.code_bits) - 1)
    return (each[None, :, :, None, None] <= acc[:, :, None]).sum(axis=2)


def pooled(layer, codes):
    pool = layer.pool
    result = np.zeros((*codes.shape[:2], pool.lines, pool.width), dtype=np.int64)
    for y, x, lines, columns in pool.windows(layer.map):
        window = codes[:, :, lines, columns]
        result[:, :, y, x] = (window.max(axis=(2, 3)) if pool.kind == "max"
                              else window.sum(axis=(2, 3)))
    return result


def evaluate(shape, network, inputs):
    """Codes of every map, in a list, and accumulators of raw layers, by number of the layer."""
    maps = [None] * len(network.maps)
    for number, each in zip(network.inputs, inputs, strict=True):
        maps[number] = each
    raw = {}
    for number, layer in enumerate(network.layers):
        acc = accumulators(shape, network, layer, maps)
        if layer.raw:
            raw[number] = acc
        else:
            codes = requantized(layer, acc)
            maps[layer.target] = codes if layer.pool is None else pooled(layer, codes)
    return maps, raw


# Random networks

def chance(rng, p):
    return bool(rng.random() < p)


def pick(rng, low, high):
    """An integer from low to high."""
    return int(rng.integers(low, high + 1))


def random_codes(rng, planes):
    """Up to 4 planes in any order of codes; more are their own digits."""
    order = rng.permutation(1 << planes) if planes <= 4 else range(1 << planes)
    return np.array([[code >> plane & 1 for plane in range(planes)] for code in order])


def random_passes(rng, shape, planes, weight_planes, most):
    """Pairs in any order, some of them in passes together, none of which counts too far."""
    pairs = [(i, j) for i in range(planes) for j in range(weight_planes)]
    rng.shuffle(pairs)
    passes = []
    for i, j in pairs:
        double = shape.doubling and chance(rng, 0.5)
        last = passes[-1] if passes else []
        count = 0
        for _i, _j, doubled in [*last, (i, j, double)]:
            count = (2 * count if doubled else count) + most
        if last and count < 1 << shape.count_bits and chance(rng, 0.5):
            last.append((int(i), int(j), double))
        else:
            passes.append([(int(i), int(j), False)])
    return passes


def random_borders(rng, side):
    """Lines with classes of their own, at both ends of a side."""
    first = pick(rng, 0, min(3, side))
    return first, pick(rng, 0, min(3, side) - first)


class Maker:
    """Makes one network, layer by layer."""

    def __init__(self, rng, shape):
        self.rng, self.shape = rng, shape
        self.network = Network(images=pick(rng, 1, 4))
        count = pick(rng, 1, 3)
        for number in range(count):
            self._layer(raw=number == count - 1 and chance(rng, 0.5))

    def _input(self):
        """A map that the host writes."""
        rng = self.rng
        planes = pick(rng, 1, 3) if chance(rng, 0.9) else pick(rng, 4, 6)
        self.network.inputs.append(len(self.network.maps))
        self.network.maps.append(Map(pick(rng, 1, 2 * self.shape.lanes), pick(rng, 1, 7),
                                     pick(rng, 1, 7), random_codes(rng, planes)))
        return len(self.network.maps) - 1

    def _source(self, main):
        """A map for a term: mostly the one of the layer before, perhaps one of long ago."""
        rng, maps = self.rng, self.network.maps
        if main is None:
            main = len(maps) - 1 if self.network.layers else self._input()
        elif chance(rng, 0.4):
            main = self._input()
        elif chance(rng, 0.5):
            main = pick(rng, 0, len(maps) - 1)
        if maps[main].stride is None:
            maps[main].stride = pick(rng, 1, 3), pick(rng, 1, 3)
        return main

    def _layer(self, raw):
        rng, shape = self.rng, self.shape
        source = self._source(None)
        read = self.network.maps[source]
        whole = chance(rng, 0.2)
        out_map = (1, 1) if whole else tuple(
            pick(rng, 1, ceil(side, step) + 1)
            for side, step in zip((read.height, read.width), read.stride))
        outputs = pick(rng, 1, 2 * shape.lanes)
        tiles = ceil(outputs, shape.cols)
        period = pick(rng, 1, tiles) if chance(rng, 0.4) else tiles
        borders = (0, 0, 0, 0)
        if shape.border_classes and chance(rng, 0.3):
            borders = tuple(lines for side in out_map for lines in random_borders(rng, side))
        first = [self._term(source, outputs, out_map, whole)]
        while len(first) < 4 and chance(rng, 0.4):
            first.append(self._term(self._source(source), outputs, out_map, False))
        lists = [[self._part(term, number, period, outputs) for term in first]
                 for number in range(ceil(tiles, period))]
        room = 1 << shape.acc_bits - 1
        layer = Layer(outputs, out_map, period, lists, borders, rng.integers(
            -room // 4, room // 4, (16 if any(borders) else 1, outputs)))
        if not raw:
            self._codes(layer, room)
        self.network.layers.append(layer)

    def _term(self, source, outputs, out_map, whole):
        """A term for all outputs and over all channels."""
        rng, shape, read = self.rng, self.shape, self.network.maps[source]
        kernel = ((read.height, read.width) if whole else (pick(rng, 1, 3), pick(rng, 1, 3)))
        dilation = (1, 1) if whole or chance(rng, 0.6) else (pick(rng, 1, 3), pick(rng, 1, 3))
        padding = (0, 0) if whole else tuple(pick(rng, 0, size) for size in kernel)
        taps, weight_planes = kernel[0] * kernel[1], pick(rng, 1, 3)
        groups = int(rng.choice([1, kernel[0], taps]))
        most = read.channels * taps // groups
        if most >> shape.count_bits or taps > 63:
            raise Unfit("count")
        passes = random_passes(rng, shape, read.planes, weight_planes, most)
        top, room = 1 << shape.scale_bits - 1, 1 << shape.acc_bits - 1
        # Some accumulators wrap, most do not.
        top = min(top, max(2, room * pick(rng, 1, 3) // (2 * max(1, most))))
        clamps = rng.random((groups, len(passes), outputs)) < (0.3 if chance(rng, 0.4) else 0)
        return Term(source, 0, ceil(read.channels, shape.lanes), kernel, dilation, padding,
                    pick(rng, 0, len(read.codes) - 1), groups,
                    rng.integers(0, 2, (weight_planes, outputs, read.channels, *kernel)), passes,
                    rng.integers(-top, top, (groups, len(passes), outputs)), clamps)

    def _part(self, term, number, period, outputs):
        """What a list has of a term: its own outputs, and some of the words, or all."""
        each, lanes = period * self.shape.cols, self.shape.lanes
        part = slice(number * each, min(outputs, (number + 1) * each))
        first = pick(self.rng, 0, term.words - 1) if chance(self.rng, 0.3) else 0
        words = pick(self.rng, 1, term.words - first) if first else term.words
        inputs = slice(first * lanes, (first + words) * lanes)
        return Term(**{**vars(term), "first_word": first, "words": words,
                       "weights": term.weights[:, part, inputs],
                       "scales": term.scales[..., part], "clamps": term.clamps[..., part]})

    def _codes(self, layer, room):
        rng, shape = self.rng, self.shape
        fit = [shift for shift in shape.shifts if shape.acc_bits - shift <= shape.count_bits + 1]
        if shape.rescale and fit and chance(rng, 0.4):
            layer.code_bits = bits = pick(rng, 1, 8)
            most = 1 << pick(rng, 1, shape.scale_bits - 1)
            layer.requantize = Rescale(
                rng.integers(-most, most, layer.outputs),
                rng.integers(-room, room, layer.outputs) >> pick(rng, 0, 9), int(rng.choice(fit)),
                shape.down)
        else:
            layer.code_bits = bits = pick(rng, 1, shape.code_bits)
            layer.requantize = np.sort(rng.integers(
                -room // 2, room // 2, (layer.outputs, (1 << bits) - 1)))
        height, width = layer.map
        if shape.pool_depth and chance(rng, 0.4):
            layer.pool, bits = self._pool(layer.map, bits)
            height, width = layer.pool.lines, layer.pool.width
        layer.target = len(self.network.maps)
        self.network.maps.append(Map(layer.outputs, height, width, random_codes(rng, bits)))

    def _pool(self, out_map, bits):
        rng = self.rng
        window, stride = ((pick(rng, 1, 3), pick(rng, 1, 3)) for _ in range(2))
        padding = tuple(pick(rng, 0, size - 1) for size in window)
        # The last window begins inside the map.
        lines, width = (pick(rng, 1, (side - 1 + pad) // step + 1)
                        for side, pad, step in zip(out_map, padding, stride))
        widest = (window[0] * window[1] * ((1 << bits) - 1)).bit_length()
        if widest <= 8 and chance(rng, 0.5):
            return Pool("sum", window, stride, padding, lines, width), pick(rng, widest, 8)
        return Pool("max", window, stride, padding, lines, width), bits


def random_network(rng, shape):
    """One to three layers."""
    return Maker(rng, shape).network
