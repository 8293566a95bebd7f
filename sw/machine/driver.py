"""The driver: loads an image into a machine and runs it over any transport."""

import numpy as np

from xnorloom.hw.spec.config import FORMAT_VERSION
from xnorloom.hw.spec.link import HEADER_WORDS, ErrorCode, Opcode, section_header
from xnorloom.hw.spec.memory import PROFILE_COUNTERS, PROFILE_LAYERS, Memory
from xnorloom.hw.spec.registers import IDENTITY, RegisterAddress

from ..errors import DriverError
from ..head import Head, result_of
from .encode import encode_images
from .frames import MAX_SECTION, build_frame, build_sections, iterate_frames
from .layout import MapLayout, decode_planes
from .results import BatchRun, RunResult

__all__ = ["BatchRun", "Driver", "DriverError", "RunResult"]

_FRAME_WORDS = HEADER_WORDS + 1
_COUNTER_STRIDE = 8


class Driver:
    """A machine with an image.

    Parameters
    ----------
    transport : sw.machine.transport.Transport
        Link and registers; stays open when the driver is done.
    image : sw.machine.image.Image
        What it shall run.

    Raises
    ------
    DriverError
        If what answers is not the machine the image was compiled for.
    """

    def __init__(self, transport, image):
        self.transport, self.image = transport, image
        self._descriptors = image.descriptors()
        self._check_machine()

    def _check_machine(self):
        for address, expected in ((RegisterAddress.IDENTITY, IDENTITY),
                                  (RegisterAddress.VERSION, FORMAT_VERSION),
                                  (RegisterAddress.FINGERPRINT, self.image.config.fingerprint)):
            value = self.transport.read_register(address)
            if value != expected:
                raise DriverError(f"Machine {address.name.lower()} register must be "
                                  f"{expected:#010x} for this image, not {value:#010x}")

    def reset(self):
        """Clears an error; the image must be loaded again."""
        self.transport.write_register(RegisterAddress.CONTROL, 1)

    def load(self):
        """Sends the image.

        Raises
        ------
        DriverError
            If the machine does not take it.
        """
        self._exchange([self._frame(Opcode.IMAGE, self.image.program)], expect=0)
        if not self.transport.read_register(RegisterAddress.STATUS) & 4:
            raise DriverError("Machine must report the image as loaded, but does not")

    def run(self, images, *, observe=False, progress=None):
        """Runs images through the network, batch by batch.

        Parameters
        ----------
        images : array, shape ``(n, channels, height, width)``
            Real images (float), or codes (integer). For a network over vectors, images of any
            shape are flattened; one over signals takes ``(n, channels, samples)``, too.
        observe : bool
            Run layer by layer and read every map back.
        progress : callable or None
            Called with the images done and their number, after every batch.

        Returns
        -------
        RunResult

        Raises
        ------
        ValueError
            If the images do not have the network's shape, or a code is out of range.
        DriverError
            If the machine reports an error or answers wrongly.
        """
        codes = encode_images(self.image.metadata["input"], images)
        batch, layers = self.image.batch, self.image.layers
        maps: dict[str, list] = {layer["name"]: [] for layer in
                                 (layers if observe else layers[-1:]) if not layer["copy"]}
        runs = []
        for start in range(0, len(codes), batch):
            part = codes[start:start + batch]
            results, cost = self._run_batch(part, maps, observe)
            for name, values in results.items():
                maps[name].append(values[:len(part)])
            runs.append(cost)
            if progress is not None:
                progress(start + len(part), len(codes))
        whole = {name: np.concatenate(parts) for name, parts in maps.items()}
        return self._result(whole, runs, observe)

    def _result(self, maps, runs, observe):
        last, head = self.image.layers[-1], self.image.metadata.get("head")
        left, raw = maps[last["name"]], last["raw"]
        outputs = result_of(left, last["frac_bits"] if raw else None, last["sign"],
                            None if head is None else Head.of(head))
        return RunResult(outputs, left if raw else None, maps if observe else {}, runs)

    def _run_batch(self, codes, wanted, observe):
        """Runs one batch; returns maps by name of layer, and the cost."""
        described, count = self.image.metadata["input"], len(self.image.layers)
        layout = MapLayout(**described["layout"])
        full = np.zeros((layout.images, *codes.shape[1:]), dtype=np.uint8)
        full[:len(codes)] = codes
        banks = layout.pack(full, described["table"])
        frames = [self._frame(Opcode.WRITE, np.concatenate(
            build_sections(Memory.ACTIVATIONS, banks, described["base"])))]
        # The profile keeps the counters of so many layers of one run.
        at_once = 1 if observe else PROFILE_LAYERS
        results, counters, cycles = {}, [], 0
        for first in range(0, count, at_once):
            layers = min(at_once, count - first)
            results |= self._run_layers(frames, first, layers, wanted, counters)
            cycles += self.transport.read_register(RegisterAddress.CYCLES)
            frames = []
        return results, BatchRun(cycles, counters)

    def _run_layers(self, frames, first, count, wanted, counters):
        layers = self.image.layers[first:first + count]
        frames = [*frames, self._frame(Opcode.RUN, [first | count << 16])]
        raw = {number: self._raw_shape(number) for number, layer in enumerate(layers, first)
               if layer["raw"]}
        expect = sum(shape[0] * shape[1] for shape in raw.values()) * (
            self.image.config.rows * self.image.config.cols + _FRAME_WORDS) + _FRAME_WORDS + 1
        reads = [(Memory.PROFILE, 0, _COUNTER_STRIDE * (number % PROFILE_LAYERS), _COUNTER_STRIDE)
                 for number in range(first, first + count)]
        stored = [layer for layer in layers if not layer["raw"] and layer["name"] in wanted]
        for layer in stored:
            reads += self._map_reads(layer["output"])
        for memory, bank, start, entries in reads:
            frames.append(self._frame(Opcode.READ, section_header(memory, bank, start, entries)))
            expect += _FRAME_WORDS + entries * (
                self.image.config.lane_words if memory is Memory.ACTIVATIONS else 1)
        answers = self._exchange(frames, expect)

        results = {}
        for number, shape in raw.items():
            tiles = self._take(answers, Opcode.RESULT, shape[0] * shape[1], shape[2] * shape[3])
            if self.image.layers[number]["name"] in wanted:
                results[self.image.layers[number]["name"]] = self._raw_map(number, tiles, shape)
        (done,) = self._take(answers, Opcode.DONE, 1, 1)
        if done[0] != count:
            raise DriverError(f"Machine must run {count} layers, not {int(done[0])}")
        for values in self._take(answers, Opcode.DATA, count, _COUNTER_STRIDE):
            counters.append({name: int(value) for name, value in
                             zip(PROFILE_COUNTERS, values[:len(PROFILE_COUNTERS)], strict=True)})
        for layer in stored:
            results[layer["name"]] = self._take_map(answers, layer["output"])
        return results

    def _raw_shape(self, number):
        layer = self._descriptors[number]
        return (layer["col_tiles"], layer["pixel_tiles"], self.image.config.rows,
                self.image.config.cols)

    def _raw_map(self, number, tiles, shape):
        """Accumulators from the tiles of a raw layer: int64 map of the whole batch."""
        fields, layer = self._descriptors[number], self.image.layers[number]
        outputs, height, width = layer["out_shape"]
        values = np.stack(tiles).view(np.int32).astype(np.int64).reshape(shape)
        values = values.transpose(1, 2, 0, 3).reshape(shape[1] * shape[2], -1)[:, :outputs]
        image = np.arange(self.image.batch)[:, None, None]
        index = (np.arange(height)[:, None] * fields["walk"]
                 + np.arange(width) * self.image.batch + image)
        return values[index].transpose(0, 3, 1, 2) >> layer["extra_bits"]

    def _map_reads(self, described):
        words, base = MapLayout(**described["layout"]).bank_words, described["base"]
        return [(Memory.ACTIVATIONS, bank, base + start, min(MAX_SECTION, words - start))
                for bank in range(self.image.config.rows)
                for start in range(0, words, MAX_SECTION)]

    def _take_map(self, answers, described):
        layout = MapLayout(**described["layout"])
        parts = [self._take(answers, Opcode.DATA, 1, count * self.image.config.lane_words)[0]
                 for _memory, _bank, _start, count in self._map_reads(described)]
        banks = np.concatenate(parts).reshape(layout.rows, layout.bank_words, -1)
        try:
            return decode_planes(layout.unpack(banks),
                                 described["table"])
        except ValueError as error:
            raise DriverError(str(error)) from None

    def _frame(self, opcode, payload):
        return build_frame(opcode, payload, self.image.config.fingerprint)

    def _exchange(self, frames, expect):
        """Sends frames; returns an iterator over opcode and payload of the machine's."""
        words = self.transport.exchange(np.concatenate(frames), expect)
        code = self.transport.read_register(RegisterAddress.ERROR_CODE)
        if code != ErrorCode.NONE:
            word = self.transport.read_register(RegisterAddress.ERROR_WORD)
            known = code in list(ErrorCode)
            raise DriverError(f"Machine reports {_describe(code, word)}",
                              ErrorCode(code) if known else None, word)
        try:
            answers = list(iterate_frames(words, self.image.config.fingerprint))
        except ValueError as error:
            raise DriverError(f"Machine must answer in frames, but does not: {error}") from None
        if len(words) != expect:
            raise DriverError(f"Machine must answer with {expect} words, not {len(words)}")
        return iter(answers)

    @staticmethod
    def _take(answers, opcode, count, words):
        """Payloads of the next ``count`` frames."""
        payloads = []
        for _ in range(count):
            kind, payload = next(answers, (None, ()))
            if kind is not opcode or len(payload) != words:
                raise DriverError(f"Machine must answer with a {opcode.name} frame of {words} "
                                  f"words, not {kind!r} of {len(payload)}")
            payloads.append(payload)
        return payloads


def _describe(code, word):
    if code not in list(ErrorCode):
        return f"unknown error {code} at word {word}"
    name = ErrorCode(code).name
    if code == ErrorCode.ADDRESS:
        memory = word & 0xFF
        title = Memory(memory).name.lower() if memory in list(Memory) else f"number {memory}"
        return f"error {name}: layer {word >> 8} leaves memory {title}"
    if code == ErrorCode.WATCHDOG:
        return f"error {name}: layer {word} makes no progress"
    if code == ErrorCode.DESCRIPTOR:
        return f"error {name} at word {word} of program memory"
    return f"error {name} at word {word} of its frame"
