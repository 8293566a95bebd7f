"""A packer and a host written from the pages in docs/ alone; they import nothing of the project.

docs/memory-format.md says how the memories are filled and how the machine is talked to,
docs/numeric-contract.md what comes out, docs/machine.md what it costs. Everything here is as plain
as the formulas there, so that it can be held against them line by line.
"""

import hashlib
import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

PROGRAM, TAPS, PAIRS, ACTIVATIONS, WEIGHTS, SCALES, BIASES, THRESHOLDS, PROFILE = range(9)
IMAGE, WRITE, RUN, READ, RESULT, DATA, DONE = 1, 2, 3, 4, 0x81, 0x82, 0x83
STATUS, ERROR_CODE, ERROR_WORD, CONTROL, WATCHDOG, CYCLES, LAYERS = 3, 4, 5, 6, 7, 8, 9
INTERRUPT_ENABLE, INTERRUPT = 10, 11
DESCRIPTOR_WORDS = 18


class Unfit(Exception):
    """The network is too large for the machine."""


def ceil(value, step):
    return -(-value // step)


class Shape:
    """A machine by its parameters (a dictionary as the file's key ``machine`` has it)."""

    def __init__(self, parameters):
        self.parameters = {key: value for key, value in parameters.items() if key != "name"}
        for key, value in self.parameters.items():
            setattr(self, key, value)
        text = json.dumps({"version": 1, **self.parameters}, sort_keys=True)
        digest = hashlib.sha256(text.encode()).digest()
        self.fingerprint = int.from_bytes(digest[:4], "little")
        # Memory -> banks, entries of a bank, bits of an entry.
        self.memories = {
            PROGRAM: (1, self.program_depth, 32), TAPS: (1, self.tap_depth, 64),
            PAIRS: (1, self.pair_depth, 32),
            ACTIVATIONS: (self.rows, self.activation_depth, self.lanes),
            WEIGHTS: (self.cols, self.weight_depth, self.lanes),
            SCALES: (self.cols, self.scale_depth, self.scale_bits),
            BIASES: (self.cols, self.bias_depth, self.acc_bits),
            THRESHOLDS: (self.cols, self.threshold_depth, self.acc_bits), PROFILE: (1, 512, 32)}


def entry_words(value, bits):
    """An entry as link words, low word first, in two's complement of its own width."""
    value = int(value) % (1 << bits)
    return [value >> 32 * part & 0xFFFFFFFF for part in range(ceil(bits, 32))]


def frame(shape, opcode, payload):
    words = [0x4C58 | 1 << 16 | opcode << 24, shape.fingerprint, len(payload), *payload]
    return [*words, zlib.crc32(np.array(words, "<u4").tobytes())]


def frames(shape, words):
    """Opcode and payload of every frame of an answer; each must be right."""
    words = [int(word) for word in words]
    while words:
        assert words[0] & 0xFFFFFF == 0x14C58 and words[1] == shape.fingerprint, "no frame"
        end = 3 + words[2]
        assert len(words) > end, "the answer ends inside a frame"
        assert words[end] == zlib.crc32(np.array(words[:end], "<u4").tobytes()), "CRC"
        yield words[0] >> 24, words[3:end]
        words = words[end + 1:]


# Networks and what they compute (docs/numeric-contract.md)

@dataclass
class Layer:
    """One layer; bits of weights ``[plane][output][input][ky][kx]``.

    ``passes`` has, for each pass, its pairs ``(activation plane, weight plane, double)``;
    ``scales`` are those of the passes, ``[group][pass][output]``. ``codes_in``, ``codes_out`` are
    the planes of every code.
    """

    in_shape: tuple
    kernel: tuple
    stride: tuple
    padding: tuple
    pad_code: int
    groups: int
    codes_in: np.ndarray
    weights: np.ndarray
    passes: list
    scales: np.ndarray
    biases: np.ndarray
    thresholds: np.ndarray | None
    codes_out: np.ndarray | None

    @property
    def raw(self):
        return self.thresholds is None

    @property
    def out_shape(self):
        _c, height, width = self.in_shape
        (kh, kw), (sy, sx), (py, px) = self.kernel, self.stride, self.padding
        return (self.weights.shape[1], (height + 2 * py - kh) // sy + 1,
                (width + 2 * px - kw) // sx + 1)


def accumulators(layer, codes, acc_bits):
    """``B + sum S[g, i, j] * m[g, i, j]``, modulo ``2^acc_bits``: one for every output pixel."""
    (py, px), (sy, sx), (kh, kw) = layer.padding, layer.stride, layer.kernel
    padded = np.pad(codes, ((0, 0), (0, 0), (py, py), (px, px)), constant_values=layer.pad_code)
    planes = layer.codes_in[padded]
    outputs, height, width = layer.out_shape
    acc = np.zeros((len(codes), outputs, height, width), dtype=np.int64)
    acc += layer.biases[:, None, None]
    taps = [(ky, kx) for ky in range(kh) for kx in range(kw)]
    size = len(taps) // layer.groups
    for g in range(layer.groups):
        for number, pairs in enumerate(layer.passes):
            scale = layer.scales[g, number].astype(np.int64)
            for i, j, double in reversed(pairs):
                m = np.zeros_like(acc)
                for ky, kx in taps[g * size:(g + 1) * size]:
                    seen = planes[:, :, ky:ky + sy * (height - 1) + 1:sy,
                                  kx:kx + sx * (width - 1) + 1:sx, i]
                    wanted = layer.weights[j, :, :, ky, kx]
                    m += (seen[:, None] != wanted[None, :, :, None, None]).sum(axis=2)
                acc += scale[:, None, None] * m
                scale = scale * 2 if double else scale
    half = 1 << acc_bits - 1
    return (acc + half) % (2 * half) - half


def evaluate(network, codes, acc_bits):
    """Map of every layer: codes, or accumulators of a raw layer."""
    maps = []
    for layer in network:
        acc = accumulators(layer, codes, acc_bits)
        if not layer.raw:
            reached = layer.thresholds[None, :, :, None, None] <= acc[:, :, None]
            codes = acc = reached.sum(axis=2)
        maps.append(acc)
    return maps


def random_code_table(rng, planes):
    return np.array([[code >> plane & 1 for plane in range(planes)]
                     for code in rng.permutation(1 << planes)])


def random_passes(rng, shape, planes, weight_planes, most):
    """Pairs in any order, some of them in passes together, none of which counts too far."""
    pairs = [(i, j) for i in range(planes) for j in range(weight_planes)]
    rng.shuffle(pairs)
    passes = []
    for i, j in pairs:
        double = bool(shape.doubling and rng.random() < 0.5)
        last = passes[-1] if passes else []
        count = 0
        for _i, _j, doubled in [*last, (i, j, double)]:
            count = (2 * count if doubled else count) + most
        if last and count < 1 << shape.count_bits and rng.random() < 0.5:
            last.append((int(i), int(j), double))
        else:
            passes.append([(int(i), int(j), False)])
    return passes


def random_layer(rng, shape, in_shape, codes_in, raw):
    channels, height, width = in_shape
    if rng.random() < 0.2 and max(height, width) <= 7:
        kernel = stride = (height, width)
        padding = (0, 0)
    else:
        padding = tuple(int(side) for side in rng.integers(0, 3, 2))
        kernel = tuple(int(rng.integers(1, min(4, side + 2 * pad) + 1))
                       for side, pad in zip((height, width), padding))
        stride = tuple(int(side) for side in rng.integers(1, 4, 2))
    planes, weight_planes = codes_in.shape[1], int(rng.integers(1, 4))
    outputs, taps = int(rng.integers(1, 2 * shape.lanes)), kernel[0] * kernel[1]
    groups = int(rng.choice([1, kernel[0], taps]))
    most = channels * taps // groups
    if most >> shape.count_bits:
        raise Unfit("count")
    passes = random_passes(rng, shape, planes, weight_planes, most)
    top, room = 1 << shape.scale_bits - 1, 1 << shape.acc_bits - 1
    # Some accumulators wrap, most do not.
    top = min(top, max(2, room * int(rng.integers(1, 4)) // (2 * max(1, most))))
    k = int(rng.integers(1, shape.code_bits + 1))
    layer = Layer(
        in_shape, kernel, stride, padding, int(rng.integers(len(codes_in))), groups, codes_in,
        rng.integers(0, 2, (weight_planes, outputs, channels, *kernel)), passes,
        rng.integers(-top, top, (groups, len(passes), outputs)),
        rng.integers(-room // 4, room // 4, outputs), None, None)
    if not raw:
        layer.thresholds = np.sort(rng.integers(-room // 2, room // 2, (outputs, (1 << k) - 1)))
        layer.codes_out = random_code_table(rng, k)
    return layer


def random_network(rng, shape):
    """A chain of one to three layers."""
    in_shape = (int(rng.integers(1, 2 * shape.lanes)), *map(int, rng.integers(1, 8, 2)))
    codes = random_code_table(rng, int(rng.integers(1, 4)))
    network, count = [], int(rng.integers(1, 4))
    for number in range(count):
        network.append(random_layer(rng, shape, in_shape, codes,
                                    raw=number == count - 1 and rng.random() < 0.5))
        in_shape, codes = network[-1].out_shape, network[-1].codes_out
    return network


# Packing (docs/memory-format.md)

class Map:
    """A map in the activation banks, laid out for a stride and for pitches."""

    def __init__(self, shape, images, in_shape, codes, stride, pitch):
        self.shape, self.images, self.in_shape, self.codes = shape, images, in_shape, codes
        self.stride, (self.pitch_y, self.pitch_x) = stride, pitch
        self.planes = codes.shape[1]
        self.words = ceil(in_shape[0], shape.lanes)
        self.tile_words = self.planes * self.words
        self.slots = ceil(images * self.pitch_y * self.pitch_x, shape.rows)
        self.size = stride[0] * stride[1] * self.slots * self.tile_words
        self.base = None

    def place(self, image, y, x):
        """Bank and address of word 0 of plane 0 of a pixel."""
        sy, sx = self.stride
        phase = y % sy * sx + x % sx
        m = (image * self.pitch_y + y // sy) * self.pitch_x + x // sx
        return m % self.shape.rows, (self.base + (phase * self.slots + m // self.shape.rows)
                                     * self.tile_words)

    def pixels(self):
        _channels, height, width = self.in_shape
        return np.ndindex(self.images, height, width)

    def pixel_entries(self, codes):
        """Entries of one pixel from the codes of its channels."""
        return [sum(int(self.codes[code, plane]) << lane for lane, code in
                    enumerate(codes[word * self.shape.lanes:(word + 1) * self.shape.lanes]))
                for plane in range(self.planes) for word in range(self.words)]

    def sections(self, values):
        """One section per pixel."""
        return [(ACTIVATIONS, *self.place(image, y, x), self.pixel_entries(values[image, :, y, x]))
                for image, y, x in self.pixels()]

    def decode(self, banks):
        """Codes from the entries ``banks[bank][address - base]``, as numbers."""
        channels = self.in_shape[0]
        known = {tuple(planes): code for code, planes in reversed([*enumerate(
            self.codes.tolist())])}
        values = np.zeros((self.images, *self.in_shape), dtype=np.int64)
        for image, y, x in self.pixels():
            bank, address = self.place(image, y, x)
            entries = banks[bank][address - self.base:][:self.tile_words]
            for lane in range(self.words * self.shape.lanes):
                word, bit = divmod(lane, self.shape.lanes)
                planes = tuple(entries[plane * self.words + word] >> bit & 1
                               for plane in range(self.planes))
                if lane < channels:
                    values[image, lane, y, x] = known[planes]
                else:
                    assert not any(planes), "a lane without a channel must hold 0"
        return values


class Packed:
    """A network in the memories of a machine: sections ``(memory, bank, start, entries)``."""

    def __init__(self, rng, shape, network):
        self.rng, self.shape, self.network = rng, shape, network
        self.images = int(rng.integers(1, 5))
        self.used = dict.fromkeys(range(9), 0)
        self.sections, self.descriptors = [], []
        self.first = int(rng.integers(0, shape.program_depth // DESCRIPTOR_WORDS
                                      - len(network) + 1))
        self.maps = [self._reader_map(layer) for layer in network]
        if not network[-1].raw:
            self.maps.append(self._free_map(network[-1]))
        for each in self.maps:
            each.base = self._take(ACTIVATIONS, each.size)
        for number, layer in enumerate(network):
            self._layer(number, layer)

    def _take(self, memory, count, multiple=1):
        """A place of so many entries, in every bank of a memory."""
        start = self.used[memory] + int(self.rng.integers(0, 3))
        start = ceil(start, multiple) * multiple
        self.used[memory] = start + count
        if self.used[memory] > self.shape.memories[memory][1]:
            raise Unfit(f"memory {memory}")
        return start

    def _reader_map(self, layer):
        (sy, sx), (_channels, height, width) = layer.stride, layer.in_shape
        _outputs, out_height, out_width = layer.out_shape
        pitch = max(out_height, ceil(height, sy)), max(out_width, ceil(width, sx))
        return Map(self.shape, self.images, layer.in_shape, layer.codes_in, layer.stride, pitch)

    def _free_map(self, layer):
        """A map for the host alone, in any layout."""
        stride = tuple(int(each) for each in self.rng.integers(1, 3, 2))
        pitch = tuple(ceil(side, step) + int(self.rng.integers(0, 3))
                      for side, step in zip(layer.out_shape[1:], stride))
        return Map(self.shape, self.images, layer.out_shape, layer.codes_out, stride, pitch)

    def _taps(self, layer, source):
        (kh, kw), (sy, sx), (py, px) = layer.kernel, layer.stride, layer.padding
        _c, height, width = layer.in_shape
        _m, out_height, out_width = layer.out_shape
        for ky in range(kh):
            for kx in range(kw):
                dy, phase_y = (ky - py) // sy, (ky - py) % sy
                dx, phase_x = (kx - px) // sx, (kx - px) % sx
                delta = dy * source.pitch_x + dx
                offset = ((phase_y * sx + phase_x) * source.slots
                          + delta // self.shape.rows) * source.tile_words
                rotation = delta % self.shape.rows
                above, left = max(0, ceil(py - ky, sy)), max(0, ceil(px - kx, sx))
                below = out_height - min(out_height, (height - 1 + py - ky) // sy + 1)
                right = out_width - min(out_width, (width - 1 + px - kx) // sx + 1)
                if above + below >= out_height or left + right >= out_width:
                    offset = rotation = 0
                border = sum(min(side, 7) << 3 * place
                             for place, side in enumerate((above, below, left, right)))
                yield offset & 0xFFFF | rotation << 16 | border << 32

    def _by_column(self, memory, start, entries, outputs):
        """Sections of a column memory: ``entries(channel)`` follow each other by column tile."""
        cols = self.shape.cols
        for bank in range(min(cols, outputs)):
            listed = []
            for tile in range(ceil(outputs, cols)):
                channel = tile * cols + bank
                listed += (entries(channel) if channel < outputs
                           else [int(self.rng.integers(2))] * len(entries(0)))
            self.sections.append((memory, bank, start, listed))

    def _layer(self, number, layer):
        shape, source = self.shape, self.maps[number]
        (outputs, out_height, out_width), taps = layer.out_shape, layer.kernel[0] * layer.kernel[1]
        words, weight_planes = source.words, len(layer.weights)
        tiles, per_tile = ceil(outputs, shape.cols), weight_planes * taps * words
        per_group = len(layer.passes)
        pairs = [(i, j, place == 0, double, place == len(each) - 1)
                 for each in layer.passes for place, (i, j, double) in enumerate(each)]

        pad = self._take(ACTIVATIONS, source.tile_words)
        padding = source.pixel_entries([layer.pad_code] * layer.in_shape[0])
        self.sections += [(ACTIVATIONS, bank, pad, padding) for bank in range(shape.rows)]
        tap_base = self._take(TAPS, taps)
        self.sections.append((TAPS, 0, tap_base, [*self._taps(layer, source)]))
        pair_base = self._take(PAIRS, len(pairs))
        self.sections.append((PAIRS, 0, pair_base, [
            i * words | j * taps * words << 12 | clear << 28 | double << 29 | drain << 30
            for i, j, clear, double, drain in pairs]))

        def weight_entries(channel):
            bits = layer.weights[:, channel].reshape(weight_planes, layer.in_shape[0], taps)
            return [sum(int(bit) << lane for lane, bit in enumerate(
                        bits[plane, word * shape.lanes:(word + 1) * shape.lanes, tap]))
                    for plane in range(weight_planes) for tap in range(taps)
                    for word in range(words)]

        weight_base = self._take(WEIGHTS, tiles * per_tile)
        self._by_column(WEIGHTS, weight_base, weight_entries, outputs)
        scale_base = self._take(SCALES, tiles * layer.groups * per_group)
        self._by_column(SCALES, scale_base, lambda channel: layer.scales[:, :, channel]
                        .ravel().tolist(), outputs)
        bias_base = self._take(BIASES, tiles)
        self._by_column(BIASES, bias_base, lambda channel: [layer.biases[channel]], outputs)

        walked = (((self.images - 1) * source.pitch_y + out_height - 1) * source.pitch_x
                  + out_width)
        k = 1 if layer.raw else layer.codes_out.shape[1]
        fields = {
            "tag": 0xD5, "raw": int(layer.raw), "code_bits": k,
            "pixel_tiles": ceil(walked, shape.rows), "col_tiles": tiles,
            "tile_words": source.tile_words, "words": words, "activation_base": source.base,
            "pad_base": pad, "tap_base": tap_base, "taps_per_group": taps // layer.groups,
            "groups": layer.groups, "pair_base": pair_base, "pairs": len(pairs),
            "passes_per_group": per_group, "weight_base": weight_base, "col_tile_words": per_tile,
            "scale_base": scale_base, "bias_base": bias_base,
            "last_cols": outputs - (tiles - 1) * shape.cols, "pitch_x": source.pitch_x,
            "pitch_y": source.pitch_y, "out_width": out_width, "out_height": out_height,
            "pixels": self.images * source.pitch_y * source.pitch_x,
            "out_stride_x": 1, "out_stride_y": 1}
        if not layer.raw:
            fields |= self._output(layer, k, self.maps[number + 1], tiles)
        self.descriptors.append(fields)
        self.sections.append((PROGRAM, 0, DESCRIPTOR_WORDS * (self.first + number),
                              descriptor(fields, self.rng)))

    def _output(self, layer, k, target, tiles):
        base = self._take(THRESHOLDS, tiles << k, multiple=1 << k)

        def heap(channel):
            nodes = [int(self.rng.integers(2))] * (1 << k)

            def fill(node, low, high):
                if low < high:
                    middle = (low + high) // 2
                    nodes[node] = layer.thresholds[channel, middle]
                    fill(2 * node, low, middle)
                    fill(2 * node + 1, middle + 1, high)

            fill(1, 0, (1 << k) - 1)
            return nodes

        self._by_column(THRESHOLDS, base, heap, layer.out_shape[0])
        rows, step = self.shape.rows, target.tile_words
        planes = sum(int(bit) << 4 * code + plane for code, bits in enumerate(layer.codes_out)
                     for plane, bit in enumerate(bits))
        image = target.pitch_x * target.pitch_y
        return {
            "threshold_base": base, "out_base": target.base, "out_tile_words": step,
            "out_plane_words": target.words, "out_stride_x": target.stride[1],
            "out_stride_y": target.stride[0], "out_phase_x": target.slots * step,
            "out_phase_y": target.stride[1] * target.slots * step,
            "out_line_banks": target.pitch_x % rows,
            "out_line_words": target.pitch_x // rows * step,
            "out_image_banks": image % rows, "out_image_words": image // rows * step,
            "planes_low": planes & 0xFFFFFFFF, "planes_high": planes >> 32}


# Word, lowest bit and bits of every field of a descriptor.
FIELDS = {
    "tag": (0, 0, 8), "raw": (0, 8, 1), "code_bits": (0, 9, 3), "pixel_tiles": (1, 0, 16),
    "col_tiles": (1, 16, 16), "tile_words": (2, 0, 16), "words": (2, 16, 16),
    "activation_base": (3, 0, 16), "pad_base": (3, 16, 16), "tap_base": (4, 0, 16),
    "taps_per_group": (4, 16, 8), "groups": (4, 24, 8), "pair_base": (5, 0, 16),
    "pairs": (5, 16, 8), "passes_per_group": (5, 24, 8), "weight_base": (6, 0, 16),
    "col_tile_words": (6, 16, 16), "scale_base": (7, 0, 16), "bias_base": (7, 16, 16),
    "threshold_base": (8, 0, 16), "last_cols": (8, 16, 8), "pitch_x": (9, 0, 8),
    "pitch_y": (9, 8, 8), "out_width": (9, 16, 8), "out_height": (9, 24, 8), "pixels": (10, 0, 24),
    "out_base": (11, 0, 16), "out_tile_words": (11, 16, 16), "out_plane_words": (12, 0, 16),
    "out_stride_x": (12, 16, 4), "out_stride_y": (12, 20, 4), "out_phase_x": (13, 0, 16),
    "out_phase_y": (13, 16, 16), "out_line_banks": (14, 0, 8), "out_line_words": (14, 8, 16),
    "out_image_banks": (15, 0, 8), "out_image_words": (15, 8, 16), "planes_low": (16, 0, 32),
    "planes_high": (17, 0, 32)}


def descriptor(fields, rng=None):
    """Words of a descriptor; with `rng`, any bits outside all fields."""
    words = [0] * DESCRIPTOR_WORDS
    if rng is not None:
        words = [int(word) for word in rng.integers(0, 1 << 32, DESCRIPTOR_WORDS)]
        for word, shift, bits in FIELDS.values():
            words[word] &= ~((1 << bits) - 1 << shift)
    for name, value in fields.items():
        word, shift, bits = FIELDS[name]
        if int(value) >> bits:
            raise Unfit(name)
        words[word] |= int(value) << shift
    return words


def section_words(shape, section):
    memory, bank, start, entries = section
    bits = shape.memories[memory][2]
    return [memory | bank << 8, start | len(entries) << 16,
            *(word for entry in entries for word in entry_words(entry, bits))]


def payload(shape, sections):
    return [word for section in sections for word in section_words(shape, section)]


def shuffled(rng, sections):
    """The same sections cut into pieces, in any order, with empty ones among them."""
    pieces = []
    for memory, bank, start, entries in sections:
        cuts = sorted({0, len(entries), *rng.integers(0, len(entries) + 1, rng.integers(0, 3))})
        pieces += [(memory, bank, start + low, entries[low:high])
                   for low, high in zip(cuts, cuts[1:])]
        if rng.random() < 0.1:
            pieces.append((memory, bank, start, []))
    return [pieces[place] for place in rng.permutation(len(pieces))]


# Costs (docs/machine.md, Cycles)

def layer_cost(shape, fields, passes):
    """``cycles, busy, stalled_on_drain, stalled_on_output`` of a layer."""
    rows, drain = shape.rows, shape.rows // shape.units
    first = max(4, rows + 1)
    acc = (6 + 2 + shape.popcount_stages + (rows - 1) + (shape.cols - 1) + 4 + drain - 1)
    bits = fields["code_bits"]
    leave = acc + 3 + (bits - 1) * max(drain, 3) + 1 + bits * rows
    output = bits * max(rows, 3)
    if fields["raw"]:
        leave = acc + 4 + rows * shape.cols
        output = leave + 1
    steps = [len(pairs) * fields["taps_per_group"] * fields["words"]
             for _ in range(fields["groups"]) for pairs in passes]
    time, on_drain, on_output = first - 1, 0, 0
    pass_end = tile_end = None
    tiles = fields["pixel_tiles"] * fields["col_tiles"]
    for _tile in range(tiles):
        for number, count in enumerate(steps):
            time += count
            if pass_end is not None and time < pass_end + drain:
                on_drain += pass_end + drain - time
                time = pass_end + drain
            if number == len(steps) - 1:
                earliest = first + rows - 1 if tile_end is None else tile_end + output
                on_output += max(0, earliest - time)
                tile_end = time = max(time, earliest)
            pass_end = time
    return time + leave + 1, tiles * sum(steps), on_drain, on_output


def run_cost(shape, packed, numbers):
    """Counters of every layer of a run, in the order of the profile memory, and its cycles."""
    counters, waiting = [], 20
    for number in numbers:
        cost = layer_cost(shape, packed.descriptors[number], packed.network[number].passes)
        counters.append([*cost, waiting])
        waiting = max(1, 20 - cost[0])
    return counters, sum(each[0] + each[4] for each in counters)


# Requests and the host

@dataclass
class Request:
    """A frame to be sent, how many frames answer it, and what to make of these."""

    opcode: int
    payload: list
    answers: int = 0
    take: Callable = tuple


def store(shape, sections, opcode=WRITE):
    return Request(opcode, payload(shape, sections))


def read(shape, memory, bank, start, count):
    """Entries of a bank, as numbers."""
    size = ceil(shape.memories[memory][2], 32)

    def take(answers):
        ((opcode, words),) = answers
        assert opcode == DATA and len(words) == count * size
        return [sum(word << 32 * part for part, word in enumerate(words[k:k + size]))
                for k in range(0, len(words), size)]

    return Request(READ, [memory | bank << 8, start | count << 16], 1, take)


def read_map(shape, each):
    """Requests for a whole map: one per bank."""
    return [read(shape, ACTIVATIONS, bank, each.base, each.size) for bank in range(shape.rows)]


def read_counters(shape, layer):
    return read(shape, PROFILE, 0, 8 * (layer % 64), 5)


def run(shape, packed, numbers):
    """Runs neighbouring layers; gives the maps of raw ones, by number."""
    tiles = {number: packed.descriptors[number]["pixel_tiles"]
             * packed.descriptors[number]["col_tiles"]
             for number in numbers if packed.network[number].raw}

    def take(answers):
        assert answers.pop() == (DONE, [len(numbers)])
        maps = {}
        for number, count in tiles.items():
            maps[number] = raw_map(shape, packed, number, answers[:count])
            answers = answers[count:]
        return maps

    first = packed.first + (numbers[0] if numbers else 0)
    return Request(RUN, [first | len(numbers) << 16], sum(tiles.values()) + 1, take)


def raw_map(shape, packed, number, tiles):
    fields = packed.descriptors[number]
    assert all(opcode == RESULT and len(words) == shape.rows * shape.cols
               for opcode, words in tiles)
    values = np.zeros((packed.images, *packed.network[number].out_shape), dtype=np.int64)
    for image, c, y, x in np.ndindex(values.shape):
        n = (image * fields["pitch_y"] + y) * fields["pitch_x"] + x
        _opcode, words = tiles[n // shape.rows * fields["col_tiles"] + c // shape.cols]
        value = words[n % shape.rows * shape.cols + c % shape.cols]
        values[image, c, y, x] = value - (value >> 31 << 32)
    return values


class Host:
    """A machine at the other end of a link.

    The link is an object with ``exchange(words) -> words``, ``read_register(address)`` and
    ``write_register(address, value)``.
    """

    def __init__(self, shape, link):
        self.shape, self.link = shape, link
        assert link.read_register(0) == int.from_bytes(b"LOOM", "little")
        assert link.read_register(1) == 1
        assert link.read_register(2) == shape.fingerprint

    def frames(self, requests):
        return [word for request in requests
                for word in frame(self.shape, request.opcode, request.payload)]

    def exchange(self, words, **more):
        return self.link.exchange(np.array(words, dtype=np.uint32), **more)

    def do(self, requests, *, before=(), **more):
        """Sends requests, perhaps behind other words; returns what each brought."""
        answer = self.exchange([*before, *self.frames(requests)], **more)
        assert self.error() == (0, 0), f"error {self.error()}"
        came = [*frames(self.shape, answer)]
        assert len(came) == sum(request.answers for request in requests)
        values = []
        for request in requests:
            mine, came = came[:request.answers], came[request.answers:]
            values.append(request.take(mine))
        return values

    def error(self):
        return self.link.read_register(ERROR_CODE), self.link.read_register(ERROR_WORD)

    def status(self):
        return self.link.read_register(STATUS)

    def interrupts(self):
        """Pending interrupts, which are cleared: 1 for the end of a run, 2 for an error."""
        pending = self.link.read_register(INTERRUPT)
        self.link.write_register(INTERRUPT, pending)
        assert self.link.read_register(INTERRUPT) == 0
        return pending

    def reset(self, watchdog):
        """Resets, and waits until the reset is over: the machine is busy so long."""
        self.link.write_register(CONTROL, 1)
        for _ in range(16):
            if not self.status() & 1:
                break
            self.link.write_register(WATCHDOG, watchdog)
        self.link.write_register(WATCHDOG, watchdog)
        assert self.status() == 0 and self.error() == (0, 0) and self.interrupts() == 0
