"""Hardware views of the ground floor's records."""

from amaranth.hdl import signed, unsigned
from amaranth.lib import data

from ..spec.descriptor import (
    COLUMN_FIELDS,
    FEED_FIELDS,
    OUTPUT_FIELDS,
    PAIR,
    TAP,
    TERM,
    descriptor_limits,
)

__all__ = ["PairLayout", "TapLayout", "assign_word", "column_layout", "feed_layout", "layer_layout",
           "output_layout", "record_layout", "term_layout"]


def layer_layout(config, fields=None):
    """Fields of a descriptor that this machine reads, every one as wide as its largest legal
    value."""
    limits = descriptor_limits(config)
    if config.pixels_per_cycle == 1:
        del limits["pixel_pairs"]
    return data.StructLayout({name: unsigned(max(1, limits[name][1].bit_length()))
                              for name in fields or limits if name in limits})


def feed_layout(config):
    """What the feed knows of a layer."""
    return layer_layout(config, FEED_FIELDS)


def column_layout(config):
    """What the columns know of a layer."""
    return layer_layout(config, COLUMN_FIELDS)


def output_layout(config):
    """What the output knows of a layer."""
    return layer_layout(config, OUTPUT_FIELDS)


def record_layout(record):
    """The fields of a record side by side, in their order."""
    return data.StructLayout({
        field.name: signed(field.bits) if field.signed else unsigned(field.bits)
        for field in record.fields.values()})


def term_layout(config):
    """One term, as the tables keep it: every field as wide as what it counts or addresses, and one
    bit more, which is set if any bit from there on is; that is all it takes to notice a term that
    leaves a memory."""
    most = {
        "activation_base": config.activation_depth - 1, "pad_base": config.activation_depth - 1,
        "tile_words": config.activation_depth, "words": config.activation_depth,
        "tap_base": config.tap_depth - 1, "taps_per_group": config.tap_depth,
        "pair_base": config.pair_depth - 1, "weight_offset": config.weight_depth - 1}
    return data.StructLayout({
        name: unsigned(min(field.bits, most[name].bit_length() + 1) if name in most
                       else field.bits)
        for name, field in TERM.fields.items()})


TapLayout = record_layout(TAP)
"""One kernel tap."""

PairLayout = record_layout(PAIR)
"""One plane pair."""


def assign_word(record, view, index, word):
    """Assignments that fill the fields of word ``index`` of ``record`` in ``view``, those that it
    has, from ``word``."""
    statements, known = [], {name for name, _field in view.shape()}
    for field in record.words[index]:
        if field.name not in known:
            continue
        _, shift = record.place(field.name)
        bits = word[shift:shift + field.bits]
        statements.append(view[field.name].eq(bits.as_signed() if field.signed else bits))
    return statements
