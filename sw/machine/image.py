"""Program images: the ``.xlm`` file that carries a compiled network.

All numbers are little-endian. A file is ::

    bytes 89 58 4C 4D ("\\x89XLM")
    format version              32 bits
    fingerprint of the machine  32 bits
    length of the file in bytes 32 bits
    sections: four letters, length in bytes (32 bits), contents, zeros up to a multiple of 4
    CRC-32 (ISO-HDLC) of all bytes before it

Section ``META`` is JSON in UTF-8; section ``PROG`` is the payload of the machine's ``IMAGE`` frame.
"""

import json
import struct
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from xnorloom.hw.spec.config import FORMAT_VERSION, ConfigError, MachineConfig
from xnorloom.hw.spec.descriptor import DESCRIPTOR, PAIR, TAP, TERM
from xnorloom.hw.spec.memory import Memory, banks

from ..errors import ImageError
from ..files import FileError, whole_file
from .check import check_program
from .frames import iterate_sections
from .metadata import check_metadata

__all__ = ["Image", "ImageError"]

FILE_MAGIC = b"\x89XLM"
_HEADER = struct.Struct("<4sIII")
_SECTION = struct.Struct("<4sI")


@dataclass(frozen=True, eq=False)
class Image:
    """A compiled network.

    Parameters
    ----------
    config : MachineConfig
        The machine it runs on, and no other.
    metadata : dict
        What the host wants to know: ``network``, ``batch``, ``input`` (shape, encoder, folded
        kernel, base, layout, code table), ``layers`` (name, terms, shapes, passes, frac_bits,
        output map ...), ``head`` (of :class:`sw.head.Head`, or None), ``usage`` (entries per bank
        of every memory).
    program : uint32 array
        Payload of the ``IMAGE`` frame.
    """

    config: MachineConfig
    metadata: dict
    program: np.ndarray

    @property
    def layers(self):
        """Metadata of the layers, in order of execution."""
        return self.metadata["layers"]

    @property
    def batch(self):
        """Images of one run."""
        return self.metadata["batch"]

    @property
    def crc32(self):
        """Checksum of the program."""
        return zlib.crc32(np.ascontiguousarray(self.program, dtype="<u4").tobytes())

    @cached_property
    def memories(self):
        """Contents of all memories: ``Memory -> uint32 (banks, used entries, entry words)``."""
        shapes = banks(self.config)
        parts = {}
        for memory, bank, start, entries in iterate_sections(self.program, shapes):
            parts.setdefault(memory, []).append((bank, start, entries))
        contents = {}
        for memory, sections in parts.items():
            used = max(start + len(entries) for _bank, start, entries in sections)
            contents[memory] = np.zeros((shapes[memory].count, used, shapes[memory].entry_words),
                                        dtype=np.uint32)
            for bank, start, entries in sections:
                contents[memory][bank, start:start + len(entries)] = entries
        return contents

    def descriptors(self):
        """Descriptors of all layers, unpacked."""
        words = self.memories[Memory.PROGRAM][0, :, 0].reshape(-1, len(DESCRIPTOR))
        return [DESCRIPTOR.unpack(row) for row in words]

    def terms(self, descriptor):
        """Terms of a layer, unpacked: of every ``term_period`` column tiles a list of them."""
        runs = -(-descriptor["col_tiles"] // descriptor["term_period"])
        entries = self._records(Memory.TERMS, TERM, descriptor["term_base"],
                                runs * descriptor["terms"])
        return [entries[start:start + descriptor["terms"]]
                for start in range(0, len(entries), descriptor["terms"])]

    def pairs(self, term):
        """Plane pairs of a term, unpacked."""
        return self._records(Memory.PAIRS, PAIR, term["pair_base"], term["pairs"])

    def taps(self, term):
        """Kernel taps of a term, unpacked."""
        return self._records(Memory.TAPS, TAP, term["tap_base"],
                             term["groups"] * term["taps_per_group"])

    def _records(self, memory, record, start, count):
        return [record.unpack(row) for row in self.memories[memory][0, start:start + count]]

    def to_bytes(self):
        """The file's contents."""
        metadata = {"machine": self.config.as_dict(), **self.metadata}
        body = b""
        for tag, data in ((b"META", json.dumps(metadata, sort_keys=True, default=_plain).encode()),
                          (b"PROG", np.ascontiguousarray(self.program, dtype="<u4").tobytes())):
            body += _SECTION.pack(tag, len(data)) + data + bytes(-len(data) % 4)
        size = _HEADER.size + len(body) + 4
        data = _HEADER.pack(FILE_MAGIC, FORMAT_VERSION, self.config.fingerprint, size) + body
        return data + struct.pack("<I", zlib.crc32(data))

    @classmethod
    def from_bytes(cls, data, config=None):
        """Reads a file's contents.

        Parameters
        ----------
        data : bytes
        config : MachineConfig or None
            The machine it must be for, if that matters.

        Raises
        ------
        ImageError
            If the file is not whole, not of this format version, not for this machine, or if its
            metadata, descriptors or tables are not what the machine can execute.
        """
        if len(data) < _HEADER.size + 4:
            raise ImageError(f"Image must be at least {_HEADER.size + 4} bytes, not {len(data)}")
        magic, version, fingerprint, size = _HEADER.unpack_from(data)
        if magic != FILE_MAGIC:
            raise ImageError(f"Image must start with {FILE_MAGIC!r}, not {magic!r}")
        if version == 1:
            raise ImageError(f"Image must be of format version {FORMAT_VERSION}, not 1: compile "
                             "the network again with this version")
        if version != FORMAT_VERSION:
            raise ImageError(f"Image must be of format version {FORMAT_VERSION}, not {version}")
        if size != len(data):
            raise ImageError(f"Image must be {size} bytes as its header says, not {len(data)}")
        (checksum,) = struct.unpack_from("<I", data, size - 4)
        if checksum != zlib.crc32(data[:-4]):
            raise ImageError(f"Image must have checksum {zlib.crc32(data[:-4]):#010x}, not "
                             f"{checksum:#010x}")
        if config is not None and config.fingerprint != fingerprint:
            raise ImageError(f"Image must be for machine {config.name!r} (fingerprint "
                             f"{config.fingerprint:#010x}), not for {fingerprint:#010x}")
        image = cls._from_sections(_read_sections(data))
        if image.config.fingerprint != fingerprint:
            raise ImageError(f"Image must have the fingerprint of its machine, "
                             f"{image.config.fingerprint:#010x}, not {fingerprint:#010x}")
        check_metadata(image.metadata)
        check_program(image)
        return image

    @classmethod
    def _from_sections(cls, sections):
        for tag in ("META", "PROG"):
            if tag not in sections:
                raise ImageError(f"Image must have a section {tag!r}, not only {list(sections)!r}")
        try:
            metadata = json.loads(sections["META"])
            machine = metadata.pop("machine")
            if not isinstance(machine["name"], str):
                raise ValueError(f"Machine name must be a text, not {machine['name']!r}")
            config = MachineConfig.from_dict(machine)
            image = cls(config, metadata, np.frombuffer(sections["PROG"], "<u4").astype(np.uint32))
            if Memory.PROGRAM not in image.memories:
                raise ValueError("it has no program")
            image.descriptors()
        except KeyError as error:
            raise ImageError(f"Image must describe a network and its machine, but lacks the key "
                             f"{error}") from None
        except (ValueError, TypeError, AttributeError, ConfigError) as error:
            raise ImageError(f"Image must describe a network and its machine, but does not: "
                             f"{error}") from None
        return image

    def save(self, path):
        """Writes the file whole, see :func:`sw.files.whole_file`.

        Raises
        ------
        ImageError
            If the file cannot be written.
        """
        try:
            with whole_file(path, "Image") as temporary:
                temporary.write_bytes(self.to_bytes())
        except FileError as error:
            raise ImageError(str(error)) from None

    @classmethod
    def load(cls, path, config=None):
        """Reads a file; see :meth:`from_bytes`. A file that cannot be read is an error as well."""
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise ImageError(f"Image {str(path)!r} cannot be read: {error}") from None
        return cls.from_bytes(data, config)


def _read_sections(data):
    sections, position, end = {}, _HEADER.size, len(data) - 4
    while position < end:
        if position + _SECTION.size > end:
            raise ImageError(f"Image section at byte {position} must lie inside the file")
        tag, length = _SECTION.unpack_from(data, position)
        position += _SECTION.size
        if position + length > end:
            raise ImageError(f"Image section {tag!r} must lie inside the file, not take "
                             f"{length} bytes")
        sections[tag.decode("ascii", "replace")] = data[position:position + length]
        position += length + -length % 4
    return sections


def _plain(value):
    """JSON of what numpy scalars and arrays a front end left in the metadata."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"Image metadata must be plain values, not {type(value).__name__}")
