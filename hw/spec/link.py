"""The host link: frames of 32-bit words, opcodes and error codes.

Every frame, both ways, is ::

    magic | version << 16 | opcode << 24        word 0
    fingerprint of the machine                  word 1
    length of the payload in words              word 2
    payload
    CRC-32 (ISO-HDLC) of all words before it, as little-endian bytes

Payloads from the host
    ``IMAGE``, ``WRITE``: sections until the payload ends. A section is two words,
    ``memory | bank << 8 | after << 16`` and ``start | count << 16``, then ``count * entry_words``
    words; ``after`` is reserved and 0.
    ``IMAGE`` replaces the program: it alone lets the machine run.
    ``RUN``: one word, ``first layer | layers << 16``. ``READ``: the two words of a section header.
Payloads from the machine
    ``RESULT``: ``rows * cols`` accumulators, sign-extended, of one (pixel tile, column tile) of a
    raw layer: rows outer, columns inner. ``DATA``: the entries a ``READ`` asked for. ``DONE``: one
    word, layers run; it ends a ``RUN``.
"""

import enum
import zlib

from .config import FORMAT_VERSION

__all__ = ["ErrorCode", "HEADER_WORDS", "LENGTH_BITS", "MAGIC", "Opcode", "crc32", "frame",
           "section_header"]

MAGIC = 0x4C58
"""Low half of word 0 of every frame: the letters XL."""

LENGTH_BITS = 24
"""Bits of a payload length: at most 2 ** 24 - 1 words."""

HEADER_WORDS = 3
"""Words before the payload."""


class Opcode(enum.IntEnum):
    """What a frame asks for or brings."""

    IMAGE = 1
    WRITE = 2
    RUN = 3
    READ = 4
    RESULT = 0x81
    DATA = 0x82
    DONE = 0x83


class ErrorCode(enum.IntEnum):
    """First fault since reset, with what ``error_word`` then holds: an index counts words of the
    frame from 0. After an error the machine swallows all words until a soft reset."""

    NONE = 0
    #: Word 0 does not start with the magic. Index 0.
    MAGIC = 1
    #: The format version differs. Index 0.
    VERSION = 2
    #: The frame is for another machine. Index 1.
    FINGERPRINT = 3
    #: No such opcode from the host. Index 0.
    OPCODE = 4
    #: The payload has the wrong length for its opcode (index 2), or ends inside a section (index
    #: of its last word).
    LENGTH = 5
    #: The CRC differs. Index of the CRC.
    CHECKSUM = 6
    #: A section header, or a READ, names a memory or bank that the machine does not have or the
    #: host may not use (index of the header's first word), or entries past its end (index of
    #: the second).
    SECTION = 7
    #: RUN before an image. Index of the CRC.
    NOT_LOADED = 8
    #: A descriptor field is out of its bounds, or the descriptor past the program. Address in
    #: program memory.
    DESCRIPTOR = 9
    #: A step leaves a memory: ``memory | layer << 8``.
    ADDRESS = 10
    #: A frame stopped before its end for longer than the watchdog allows. Index of the missing
    #: word.
    LINK_TIMEOUT = 11
    #: A run made no progress for longer than the watchdog allows. The layer.
    WATCHDOG = 12


def crc32(words):
    """CRC-32 (ISO-HDLC) over words taken as little-endian bytes."""
    return zlib.crc32(b"".join(int(word).to_bytes(4, "little") for word in words))


def frame(opcode, payload, fingerprint, *, version=FORMAT_VERSION):
    """Builds a whole frame as a list of words."""
    words = [MAGIC | version << 16 | int(opcode) << 24, fingerprint, len(payload), *payload]
    return [*words, crc32(words)]


def section_header(memory, bank, start, count):
    """The two words that begin a section (and make up the payload of ``READ``)."""
    return [int(memory) | bank << 8, start | count << 16]
