"""Records: named bit fields in 32-bit words, the one description that all parties pack from."""

from dataclasses import dataclass

__all__ = ["WORD_BITS", "Field", "Record"]

WORD_BITS = 32
"""Width of a word of the host link and of program memory."""


@dataclass(frozen=True)
class Field:
    """One bit field of a record.

    Parameters
    ----------
    name : str
        Name, an identifier.
    bits : int
        Width, including the sign.
    doc : str
        What it means, with its unit; one phrase.
    signed : bool
        Whether it is in two's complement.
    """

    name: str
    bits: int
    doc: str
    signed: bool = False

    @property
    def range(self):
        """Smallest and largest value that fits the width."""
        if self.signed:
            return -(1 << (self.bits - 1)), (1 << (self.bits - 1)) - 1
        return 0, (1 << self.bits) - 1


class Record:
    """An ordered set of fields laid out in words, the first field in the low bits of its word.

    Parameters
    ----------
    name : str
        What the record describes; used in messages.
    *words : tuple of Field
        The fields of each word, from bit 0 up. A field never straddles two words.
    """

    def __init__(self, name, *words):
        self.name = name
        self.words = words
        self.fields = {field.name: field for word in words for field in word}
        self._places = {}
        for index, word in enumerate(words):
            shift = 0
            for field in word:
                self._places[field.name] = (index, shift)
                shift += field.bits
            if shift > WORD_BITS:
                raise ValueError(f"{name} word {index} must hold at most {WORD_BITS} bits, "
                                 f"not {shift}")

    def __len__(self):
        return len(self.words)

    @property
    def used(self):
        """Words up to the last one with a field."""
        return max(index for index, word in enumerate(self.words, 1) if word)

    def place(self, name):
        """Word index and bit offset of a field."""
        return self._places[name]

    def pack(self, **values):
        """Packs field values into a list of words; absent fields are 0.

        Raises
        ------
        ValueError
            If a field is unknown or its value does not fit its width.
        """
        words = [0] * len(self.words)
        for name, value in values.items():
            if name not in self.fields:
                raise ValueError(f"{self.name} has no field {name!r}")
            field, value = self.fields[name], int(value)
            low, high = field.range
            if not low <= value <= high:
                raise ValueError(f"{self.name} field '{name}' must be from {low} to {high}, "
                                 f"not {value}")
            index, shift = self._places[name]
            words[index] |= (value & ((1 << field.bits) - 1)) << shift
        return words

    def unpack(self, words):
        """Reads all fields of a record out of its words, as a dictionary."""
        if len(words) != len(self.words):
            raise ValueError(f"{self.name} must be {len(self.words)} words, not {len(words)}")
        values = {}
        for name, (index, shift) in self._places.items():
            field = self.fields[name]
            value = (int(words[index]) >> shift) & ((1 << field.bits) - 1)
            if field.signed and value >> (field.bits - 1):
                value -= 1 << field.bits
            values[name] = value
        return values
