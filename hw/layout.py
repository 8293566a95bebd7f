"""Hardware views of the ground floor's records."""

from amaranth.hdl import signed, unsigned
from amaranth.lib import data

from .spec.descriptor import DESCRIPTOR, PAIR, TAP

__all__ = ["LayerLayout", "PairLayout", "TapLayout", "assign_word", "record_layout"]


def record_layout(record):
    """A ``data.StructLayout`` with the fields of a :class:`hw.spec.record.Record`, without its gaps."""
    return data.StructLayout({
        field.name: signed(field.bits) if field.signed else unsigned(field.bits)
        for field in record.fields.values()})


def assign_word(record, view, index, word):
    """Assignments that fill the fields of word ``index`` of ``record`` in ``view`` from ``word``."""
    statements = []
    for field in record.words[index]:
        _, shift = record.place(field.name)
        bits = word[shift:shift + field.bits]
        statements.append(view[field.name].eq(bits.as_signed() if field.signed else bits))
    return statements


LayerLayout = record_layout(DESCRIPTOR)
"""One layer, as the sequencer hands it to feed, drain and writer."""

TapLayout = record_layout(TAP)
"""One kernel tap."""

PairLayout = record_layout(PAIR)
"""One plane pair."""
