"""Frames and their checksum, against zlib and Amaranth's own model of the CRC."""

import zlib

import pytest
from amaranth.lib.crc import catalog
from hypothesis import given
from hypothesis import strategies as st

from xnorloom.hw.spec.config import FORMAT_VERSION, PRESETS
from xnorloom.hw.spec.link import (
    HEADER_WORDS,
    LENGTH_BITS,
    MAGIC,
    ErrorCode,
    Opcode,
    crc32,
    frame,
    section_header,
)
from xnorloom.hw.spec.memory import Memory, banks

words = st.lists(st.integers(0, 0xFFFFFFFF), max_size=20)


@given(words)
def test_crc(values):
    data = b"".join(value.to_bytes(4, "little") for value in values)
    assert crc32(values) == zlib.crc32(data)
    assert crc32(values) == catalog.CRC32_ISO_HDLC(data_width=32).compute(values)
    assert crc32(values) == catalog.CRC32_ISO_HDLC(data_width=8).compute(data)


def test_crc_of_the_catalogue():
    check = b"12345678"
    assert crc32([int.from_bytes(check[:4], "little"), int.from_bytes(check[4:], "little")]) == (
        0x9AE0DAAF)


@given(words, st.sampled_from(Opcode), st.integers(0, 0xFFFFFFFF))
def test_frames(payload, opcode, fingerprint):
    whole = frame(opcode, payload, fingerprint)
    assert whole[0].to_bytes(4, "little") == bytes([*b"XL", FORMAT_VERSION, opcode])
    assert whole[1:HEADER_WORDS] == [fingerprint, len(payload)]
    assert whole[HEADER_WORDS:-1] == payload
    # A CRC over data and its own CRC is the same for all data.
    assert crc32(whole) == 0x2144DF1C


def test_magic_and_version():
    assert MAGIC.to_bytes(2, "little") == b"XL"
    assert frame(Opcode.RUN, [], 0, version=200)[0] == 0x03C84C58


def test_sections():
    assert section_header(Memory.WEIGHTS, 7, 0x1234, 0xABCD) == [0x0705, 0xABCD1234]
    assert section_header(Memory.PROFILE, 255, 0xFFFF, 0xFFFF) == [0xFF08, 0xFFFFFFFF]


def test_codes_are_what_hosts_know():
    assert [(code.name, int(code)) for code in Opcode] == [
        ("IMAGE", 1), ("WRITE", 2), ("RUN", 3), ("READ", 4), ("RESULT", 0x81), ("DATA", 0x82),
        ("DONE", 0x83)]
    assert [code.name for code in sorted(ErrorCode)] == [
        "NONE", "MAGIC", "VERSION", "FINGERPRINT", "OPCODE", "LENGTH", "CHECKSUM", "SECTION",
        "NOT_LOADED", "DESCRIPTOR", "ADDRESS", "LINK_TIMEOUT", "WATCHDOG"]
    assert list(map(int, ErrorCode)) == list(range(13))


@pytest.mark.parametrize("config", PRESETS.values())
def test_the_longest_image_fits_a_frame(config):
    total = sum(bank.count * (2 + bank.depth * bank.entry_words)
                for bank in banks(config).values() if bank.writable)
    assert total < 1 << LENGTH_BITS
