"""A host that runs an ``.xlm`` file by docs/memory-format.md alone, given nothing but the file."""

import json
import struct
import zlib

import numpy as np

from tests.naive_host import DONE, IMAGE, RESULT, RUN, Host, Request, frames, store
from tests.naive_network import ceil
from tests.naive_pack import DESCRIPTOR, DESCRIPTOR_WORDS, PROGRAM, VERSION, Banks, Shape


class File:
    """A program and what its file tells of it."""

    def __init__(self, data):
        magic, version, self.fingerprint, length = struct.unpack_from("<4sIII", data)
        assert magic == bytes([0x89, 0x58, 0x4C, 0x4D]) and version == VERSION
        assert length == len(data)
        assert struct.unpack_from("<I", data, length - 4)[0] == zlib.crc32(data[:-4])
        sections, place = {}, 16
        while place < length - 4:
            name, size = struct.unpack_from("<4sI", data, place)
            sections[name] = data[place + 8:place + 8 + size]
            place += 8 + size + -size % 4
        self.meta = json.loads(sections[b"META"].decode("utf-8"))
        self.program = np.frombuffer(sections[b"PROG"], "<u4").tolist()
        self.shape = Shape(self.meta["machine"])
        assert self.shape.fingerprint == self.fingerprint

    def map(self, described):
        """A map of the file: ``input``, or the ``output`` of a layer."""
        it = described["layout"]
        table, stride = np.array(described["table"]), (it["stride_y"], it["stride_x"])
        size, phase_banks = (it["height"], it["width"]), (it["phase_y_banks"], it["phase_x_banks"])
        lines, columns = (ceil(side, step) for side, step in zip(size, stride))
        last = ((lines - 1) * it["pitch_x"] + columns) * it["images"] - 1 + sum(
            (min(side, step) - 1) * each for side, step, each in zip(size, stride, phase_banks))
        each = Banks(self.shape, it["images"], it["channels"], size, table, stride, it["pitch_x"],
                     phase_banks, last // self.shape.rows + 1)
        each.base = described["base"]
        assert (each.planes, self.shape.rows, self.shape.lanes) == (
            it["planes"], it["rows"], it["lanes"])
        return each

    def codes(self, pixels):
        """Codes of the input map from images of real numbers, their taps gathered if it asks so."""
        given = self.meta["input"]
        if given["gain"] is not None:
            gain, shift = (np.array(given[key])[:, None, None] for key in ("gain", "shift"))
            pixels = np.asarray(pixels, dtype=np.float64) * gain + shift
        codes = np.rint(np.asarray(pixels, dtype=np.float64) / given["step"]) - given["low"]
        codes = np.clip(codes, 0, len(given["table"]) - 1).astype(np.int64)
        folded = given["folded"]
        if folded is None:
            return codes
        (kh, kw), (sy, sx), (ey, ex) = folded["kernel"], folded["stride"], folded["dilation"]
        top, bottom, left, right = folded["padding"]
        padded = np.pad(codes, ((0, 0), (0, 0), (top, bottom), (left, right)),
                        constant_values=folded["pad_code"])
        height = (padded.shape[2] - (kh - 1) * ey - 1) // sy + 1
        width = (padded.shape[3] - (kw - 1) * ex - 1) // sx + 1
        gathered = np.zeros((len(codes), codes.shape[1] * kh * kw, height, width), dtype=np.int64)
        for channel, y, x in np.ndindex(gathered.shape[1:]):
            c, ky, kx = channel // (kh * kw), channel // kw % kh, channel % kw
            gathered[:, channel, y, x] = padded[:, c, y * sy + ky * ey, x * sx + kx * ex]
        return gathered

    def run(self, link, pixels):
        """Results of a network whose last layer is raw: its head, of ``sign * acc / 2^f``."""
        host, meta = Host(self.shape, link), self.meta
        host.do([Request(IMAGE, self.program)])
        source, layers = self.map(meta["input"]), meta["layers"]
        outputs = []
        for start in range(0, len(pixels), meta["batch"]):
            codes = self.codes(pixels[start:start + meta["batch"]])
            full = np.zeros((meta["batch"], *codes.shape[1:]), dtype=np.int64)
            full[:len(codes)] = codes
            request = Request(RUN, [0 | len(layers) << 16])
            answer = host.exchange(host.frames([store(self.shape, source.sections(full)), request]))
            assert host.error() == (0, 0)
            *tiles, done = frames(self.shape, answer)
            assert done == (DONE, [len(layers)])
            outputs.append(self._values(tiles)[:len(codes)])
        return self._result(np.concatenate(outputs))

    def _result(self, values):
        """Steps of the head, channel by channel and pixel by pixel."""
        head = self.meta.get("head")
        if head is None:
            return values
        for step in head["steps"]:
            if step["name"] == "flatten":
                values = values.reshape(len(values), -1, 1, 1)
            results = np.zeros_like(values)
            for image, y, x in np.ndindex(len(values), *values.shape[2:]):
                results[image, :, y, x] = self._step(step, values[image, :, y, x].tolist())
            values = results
        return values.reshape(len(values), *head["shape"])

    def _step(self, step, channels):
        name, largest = step["name"], max(channels)
        below = [float(np.exp(np.float64(x - largest))) for x in channels]
        total = 0.0
        for each in below:
            total += each
        results = []
        for c, x in enumerate(channels):
            if name == "affine":
                x = x * step["gain"][c]
                x = x + step["shift"][c]
            elif name == "clamp":
                if step["min"] is not None and x < step["min"]:
                    x = step["min"]
                if step["max"] is not None and x > step["max"]:
                    x = step["max"]
            elif name == "prelu":
                slopes = step["slopes"]
                x = x * slopes[c if len(slopes) > 1 else 0] if x < 0 else x
            elif name == "sigmoid":
                small = float(np.exp(np.float64(-abs(x))))
                x = 1 / (1 + small) if x >= 0 else small / (1 + small)
            elif name == "tanh":
                x = float(np.tanh(np.float64(x)))
            elif name == "softmax":
                x = below[c] / total
            elif name == "log_softmax":
                x = (x - largest) - float(np.log(np.float64(total)))
            else:
                assert name == "flatten"
            results.append(x)
        return results

    def _last(self):
        """Fields of the last descriptor, out of the program's sections."""
        number = len(self.meta["layers"]) - 1
        memory, words = [0] * self.shape.program_depth, self.program
        while words:
            kind, start, count = words[0] & 0xFF, words[1] & 0xFFFF, words[1] >> 16
            if kind == PROGRAM:
                memory[start:start + count] = words[2:2 + count]
            words = words[2 + count * ceil(self.shape.memories[kind][2], 32):]
        held = memory[DESCRIPTOR_WORDS * number:DESCRIPTOR_WORDS * (number + 1)]
        return {name: held[word] >> shift & (1 << bits) - 1
                for name, (word, shift, bits) in DESCRIPTOR.items()}

    def _values(self, tiles):
        layer, fields = self.meta["layers"][-1], self._last()
        rows, cols, batch = self.shape.rows, self.shape.cols, self.meta["batch"]
        unit = 2.0 ** -(layer["frac_bits"] + layer["extra_bits"])
        values = np.zeros((batch, *layer["out_shape"]))
        for image, c, y, x in np.ndindex(values.shape):
            u, row = divmod(y * fields["walk"] + x * batch + image, rows)
            opcode, words = tiles[c // cols * fields["pixel_tiles"] + u]
            assert opcode == RESULT
            acc = words[row * cols + c % cols]
            sign = 1 if layer["sign"] is None else layer["sign"][c]
            values[image, c, y, x] = sign * (acc - (acc >> 31 << 32)) * unit
        return values
