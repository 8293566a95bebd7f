"""A machine written from the pages in docs/ alone: memories, one step after the other, a clock.

It executes what :mod:`tests.naive_pack` packs as docs/memory-format.md tells it of descriptors and
tables, without knowing what they were made from, and counts cycles at the gate as docs/machine.md
says. It takes good frames only: what a machine says to wrong ones is tested on machines.
"""

import numpy as np

from tests.naive_host import (
    CYCLES,
    DATA,
    DONE,
    IMAGE,
    INTERRUPT,
    LAYERS,
    READ,
    RESULT,
    RUN,
    STATUS,
    constants,
    frame,
    frames,
)
from tests.naive_network import ceil
from tests.naive_pack import (
    ACTIVATIONS,
    DESCRIPTOR,
    DESCRIPTOR_WORDS,
    PAIR,
    PAIRS,
    PARAMETERS,
    PROFILE,
    PROFILE_LAYERS,
    PROGRAM,
    SCALES,
    TAP,
    TAPS,
    TERM,
    TERMS,
    VERSION,
    WEIGHTS,
)


def signed(value, bits):
    value &= (1 << bits) - 1
    return value - (value >> bits - 1 << bits)


def unpacked(places, number):
    """Fields of a record that is one number; the one signed field is that of a tap."""
    fields = {name: number >> 32 * word + shift & (1 << bits) - 1
              for name, (word, shift, bits) in places.items()}
    if places is TAP:
        fields["offset"] = signed(fields["offset"], places["offset"][2])
    return fields


class Gate:
    """When steps are issued; cycles are counted from the begin of the layer."""

    def __init__(self, shape, fields):
        k = constants()
        self.shape, self.fields = shape, fields
        self.drain = shape.rows // shape.units
        self.first = max(k["tables"], shape.rows + 1)
        self.positions = shape.rows // (2 if shape.units % 2 == 0 and fields["pixel_pairs"] else 1)
        self.again = max(self.drain, k["scale"]) if fields["rescale"] else 0
        drained = (k["feed"] + k["element"] + shape.popcount_stages + shape.rows + shape.cols - 2
                   + self.drain - 1)
        found = (self.again + k["scale"] + k["clip"] if fields["rescale"] else
                 k["scale"] + shape.code_bits)
        put = k["write"] + k["pool"] * (shape.pool_depth > 0)
        bits, turns = fields["map_bits"], fields["turns"]
        behind = max(0, ceil(shape.rows, turns) + (turns - 1) * bits - shape.rows)
        if fields["pool"]:
            behind = (shape.rows - 1) * (fields["pool_cycles"] - 1)
        self.leave = drained + found + put + bits + behind
        if fields["raw"]:
            self.leave = drained + k["scale"] + k["frame"] + shape.rows * shape.cols
        self.load = fields["block"] + k["parameters"]
        self.now, self.loaded, self.drained, self.tiled = self.first - 1, 0, None, None
        self.counters = {"busy": 0, "drain": 0, "output": 0, "input": 0}

    def step(self, *, ends_pass, first_pass, ends_tile, first_tile):
        self.now += 1
        self.counters["busy"] += 1
        if not ends_pass:
            return
        if self.drained is not None:
            self._until("drain", self.drained + self.drain + self.again * first_pass)
        if first_pass and first_tile:
            self._until("input", self.loaded + self.load)
            self.loaded = self.now
        if self.fields["raw"] and self.tiled is not None:
            self._until("output", self.tiled + self.leave + 1)
        if ends_tile:
            self._until("output", self.first + self.positions - 1 if self.tiled is None
                        else self.tiled + self.fields["tile_cycles"])
            self.tiled = self.now
        if first_pass and first_tile:
            self.loaded = self.now
        self.drained = self.now

    def _until(self, cause, cycle):
        if cycle > self.now:
            self.counters[cause] += cycle - self.now
            self.now = cycle


