"""Frames and sections of the host link in numpy, word for word as :mod:`hw.spec.link` says."""

import zlib

import numpy as np

from xnorloom.hw.spec.config import FORMAT_VERSION
from xnorloom.hw.spec.link import HEADER_WORDS, MAGIC, Opcode

__all__ = ["MAX_SECTION", "build_frame", "build_sections", "crc32_words", "iterate_frames",
           "iterate_sections"]

MAX_SECTION = 0xFFFF
"""Most entries that one section can carry: its count has 16 bits."""


def crc32_words(words):
    """CRC-32 (ISO-HDLC) over a uint32 array, as little-endian bytes."""
    return zlib.crc32(np.ascontiguousarray(words, dtype="<u4").tobytes())


def build_frame(opcode, payload, fingerprint):
    """Builds a frame: uint32 array of ``len(payload) + 4`` words."""
    payload = np.asarray(payload, dtype=np.uint32)
    head = np.array([MAGIC | FORMAT_VERSION << 16 | int(opcode) << 24, fingerprint, len(payload)],
                    dtype=np.uint32)
    words = np.concatenate([head, payload])
    return np.append(words, np.uint32(crc32_words(words)))


def iterate_frames(words, fingerprint):
    """Takes apart what a machine sent.

    Yields
    ------
    tuple of Opcode, uint32 array
        Opcode and payload of every frame.

    Raises
    ------
    ValueError
        If a frame is cut off, is not of this machine and version, or fails its checksum.
    """
    position = 0
    while position < len(words):
        head = words[position:position + HEADER_WORDS]
        if len(head) < HEADER_WORDS:
            raise ValueError(f"Frame must be at least {HEADER_WORDS + 1} words, "
                             f"not {len(words) - position}")
        if int(head[0]) & 0xFFFFFF != MAGIC | FORMAT_VERSION << 16 or int(head[1]) != fingerprint:
            raise ValueError(f"Frame must start with the magic and fingerprint of this machine, "
                             f"not {int(head[0]):#010x} {int(head[1]):#010x}")
        end = position + HEADER_WORDS + int(head[2])
        if end >= len(words):
            raise ValueError(f"Frame must be {int(head[2]) + HEADER_WORDS + 1} words, "
                             f"not {len(words) - position}")
        if crc32_words(words[position:end]) != int(words[end]):
            raise ValueError(f"Frame must end with its checksum, not {int(words[end]):#010x}")
        try:
            opcode = Opcode(int(head[0]) >> 24)
        except ValueError:
            raise ValueError(f"Frame must have a known opcode, not {int(head[0]) >> 24}") from None
        yield opcode, words[position + HEADER_WORDS:end]
        position = end + 1


def build_sections(memory, banks, start=0):
    """Sections that fill a range of addresses of all banks of a memory.

    Parameters
    ----------
    memory : hw.spec.memory.Memory
        Where they go.
    banks : uint32 array, shape ``(banks, entries, words per entry)``
        Contents.
    start : int
        First address.

    Returns
    -------
    list of uint32 array
    """
    sections = []
    banks = np.asarray(banks, dtype=np.uint32)
    for first in range(0, banks.shape[1], MAX_SECTION):
        part = banks[:, first:first + MAX_SECTION]
        words = np.empty((len(part), 2 + part[0].size), dtype=np.uint32)
        words[:, 0] = int(memory) | np.arange(len(part), dtype=np.uint32) << np.uint32(8)
        words[:, 1] = (start + first) | part.shape[1] << 16
        words[:, 2:] = part.reshape(len(part), -1)
        sections.append(words.ravel())
    return sections


def iterate_sections(payload, shapes):
    """Takes apart the payload of an ``IMAGE`` or ``WRITE`` frame.

    Parameters
    ----------
    payload : uint32 array
        Well-formed sections.
    shapes : dict
        ``Memory -> Bank``, from :func:`hw.spec.memory.banks`.

    Yields
    ------
    tuple of Memory, int, int, uint32 array
        Memory, bank, start and entries of shape ``(count, words per entry)``.

    Raises
    ------
    ValueError
        If a section names no memory of the machine or runs past the payload.
    """
    numbers = {int(memory): memory for memory in shapes}
    position = 0
    while position < len(payload):
        if position + 2 > len(payload) or int(payload[position]) & 0xFF not in numbers:
            raise ValueError(f"Section at word {position} must name a memory of the machine")
        memory = numbers[int(payload[position]) & 0xFF]
        bank, range_word = int(payload[position]) >> 8, int(payload[position + 1])
        start, count = range_word & 0xFFFF, range_word >> 16
        shape = shapes[memory]
        end = position + 2 + count * shape.entry_words
        if end > len(payload) or bank >= shape.count or start + count > shape.depth:
            raise ValueError(f"Section at word {position} must lie inside its payload and the "
                             f"{memory.name.lower()} memory")
        yield memory, bank, start, payload[position + 2:end].reshape(count, shape.entry_words)
        position = end
