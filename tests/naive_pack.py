"""A packer written from docs/memory-format.md alone; it imports nothing of the project.

Everything here is as plain as the formulas of the page, so that it can be held against them line by
line. Places of fields are read out of the tables of the page.
"""

import hashlib
import json
import re
from pathlib import Path

import numpy as np

from tests.naive_network import Rescale, Unfit, ceil, chance, pick

PROGRAM, TERMS, TAPS, PAIRS, ACTIVATIONS, WEIGHTS, SCALES, PARAMETERS, PROFILE = range(9)
VERSION = 2
DESCRIPTOR_WORDS = 32
PROFILE_LAYERS = 128
DOCS = Path(__file__).resolve().parent.parent / "docs"


def table_of(page, block):
    """Rows of a generated table of a page, without its heads."""
    text = (DOCS / page).read_text(encoding="utf-8")
    lines = re.search(rf"<!-- generated: {block} -->\n(.*?)<!-- end -->", text, re.DOTALL)[1]
    return [[cell.strip(" `") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            for line in lines.splitlines()[2:] if line.startswith("|")]


def fields_of(block):
    """Word, lowest bit and bits of every field of a record."""
    fields = {}
    for word, bits, name, *_more in table_of("memory-format.md", block):
        high, _, low = bits.partition("..")
        fields[name.partition("`")[0]] = (int(word), int(low or high),
                                          int(high) - int(low or high) + 1)
    return fields


DESCRIPTOR, TERM, TAP, PAIR = map(fields_of, ("descriptor", "term", "tap", "pair"))
LEAST = {name: int(least) for _word, _bits, name, _meaning, least, _most
         in table_of("memory-format.md", "descriptor") if least.isdigit()}


def rescale_shifts():
    """Right shifts of an accumulator, and of the sum of product and addend."""
    values = {name: value for name, value, _meaning in table_of("memory-format.md", "constants")}
    return [int(each) for each in values["shifts"].split(",")], int(values["down"])


def record(places, fields):
    """A record as one number, word 0 lowest."""
    number = 0
    for name, value in fields.items():
        word, shift, bits = places[name]
        if int(value) >> bits not in (0, -1 if name == "offset" else 0):
            raise Unfit(name)
        number |= (int(value) & (1 << bits) - 1) << 32 * word + shift
    return number


class Shape:
    """A machine by its parameters (a dictionary as the file's key ``machine`` has it)."""

    def __init__(self, parameters):
        self.parameters = {key: value for key, value in parameters.items() if key != "name"}
        for key, value in self.parameters.items():
            setattr(self, key, value)
        text = json.dumps({"version": VERSION, **self.parameters}, sort_keys=True)
        digest = hashlib.sha256(text.encode()).digest()
        self.fingerprint = int.from_bytes(digest[:4], "little")
        self.shifts, self.down = rescale_shifts()
        # Memory -> banks, entries of a bank, bits of an entry.
        self.memories = {
            PROGRAM: (1, self.program_depth, 32), TERMS: (1, self.term_depth, 160),
            TAPS: (1, self.tap_depth, 96), PAIRS: (1, self.pair_depth, 32),
            ACTIVATIONS: (self.rows, self.activation_depth, self.lanes),
            WEIGHTS: (self.cols, self.weight_depth, self.lanes),
            SCALES: (self.cols, self.scale_depth, self.scale_bits + 1),
            PARAMETERS: (self.cols, self.parameter_depth, self.acc_bits),
            PROFILE: (1, 8 * PROFILE_LAYERS, 32)}


class Banks:
    """A map in the activation banks, laid out for a stride, a line length and first banks."""

    def __init__(self, shape, images, channels, size, codes, stride, pitch_x, phase_banks, slots):
        self.shape, self.images, self.channels, self.size_yx = shape, images, channels, size
        self.codes, self.stride, self.pitch_x = codes, stride, pitch_x
        self.phase_banks, self.slots = phase_banks, slots
        self.planes = codes.shape[1]
        self.words = ceil(channels, shape.lanes)
        self.tile_words = self.planes * self.words
        self.size = stride[0] * stride[1] * slots * self.tile_words
        self.base = 0

    @classmethod
    def fitting(cls, shape, images, each, stride, pitch_x, phase_banks):
        """With as many slots as its pixels need."""
        size = each.height, each.width
        banks = cls(shape, images, each.channels, size, each.codes, stride, pitch_x, phase_banks,
                    slots=1)
        slots = 1 + max(banks.m(image, y, x) // shape.rows for image, y, x in banks.pixels())
        return cls(shape, images, each.channels, size, each.codes, stride, pitch_x, phase_banks,
                   slots)

    def m(self, image, y, x):
        (sy, sx), (banks_y, banks_x) = self.stride, self.phase_banks
        return ((y // sy * self.pitch_x + x // sx) * self.images + image
                + y % sy * banks_y + x % sx * banks_x)

    def place(self, image, y, x):
        """Bank and address of word 0 of plane 0 of a pixel."""
        m, phase = self.m(image, y, x), y % self.stride[0] * self.stride[1] + x % self.stride[1]
        return m % self.shape.rows, (self.base + (phase * self.slots + m // self.shape.rows)
                                     * self.tile_words)

    def pixels(self):
        return np.ndindex(self.images, *self.size_yx)

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
        known = {tuple(planes): code for code, planes in reversed([*enumerate(
            self.codes.tolist())])}
        values = np.zeros((self.images, self.channels, *self.size_yx), dtype=np.int64)
        for image, y, x in self.pixels():
            bank, address = self.place(image, y, x)
            entries = banks[bank][address - self.base:][:self.tile_words]
            for lane in range(self.words * self.shape.lanes):
                word, bit = divmod(lane, self.shape.lanes)
                planes = tuple(entries[plane * self.words + word] >> bit & 1
                               for plane in range(self.planes))
                if lane < self.channels:
                    values[image, lane, y, x] = known[planes]
                else:
                    assert not any(planes), "a lane without a channel must hold 0"
        return values


class Packed:
    """A network in the memories of a machine: sections ``(memory, bank, start, entries)``."""

    def __init__(self, rng, shape, network):
        self.rng, self.shape, self.network = rng, shape, network
        self.images = network.images
        self.used = dict.fromkeys(range(9), 0)
        self.sections, self.descriptors, self.costs = [], [], []
        self.first = pick(rng, 0, shape.program_depth // DESCRIPTOR_WORDS - len(network.layers))
        self.maps = self._maps()
        for each in self.maps:
            each.base = self._take(ACTIVATIONS, each.size)
        for number, layer in enumerate(network.layers):
            self._layer(number, layer)

    def _take(self, memory, count):
        """A place of so many entries, in every bank of a memory."""
        start = self.used[memory] + pick(self.rng, 0, 2)
        self.used[memory] = start + count
        if self.used[memory] > self.shape.memories[memory][1]:
            raise Unfit(f"memory {memory}")
        return start

    def _maps(self):
        """Maps that a layer reads together share their line length."""
        maps, layers = self.network.maps, self.network.layers
        for each in maps:
            if each.stride is None:
                # The host alone reads it, in any layout.
                each.stride = pick(self.rng, 1, 2), pick(self.rng, 1, 2)
        needed = [ceil(each.width, each.stride[1]) for each in maps]
        tied = [{number} for number in range(len(maps))]
        for layer in layers:
            read = sources(layer)
            together = set().union(*(tied[number] for number in read))
            most = max(reach(layer)[1], *(needed[number] for number in together))
            for number in together:
                tied[number], needed[number] = together, most
        pitches: dict = {}
        for number, together in enumerate(tied):
            least = max(needed[each] for each in together)
            pitches.setdefault(min(together), self._pitch(least))
            maps[number].pitch_x = pitches[min(together)]
        return [Banks.fitting(self.shape, self.images, each, each.stride, each.pitch_x, tuple(
            pick(self.rng, 0, self.shape.rows - 1) for _ in range(2))) for each in maps]

    def _pitch(self, least):
        """A line length; often one with which lines begin with a tile."""
        if chance(self.rng, 0.5):
            while least * self.images % self.shape.rows:
                least += 1
            return least
        return least + pick(self.rng, 0, 2)

    def _taps(self, layer, term, banks):
        (ey, ex), (pt, pl), (sy, sx) = term.dilation, term.padding, banks.stride
        (height, width), (out_height, out_width) = banks.size_yx, layer.map
        for ky, kx in np.ndindex(term.kernel):
            ty, tx = ky * ey - pt, kx * ex - pl
            delta = ((ty // sy * banks.pitch_x + tx // sx) * self.images
                     + ty % sy * banks.phase_banks[0] + tx % sx * banks.phase_banks[1])
            offset = ((ty % sy * sx + tx % sx) * banks.slots
                      + delta // self.shape.rows) * banks.tile_words
            rotation = delta % self.shape.rows
            first_line = min(out_height, max(0, ceil(-ty, sy)))
            end_line = max(0, min(out_height, (height - 1 - ty) // sy + 1))
            first_place = min(out_width, max(0, ceil(-tx, sx))) * self.images
            end_place = max(0, min(out_width, (width - 1 - tx) // sx + 1)) * self.images
            if first_line >= end_line or first_place >= end_place:
                offset = rotation = 0
            yield record(TAP, {
                "offset": offset, "rotation": rotation, "first_place": first_place,
                "end_place": end_place, "first_line": first_line, "end_line": end_line})

    def _by_column(self, memory, start, entries, outputs):
        """Sections of a column memory: ``entries(channel)`` follow each other by column tile."""
        cols = self.shape.cols
        for bank in range(min(cols, outputs)):
            listed = []
            for tile in range(ceil(outputs, cols)):
                channel = tile * cols + bank
                listed += (entries(channel) if channel < outputs
                           else [pick(self.rng, 0, 1)] * len(entries(tile * cols)))
            self.sections.append((memory, bank, start, listed))

    def _term(self, layer, term):
        """Fields of a term, and what its tile costs; tables and padding go to their places."""
        banks, taps = self.maps[term.source], term.kernel[0] * term.kernel[1]
        pairs = [(i, j, place == 0, double, place == len(each) - 1)
                 for each in term.passes for place, (i, j, double) in enumerate(each)]
        pad = self._take(ACTIVATIONS, banks.tile_words)
        padding = banks.pixel_entries([term.pad_code] * banks.channels)
        self.sections += [(ACTIVATIONS, bank, pad, padding) for bank in range(self.shape.rows)]
        tap_base = self._take(TAPS, taps)
        self.sections.append((TAPS, 0, tap_base, [*self._taps(layer, term, banks)]))
        pair_base = self._take(PAIRS, len(pairs))
        self.sections.append((PAIRS, 0, pair_base, [
            record(PAIR, {"activation_offset": i * banks.words,
                          "weight_offset": j * taps * term.words, "clear": clear,
                          "double": double, "drain": drain})
            for i, j, clear, double, drain in pairs]))
        steps = [len(each) * taps // term.groups * term.words for each in term.passes]
        return {"activation_base": banks.base + term.first_word, "pad_base": pad + term.first_word,
                "tile_words": banks.tile_words, "words": term.words, "tap_base": tap_base,
                "taps_per_group": taps // term.groups, "pair_base": pair_base,
                "pairs": len(pairs), "groups": term.groups}, steps * term.groups

    def _weights(self, term, place):
        """Entries of an output, by its place in the list."""
        lanes = self.shape.lanes
        bits = term.weights[:, place]
        return [sum(int(bit) << lane for lane, bit in enumerate(
                    bits[plane, word * lanes:(word + 1) * lanes, ky, kx]))
                for plane in range(len(bits)) for ky, kx in np.ndindex(term.kernel)
                for word in range(term.words)]

    def _layer(self, number, layer):
        shape, outputs = self.shape, layer.outputs
        tiles, each = ceil(outputs, shape.cols), layer.period * shape.cols
        term_base = self._take(TERMS, len(layer.lists) * len(layer.lists[0]))
        costs, entries, sizes = [], [], []
        for terms in layer.lists:
            offset, steps = 0, []
            for term in terms:
                fields, some = self._term(layer, term)
                entries.append(record(TERM, {**fields, "weight_offset": offset}))
                offset += len(term.weights) * term.kernel[0] * term.kernel[1] * term.words
                steps += some
            costs.append(steps)
            sizes.append(offset)
        self.sections.append((TERMS, 0, term_base, entries))
        per_tile, passes = max(sizes), len(costs[0])
        rescaled = isinstance(layer.requantize, Rescale)
        walk = self._walk(layer)
        if tiles * walk["pixel_tiles"] * max(map(sum, costs)) > 60000:
            raise Unfit("too long for a test")

        def weights(channel):
            terms = layer.lists[channel // each]
            words = [word for term in terms for word in self._weights(term, channel % each)]
            return words + [0] * (per_tile - len(words))

        def scales(channel):
            place = channel % each
            entries = [int(scale) % (1 << shape.scale_bits) | int(clamp) << shape.scale_bits
                       for term in layer.lists[channel // each]
                       for scale, clamp in zip(term.scales[:, :, place].ravel(),
                                               term.clamps[:, :, place].ravel())]
            if rescaled:
                entries.append(int(layer.requantize.multipliers[channel])
                               % (1 << shape.scale_bits))
            return entries

        weight_base = self._take(WEIGHTS, tiles * per_tile)
        self._by_column(WEIGHTS, weight_base, weights, outputs)
        scale_base = self._take(SCALES, tiles * (passes + rescaled))
        self._by_column(SCALES, scale_base, scales, outputs)
        block = len(self._parameters(layer, 0))
        parameter_base = self._take(PARAMETERS, tiles * block)
        self._by_column(PARAMETERS, parameter_base,
                        lambda channel: self._parameters(layer, channel), outputs)
        fields = {
            **{name: least for name, least in LEAST.items() if name.startswith(("pool_", "out_"))},
            "tag": 0xD5, "raw": layer.raw, "rescale": rescaled,
            "code_bits": layer.code_bits, "map_bits": 1, "turns": 1,
            "last_cols": outputs - (tiles - 1) * shape.cols, "col_tiles": tiles,
            "term_period": layer.period, "terms": len(layer.lists[0]), "block": block,
            "walk_width": layer.map[1] * self.images, "out_lines": layer.map[0],
            "tile_cycles": shape.rows * (2 if any(layer.borders) else 1),
            "images": self.images, "term_base": term_base,
            "weight_base": weight_base, "col_tile_words": per_tile, "passes": passes,
            "scale_base": scale_base, "parameter_base": parameter_base,
            **dict(zip(("border_top", "border_bottom", "border_left", "border_right"),
                       layer.borders)),
            **walk}
        if not layer.raw:
            fields |= self._output(layer, self.maps[layer.target], walk["walk"])
        self.descriptors.append(fields)
        self.costs.append(costs)
        self.sections.append((PROGRAM, 0, DESCRIPTOR_WORDS * (self.first + number),
                              descriptor(fields, self.rng)))

    def _walk(self, layer):
        """What is walked of the lines, and how many tiles that are."""
        (lines, used), pitch_x = reach(layer), self.maps[layer.lists[0][0].source].pitch_x
        places, rows = pitch_x * self.images, self.shape.rows
        walk = {"walk": places, "line_tiles": 1, "line_skip": 0}
        tiles = ceil(used * self.images, rows)
        if places % rows == 0 and tiles < places // rows:
            walk = {"walk": tiles * rows, "line_tiles": tiles, "line_skip": places // rows - tiles}
        last = (lines - 1) * walk["walk"] + used * self.images - 1
        return walk | {"pixel_tiles": last // rows + 1}

    def _parameters(self, layer, channel):
        """The block of a channel."""
        each, entries = layer.requantize, layer.biases[:, channel].tolist()
        if isinstance(each, Rescale):
            return [*entries, int(each.addends[channel])]
        if layer.raw:
            return entries
        nodes = [0] * (1 << layer.code_bits)

        def fill(node, low, high):
            if low < high:
                middle = (low + high) // 2
                nodes[node] = int(each[channel, middle])
                fill(2 * node, low, middle)
                fill(2 * node + 1, middle + 1, high)

        fill(1, 0, len(nodes) - 1)
        return [*entries, *nodes[1:]]

    def _output(self, layer, target, walk):
        rows, step, pool = self.shape.rows, target.tile_words, layer.pool
        bits, line = target.planes, target.pitch_x * self.images
        planes = sum(int(bit) << 4 * code + plane for code, bits in enumerate(target.codes[:16])
                     for plane, bit in enumerate(bits[:4]))
        if bits > 4:
            assert planes == 0xFEDCBA9876543210
        fields = {
            "map_bits": bits, "out_walk": walk, "out_base": target.base,
            "out_tile_words": step, "out_plane_words": target.words,
            "out_column_words": self.images // rows * step,
            "out_phase_x": target.slots * step,
            "out_phase_y": target.stride[1] * target.slots * step,
            "out_line_words": line // rows * step, "out_line_banks": line % rows,
            "out_column_banks": self.images % rows, "out_phase_x_banks": target.phase_banks[1],
            "out_phase_y_banks": target.phase_banks[0], "out_stride_x": target.stride[1],
            "out_stride_y": target.stride[0], "planes_low": planes & 0xFFFFFFFF,
            "planes_high": planes >> 32}
        if isinstance(layer.requantize, Rescale):
            fields["shift"] = self.shape.shifts.index(layer.requantize.shift)
        if pool is None:
            turns = pick(self.rng, self._turns(target, walk), rows)
            least, pairs = rows * (2 if any(layer.borders) else 1), chance(self.rng, 0.7)
            if self.shape.units % 2 == 0:
                pairs &= (turns == 1 and walk % 2 == 0 and target.stride[1] == 1
                          and not any(layer.borders))
                least = rows // 2 if pairs else least
            return fields | {"turns": turns, "pixel_pairs": pairs,
                             "tile_cycles": max(least, bits * turns) + pick(self.rng, 0, 1)}
        open_y, open_x = (ceil(size, step) for size, step in zip(pool.window, pool.stride))
        if open_y * pool.width * self.images > self.shape.pool_depth:
            raise Unfit("pool")
        cycles = max(bits, open_x * open_y) + pick(self.rng, 0, 1)
        return fields | {
            "pool": 1 if pool.kind == "max" else 2, "pool_window_y": pool.window[0],
            "pool_window_x": pool.window[1], "pool_stride_y": pool.stride[0],
            "pool_stride_x": pool.stride[1], "pool_top": pool.padding[0],
            "pool_left": pool.padding[1], "pool_cycles": cycles, "pool_width": pool.width,
            "pool_lines": pool.lines, "pool_open_y": open_y, "pool_open_x": open_x,
            "out_walk": pool.width * self.images,
            "tile_cycles": rows * max(cycles, 2) + pick(self.rng, 0, 1)}

    def _turns(self, target, walk):
        """The fewest turns in which no two pixels of a turn lie in one bank."""
        pixels = [(*divmod(y * walk + x * self.images + image, self.shape.rows),
                   target.place(image, y, x)[0]) for image, y, x in target.pixels()]
        for turns in range(1, self.shape.rows):
            places = [(tile, row * turns // self.shape.rows, bank) for tile, row, bank in pixels]
            if len(set(places)) == len(places):
                return turns
        return self.shape.rows


def random_inputs(rng, network):
    """Codes of the maps that the host writes."""
    shapes = [(network.maps[number], network.images) for number in network.inputs]
    return [rng.integers(0, len(each.codes), (images, each.channels, each.height, each.width))
            for each, images in shapes]


def sources(layer):
    """Numbers of the maps that a layer reads."""
    return {term.source for terms in layer.lists for term in terms}


def reach(layer):
    """Lines and columns that are needed: those of the map, or of the last window beyond it."""
    if layer.pool is None:
        return layer.map
    pool = layer.pool
    return tuple(max(side, (count - 1) * step - pad + size) for side, count, step, pad, size in zip(
        layer.map, (pool.lines, pool.width), pool.stride, pool.padding, pool.window))


def descriptor(fields, rng=None):
    """Words of a descriptor; with `rng`, any bits outside all fields."""
    number = record(DESCRIPTOR, fields)
    words = [number >> 32 * word & 0xFFFFFFFF for word in range(DESCRIPTOR_WORDS)]
    if rng is not None:
        held = record(DESCRIPTOR, {name: (1 << bits) - 1
                                   for name, (_word, _shift, bits) in DESCRIPTOR.items()})
        for place, noise in enumerate(rng.integers(0, 1 << 32, DESCRIPTOR_WORDS).tolist()):
            words[place] |= noise & ~(held >> 32 * place)
    return words