class Machine:
    """A transport: ``exchange``, ``read_register``, ``write_register``."""

    def __init__(self, shape):
        self.shape = shape
        self.memories = {memory: [[0] * depth for _ in range(count)]
                         for memory, (count, depth, _bits) in shape.memories.items()}
        self.registers = {0: int.from_bytes(b"LOOM", "little"), 1: VERSION, 2: shape.fingerprint}

    def read_register(self, address):
        return self.registers.get(address, 0)

    def write_register(self, address, value):
        if address == INTERRUPT:
            self.registers[INTERRUPT] = self.read_register(INTERRUPT) & ~value
        elif address == 6:
            self.registers[STATUS] = self.registers[INTERRUPT] = 0

    def exchange(self, words):
        answer = []
        for opcode, payload in frames(self.shape, words):
            if opcode == RUN:
                answer += self._run(payload[0] & 0xFFFF, payload[0] >> 16)
            elif opcode == READ:
                bank, start, count, size = self._header(payload)
                entries = [entry >> 32 * part & 0xFFFFFFFF for entry in bank[start:start + count]
                           for part in range(size)]
                answer += frame(self.shape, DATA, entries)
            else:
                self._store(payload)
                if opcode == IMAGE:
                    self.registers[STATUS] = 4
        return np.array(answer, dtype=np.uint32)

    def _header(self, words):
        memory, number = words[0] & 0xFF, words[0] >> 8
        return (self.memories[memory][number], words[1] & 0xFFFF, words[1] >> 16,
                ceil(self.shape.memories[memory][2], 32))

    def _store(self, payload):
        while payload:
            bank, start, count, size = self._header(payload)
            for number in range(count):
                part = payload[2 + number * size:2 + (number + 1) * size]
                bank[start + number] = sum(word << 32 * k for k, word in enumerate(part))
            payload = payload[2 + count * size:]

    def _run(self, first, count):
        fetch, total, waiting = constants()["fetch"], 0, constants()["fetch"]
        answer = []
        for layer in range(first, first + count):
            start = DESCRIPTOR_WORDS * layer
            words = self.memories[PROGRAM][0][start:start + DESCRIPTOR_WORDS]
            fields = unpacked(DESCRIPTOR, sum(word << 32 * k for k, word in enumerate(words)))
            run = LayerRun(self, fields)
            answer += [word for tile in run.results
                       for word in frame(self.shape, RESULT, tile)]
            counts = run.gate.counters
            cycles = run.gate.now + run.gate.leave + 1
            place = 8 * (layer % PROFILE_LAYERS)
            self.memories[PROFILE][0][place:place + 5] = [
                cycles, counts["busy"], counts["drain"], counts["output"],
                counts["input"] + waiting]
            total += cycles + waiting
            waiting = max(1, fetch - cycles)
        self.registers |= {CYCLES: total, LAYERS: count,
                           INTERRUPT: self.read_register(INTERRUPT) | 1}
        return answer + frame(self.shape, DONE, [count])


