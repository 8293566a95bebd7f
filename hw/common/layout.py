"""Hardware views of the ground floor's records."""

from amaranth.hdl import signed, unsigned
from amaranth.lib import data

from ..spec.descriptor import PAIR, TAP, descriptor_limits

__all__ = ["PairLayout", "TapLayout", "assign_word", "layer_layout", "record_layout"]


def layer_layout(config):
    """One layer as the sequencer hands it to feed, drain and writer: every field as wide as its
    largest legal value on this machine."""
    return data.StructLayout({
        name: unsigned(max(1, high.bit_length()))
        for name, (_low, high) in descriptor_limits(config).items()})


def record_layout(record):
    """The fields of a record side by side, in their order."""
    return data.StructLayout({
        field.name: signed(field.bits) if field.signed else unsigned(field.bits)
        for field in record.fields.values()})


TapLayout = record_layout(TAP)
"""One kernel tap."""

PairLayout = record_layout(PAIR)
"""One plane pair."""


def assign_word(record, view, index, word):
    """Assignments that fill the fields of word ``index`` of ``record`` in ``view`` from
    ``word``."""
    statements = []
    for field in record.words[index]:
        _, shift = record.place(field.name)
        bits = word[shift:shift + field.bits]
        statements.append(view[field.name].eq(bits.as_signed() if field.signed else bits))
    return statements
