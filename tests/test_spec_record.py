"""Records pack every value into its own bits and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xnorloom.hw.spec.descriptor import DESCRIPTOR, PAIR, TAP
from xnorloom.hw.spec.record import Field, Record


@st.composite
def records(draw):
    """A record of random fields."""
    words, count = [], 0
    for _ in range(draw(st.integers(1, 4))):
        word, left = [], 32
        while left and draw(st.booleans()):
            bits = draw(st.integers(1, left))
            word.append(Field(f"f{count}", bits, "a field", signed=draw(st.booleans())))
            left -= bits
            count += 1
        words.append(tuple(word))
    return Record("thing", *words)


@st.composite
def filled(draw):
    """A record and a value for each of its fields."""
    record = draw(st.one_of(records(), st.sampled_from([DESCRIPTOR, PAIR, TAP])))
    return record, {name: draw(st.integers(*field.range)) for name, field in record.fields.items()}


@given(filled())
def test_round_trip(case):
    record, values = case
    words = record.pack(**values)
    assert len(words) == len(record) == len(record.words)
    assert all(0 <= word < 1 << 32 for word in words)
    assert record.unpack(words) == values


@given(filled())
def test_places(case):
    """Word by word, the fields stand one above the other from bit 0 on."""
    record, values = case
    words = []
    for word in record.words:
        text = "".join(format(values[field.name] % (1 << field.bits), f"0{field.bits}b")
                       for field in reversed(word))
        words.append(int(text or "0", 2))
        assert sum(field.bits for field in word) <= 32
    assert record.pack(**values) == words
    for name, value in values.items():
        index, shift = record.place(name)
        width = record.fields[name].bits
        assert words[index] >> shift & (1 << width) - 1 == value % (1 << width)


@given(st.lists(st.integers(0, 0xFFFFFFFF), min_size=len(DESCRIPTOR), max_size=len(DESCRIPTOR)))
def test_unused_bits_are_ignored(words):
    values = DESCRIPTOR.unpack(words)
    assert DESCRIPTOR.unpack(DESCRIPTOR.pack(**values)) == values


def test_absent_fields_are_zero():
    assert TAP.pack() == [0] * len(TAP)
    assert TAP.pack(offset=-1) == [0x1FFFF, 0, 0]
    assert TAP.pack(rotation=255, end_line=7) == [255 << 17, 0, 7 << 12]


RECORD = Record("thing", (Field("low", 3, "unsigned"), Field("high", 4, "signed", signed=True)))


@pytest.mark.parametrize("values, message", [
    ({"low": 8}, "thing field 'low' must be from 0 to 7, not 8"),
    ({"low": -1}, "thing field 'low' must be from 0 to 7, not -1"),
    ({"high": 8}, "thing field 'high' must be from -8 to 7, not 8"),
    ({"high": -9}, "thing field 'high' must be from -8 to 7, not -9"),
    ({"lo": 1}, "thing has no field 'lo'")])
def test_pack_errors(values, message):
    with pytest.raises(ValueError) as caught:
        RECORD.pack(**values)
    assert str(caught.value) == message


@pytest.mark.parametrize("words", [[], [1, 2]])
def test_unpack_errors(words):
    with pytest.raises(ValueError, match=f"thing must be 1 words, not {len(words)}"):
        RECORD.unpack(words)


def test_a_word_holds_32_bits():
    Record("thing", (Field("a", 16, ""), Field("b", 16, "")))
    with pytest.raises(ValueError, match="thing word 1 must hold at most 32 bits, not 33"):
        Record("thing", (), (Field("a", 16, ""), Field("b", 17, "")))