class LayerRun:
    """One layer, executed; ``results`` are the payloads of a raw one."""

    def __init__(self, machine, fields):
        self.shape, self.fields = machine.shape, fields
        self.banks, self.results = machine.memories, []
        self.gate = Gate(self.shape, fields)
        for column in range(fields["col_tiles"]):
            self.written = self.pooled = None
            self.open: dict = {}
            for u, tile in enumerate(self._walked()):
                self._tile(column, u, tile)

    def _walked(self):
        f, tile = self.fields, 0
        for u in range(f["pixel_tiles"]):
            yield tile
            tile += 1 if (u + 1) % f["line_tiles"] else 1 + f["line_skip"]

    def _pixel(self, u, row):
        """Line and column place of a pixel, and whether it is written."""
        f = self.fields
        y, c = divmod(u * self.shape.rows + row, f["walk"])
        return y, c, c < f["walk_width"] and y < f["out_lines"]

    def _record(self, memory, places, address):
        return unpacked(places, self.banks[memory][0][address])

    def _tile(self, column, u, tile):
        f, rows, cols = self.fields, range(self.shape.rows), range(self.shape.cols)
        pixels = [self._pixel(u, row) for row in rows]
        acc = [[self._bias(column, col, pixels[row]) for col in cols] for row in rows]
        passes = [*self._passes(column, u, tile, pixels)]
        for number, counts in enumerate(passes):
            for col in cols:
                entry = self.banks[SCALES][col][
                    f["scale_base"] + column * self._scales() + number]
                scale = signed(entry, self.shape.scale_bits)
                for row in rows:
                    value = acc[row][col]
                    if entry >> self.shape.scale_bits:
                        value = max(value, 0)
                    acc[row][col] = signed(value + scale * counts[row][col], self.shape.acc_bits)
        assert len(passes) == f["passes"]
        if f["raw"]:
            self.results.append([value & 0xFFFFFFFF for row in acc for value in row])
            return
        codes = [[self._code(column, col, acc[row][col]) for col in cols] for row in rows]
        if f["pool"]:
            for row in rows:
                self._pool(column, *pixels[row], codes[row])
            return
        used: dict = {}
        for row in rows:
            y, c, alive = pixels[row]
            if alive:
                place = self._write(column, y, c, codes[row])
                turn = row * f["turns"] // self.shape.rows, place
                assert turn not in used, "two pixels of a turn in one bank"
                used[turn] = row
        if self.shape.units % 2 == 0 and f["pixel_pairs"]:
            assert f["turns"] == 1 and not f["raw"] and self._biases() == 1
            banks = {row: bank for (_turn, bank), row in used.items()}
            for row in rows[::2]:
                assert pixels[row][0] == pixels[row + 1][0], "a pair on two lines"
                if row + 1 in banks:
                    assert (banks[row] + 1 - banks[row + 1]) % len(rows) == 0, "a pair apart"

    def _passes(self, column, u, tile, pixels):
        """Counts of every pass, ``[row][column]``."""
        f, shape = self.fields, self.shape
        list_base = f["term_base"] + column // f["term_period"] * f["terms"]
        weights = f["weight_base"] + column * f["col_tile_words"]
        done = 0
        for number in range(f["terms"]):
            term = self._record(TERMS, TERM, list_base + number)
            for group in range(term["groups"]):
                for k in range(term["pairs"]):
                    pair = self._record(PAIRS, PAIR, term["pair_base"] + k)
                    if pair["clear"]:
                        counts = [[0] * shape.cols for _ in range(shape.rows)]
                    if pair["double"]:
                        counts = [[2 * count for count in row] for row in counts]
                    for t in range(term["taps_per_group"]):
                        place = group * term["taps_per_group"] + t
                        tap = self._record(TAPS, TAP, term["tap_base"] + place)
                        first = (weights + term["weight_offset"] + pair["weight_offset"]
                                 + place * term["words"])
                        for word in range(term["words"]):
                            for row, pixel in enumerate(pixels):
                                seen = self._operand(term, tap, pair, tile, row, pixel, word)
                                for col in range(shape.cols):
                                    wanted = self.banks[WEIGHTS][col][first + word]
                                    counts[row][col] += (seen ^ wanted).bit_count()
                            ends = (pair["drain"] and t == term["taps_per_group"] - 1
                                    and word == term["words"] - 1)
                            self.gate.step(ends_pass=ends, first_pass=done == 0,
                                           ends_tile=done == f["passes"] - 1, first_tile=u == 0)
                    if pair["drain"]:
                        done += 1
                        yield [[count % (1 << shape.count_bits) for count in row]
                               for row in counts]

    def _operand(self, term, tap, pair, tile, row, pixel, word):
        y, c, alive = pixel
        carry, bank = divmod(row + tap["rotation"], self.shape.rows)
        inside = (alive and tap["first_place"] <= c < tap["end_place"]
                  and tap["first_line"] <= y < tap["end_line"])
        address = term["pad_base"]
        if inside:
            address = (term["activation_base"] + (tile + carry) * term["tile_words"]
                       + tap["offset"])
        return self.banks[ACTIVATIONS][bank][address + pair["activation_offset"] + word]

    def _block(self, column, col, place):
        f = self.fields
        return self.banks[PARAMETERS][col][f["parameter_base"] + column * f["block"] + place]

    def _scales(self):
        return self.fields["passes"] + self.fields["rescale"] * (not self.fields["raw"])

    def _biases(self):
        return 16 if any(self.fields[f"border_{side}"] for side in (
            "top", "bottom", "left", "right")) else 1

    def _bias(self, column, col, pixel):
        f, (y, c, alive) = self.fields, pixel
        place = 0
        if self._biases() == 16 and alive:
            place = 4 * _class(y, f["out_lines"], f["border_top"], f["border_bottom"]) + _class(
                c // f["images"], f["walk_width"] // f["images"], f["border_left"],
                f["border_right"])
        return signed(self._block(column, col, place), self.shape.acc_bits)

    def _code(self, column, col, acc):
        f, first = self.fields, self._biases()
        if f["rescale"]:
            place = f["scale_base"] + column * self._scales() + f["passes"]
            multiplier = signed(self.banks[SCALES][col][place], self.shape.scale_bits)
            addend = signed(self._block(column, col, first), self.shape.acc_bits)
            shift = self.shape.shifts[f["shift"]]
            code = (acc >> shift) * multiplier + addend >> self.shape.down
            return min(max(code, 0), (1 << f["code_bits"]) - 1)
        node = 1
        while node < 1 << f["code_bits"]:
            threshold = self._block(column, col, first + node - 1)
            node = 2 * node + (signed(threshold, self.shape.acc_bits) <= acc)
        return node - (1 << f["code_bits"])

    def _pool(self, column, y, c, alive, codes):
        """A pixel enters all windows that hold it; the one that it is the last of is written."""
        f = self.fields
        x, image = divmod(c, f["images"])
        for oy in range(f["pool_lines"]):
            for ox in range(f["pool_width"]):
                dy = y - (oy * f["pool_stride_y"] - f["pool_top"])
                dx = x - (ox * f["pool_stride_x"] - f["pool_left"])
                if not (0 <= dy < f["pool_window_y"] and 0 <= dx < f["pool_window_x"]):
                    continue
                window = oy, ox, image
                if alive and window in self.open:
                    both = zip(self.open[window], codes)
                    self.open[window] = [max(pair) if f["pool"] == 1 else sum(pair)
                                         for pair in both]
                elif alive:
                    self.open[window] = list(codes)
                if dy == f["pool_window_y"] - 1 and dx == f["pool_window_x"] - 1:
                    self._write(column, oy, ox * f["images"] + image, self.open.pop(window))

    def _write(self, column, y, c, codes):
        """Writes the planes of a pixel of the output map; returns its bank."""
        f, shape = self.fields, self.shape
        x, image = divmod(c, f["images"])
        (line, phase_y), (place, phase_x) = divmod(y, f["out_stride_y"]), divmod(
            x, f["out_stride_x"])
        bank = (line * f["out_line_banks"] + place * f["out_column_banks"] + image
                + phase_y * f["out_phase_y_banks"] + phase_x * f["out_phase_x_banks"])
        address = (f["out_base"] + line * f["out_line_words"] + place * f["out_column_words"]
                   + phase_y * f["out_phase_y"] + phase_x * f["out_phase_x"]
                   + bank // shape.rows * f["out_tile_words"])
        word, granule = divmod(column, shape.lanes // shape.cols)
        valid = f["last_cols"] if column == f["col_tiles"] - 1 else shape.cols
        table = f["planes_low"] | f["planes_high"] << 32
        for plane in range(f["map_bits"]):
            bits = 0
            for col, code in enumerate(codes[:valid]):
                planes = table >> 4 * code & 15 if f["map_bits"] <= 4 else code
                bits |= (planes >> plane & 1) << col
            at = address + plane * f["out_plane_words"] + word
            entries = self.banks[ACTIVATIONS][bank % shape.rows]
            kept = entries[at] if granule else 0
            mask = (1 << shape.cols) - 1 << granule * shape.cols
            entries[at] = kept & ~mask | bits << granule * shape.cols
        return bank % shape.rows


def _class(place, side, before, behind):
    if place < before:
        return place
    return before if place < side - behind else before + 1 + place - (side - behind)
