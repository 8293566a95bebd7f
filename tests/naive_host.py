"""A host written from the pages in docs/ alone; it imports nothing of the project.

docs/memory-format.md says how the machine is talked to, and docs/machine.md what it costs. The
constants of the cycle model are read out of the table of that page.
"""

import functools
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tests.naive_network import ceil
from tests.naive_pack import ACTIVATIONS, PROFILE, PROFILE_LAYERS, VERSION, table_of

IMAGE, WRITE, RUN, READ, RESULT, DATA, DONE = 1, 2, 3, 4, 0x81, 0x82, 0x83
STATUS, ERROR_CODE, ERROR_WORD, CONTROL, WATCHDOG, CYCLES, LAYERS = 3, 4, 5, 6, 7, 8, 9
INTERRUPT_ENABLE, INTERRUPT = 10, 11


def entry_words(value, bits):
    """An entry as link words, low word first, in two's complement of its own width."""
    value = int(value) % (1 << bits)
    return [value >> 32 * part & 0xFFFFFFFF for part in range(ceil(bits, 32))]


def frame(shape, opcode, payload):
    words = [0x4C58 | VERSION << 16 | opcode << 24, shape.fingerprint, len(payload), *payload]
    return [*words, zlib.crc32(np.array(words, "<u4").tobytes())]


def frames(shape, words):
    """Opcode and payload of every frame of an answer; each must be right."""
    words = [int(word) for word in words]
    while words:
        assert words[0] & 0xFFFFFF == 0x4C58 | VERSION << 16 and words[1] == shape.fingerprint
        end = 3 + words[2]
        assert len(words) > end, "the answer ends inside a frame"
        assert words[end] == zlib.crc32(np.array(words[:end], "<u4").tobytes()), "CRC"
        yield words[0] >> 24, words[3:end]
        words = words[end + 1:]


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

@functools.cache
def constants():
    """The constants of the cycle model, by name."""
    return {name: int(cycles) for name, cycles, _meaning in table_of("machine.md", "latencies")}


def layer_cost(shape, fields, lists):
    """``cycles, busy, stalled_on_drain, stalled_on_output, stalled_on_input`` of a layer, without
    what its descriptor is waited for; `lists` has the steps of every pass, for each term list."""
    k = constants()
    rows, drain = shape.rows, shape.rows // shape.units
    positions = rows // 2 if fields.get("pixel_pairs") and shape.units % 2 == 0 else rows
    first = max(k["tables"], rows + 1)
    drained = (k["feed"] + k["element"] + shape.popcount_stages + (rows - 1) + (shape.cols - 1)
               + drain - 1)
    found = k["scale"] + shape.code_bits
    if fields["rescale"]:
        found = max(drain, k["scale"]) + k["scale"] + k["clip"]
    put = k["write"] + (k["pool"] if shape.pool_depth else 0)
    if fields["raw"]:
        leave = drained + k["scale"] + k["frame"] + rows * shape.cols
    else:
        bits, turns = fields["map_bits"], fields["turns"]
        behind = max(0, ceil(rows, turns) + (turns - 1) * bits - rows)
        if fields.get("pool"):
            behind = (rows - 1) * (fields["pool_cycles"] - 1)
        leave = drained + found + put + bits + behind
    time, busy, waits = first - 1, 0, {"drain": 0, "input": 0, "output": 0}
    pass_end = tile_end = sweep_begun = None

    def wait(cause, cycle):
        nonlocal time
        waits[cause] += max(0, cycle - time)
        time = max(time, cycle)

    for column in range(fields["col_tiles"]):
        steps = lists[column // fields["term_period"]]
        busy += fields["pixel_tiles"] * sum(steps)
        for tile in range(fields["pixel_tiles"]):
            for number, count in enumerate(steps):
                time += count
                if pass_end is not None:
                    # The multiplier is taken by the accumulators of the tile before.
                    again = max(drain, k["scale"]) if fields["rescale"] and number == 0 else 0
                    wait("drain", pass_end + again + drain)
                if tile == 0 and number == 0:
                    wait("input", (sweep_begun or 0) + fields["block"] + k["parameters"])
                if fields["raw"] and tile_end is not None:
                    wait("output", tile_end + leave + 1)
                if number == len(steps) - 1:
                    wait("output", first + positions - 1 if tile_end is None
                         else tile_end + fields["tile_cycles"])
                    tile_end = time
                if tile == 0 and number == 0:
                    sweep_begun = time
                pass_end = time
    return (time + leave + 1, busy, waits["drain"], waits["output"], waits["input"])


def run_cost(shape, packed, numbers):
    """Counters of every layer of a run, in the order of the profile memory, and its cycles."""
    fetch = constants()["fetch"]
    counters, waiting, total = [], fetch, 0
    for number in numbers:
        cost = layer_cost(shape, packed.descriptors[number], packed.costs[number])
        counters.append([*cost[:4], cost[4] + waiting])
        total += cost[0] + waiting
        waiting = max(1, fetch - cost[0])
    return counters, total


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
    return read(shape, PROFILE, 0, 8 * (layer % PROFILE_LAYERS), 5)


def run(shape, packed, numbers):
    """Runs neighbouring layers; gives the maps of raw ones, by number."""
    tiles = {number: packed.descriptors[number]["pixel_tiles"]
             * packed.descriptors[number]["col_tiles"]
             for number in numbers if packed.network.layers[number].raw}

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
    fields, layer = packed.descriptors[number], packed.network.layers[number]
    assert all(opcode == RESULT and len(words) == shape.rows * shape.cols
               for opcode, words in tiles)
    values = np.zeros((packed.images, layer.outputs, *layer.map), dtype=np.int64)
    for image, m, y, x in np.ndindex(values.shape):
        tile, row = divmod(y * fields["walk"] + x * packed.images + image, shape.rows)
        _opcode, words = tiles[m // shape.cols * fields["pixel_tiles"] + tile]
        value = words[row * shape.cols + m % shape.cols]
        values[image, m, y, x] = value - (value >> 31 << 32)
    return values


class Host:
    """A machine at the other end of a link.

    The link is an object with ``exchange(words) -> words``, ``read_register(address)`` and
    ``write_register(address, value)``.
    """

    def __init__(self, shape, link):
        self.shape, self.link = shape, link
        assert link.read_register(0) == int.from_bytes(b"LOOM", "little")
        assert link.read_register(1) == VERSION
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
