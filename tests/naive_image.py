"""A host that runs an ``.xlm`` file by docs/memory-format.md alone, given nothing but the file."""

import json
import struct
import zlib

import numpy as np

from tests.naive_host import (
    DONE,
    IMAGE,
    RESULT,
    RUN,
    Host,
    Banks,
    Request,
    Shape,
    ceil,
    frames,
    store,
)


class File:
    """A program and what its file tells of it."""

    def __init__(self, data):
        magic, version, self.fingerprint, length = struct.unpack_from("<4sIII", data)
        assert magic == bytes([0x89, 0x58, 0x4C, 0x4D]) and version == 1 and length == len(data)
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
        layout = described["layout"]
        each = Map(self.shape, layout["images"],
                   (layout["channels"], layout["height"], layout["width"]),
                   np.array(described["table"]), (layout["stride_y"], layout["stride_x"]),
                   (layout["pitch_y"], layout["pitch_x"]))
        each.base = described["base"]
        assert (each.planes, self.shape.rows, self.shape.lanes) == (
            layout["planes"], layout["rows"], layout["lanes"])
        return each

    def codes(self, pixels):
        """Codes of the input map from images of real numbers, their taps gathered if it asks so."""
        described = self.meta["input"]
        codes = np.clip(np.rint(pixels / described["step"]), 0, len(described["table"]) - 1)
        codes = codes.astype(np.int64)
        folded = described["folded"]
        if folded is None:
            return codes
        (kh, kw), (sy, sx), (py, px) = folded["kernel"], folded["stride"], folded["padding"]
        padded = np.pad(codes, ((0, 0), (0, 0), (py, py), (px, px)),
                        constant_values=folded["pad_code"])
        height = (padded.shape[2] - kh) // sy + 1
        width = (padded.shape[3] - kw) // sx + 1
        gathered = np.zeros((len(codes), codes.shape[1] * kh * kw, height, width), dtype=np.int64)
        for channel, y, x in np.ndindex(gathered.shape[1:]):
            c, ky, kx = channel // (kh * kw), channel // kw % kh, channel % kw
            gathered[:, channel, y, x] = padded[:, c, y * sy + ky, x * sx + kx]
        return gathered

    def run(self, link, pixels):
        """Outputs of a network whose last layer is raw: ``sign * acc / 2^f``."""
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
        return np.concatenate(outputs)

    def _values(self, tiles):
        layer = self.meta["layers"][-1]
        maps = {"input": self.meta["input"],
                **{each["name"]: each["output"] for each in self.meta["layers"]}}
        read = self.map(maps[layer["source"]])
        rows, cols, channels = self.shape.rows, self.shape.cols, layer["out_shape"][0]
        values = np.zeros((self.meta["batch"], *layer["out_shape"]))
        for image, c, y, x in np.ndindex(values.shape):
            n = (image * read.pitch_y + y) * read.pitch_x + x
            opcode, words = tiles[n // rows * ceil(channels, cols) + c // cols]
            assert opcode == RESULT
            acc = words[n % rows * cols + c % cols]
            sign = 1 if layer["sign"] is None else layer["sign"][c]
            values[image, c, y, x] = sign * (acc - (acc >> 31 << 32)) * 2.0 ** -layer["frac_bits"]
        return values
