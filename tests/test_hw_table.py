# amaranth: UnusedElaboratable=no
"""Tables keep the fields of a record, and of a field no more bits than tell its value apart."""

import random

import pytest

from tests.bench import play
from tests.feed_model import kept
from xnorloom.hw.common.layout import PairLayout, TapLayout, term_layout
from xnorloom.hw.memory.table import RecordTable
from xnorloom.hw.spec.config import MachineConfig
from xnorloom.hw.spec.descriptor import PAIR, TAP, TERM

CONFIG = MachineConfig(rows=2, cols=1, lanes=4, activation_depth=300, weight_depth=512,
                       tap_depth=60, pair_depth=300)


@pytest.mark.parametrize("record, layout", [
    (TERM, term_layout(CONFIG)), (TAP, TapLayout), (PAIR, PairLayout)])
def test_entries(record, layout):
    rng = random.Random(len(record))
    table, depth = RecordTable(record, layout, 40), 40
    entries = []
    for number in range(depth):
        edge = rng.randrange(1, 17)
        entries.append({name: rng.choice([low, high, max(low, min(high, (1 << edge) - number % 2))])
                        for name, field in record.fields.items() for low, high in [field.range]})
    cycles = []
    for address, entry in enumerate(entries):
        words = sum(word << 32 * index for index, word in enumerate(record.pack(**entry)))
        cycles.append([(table.store.en, 1), (table.store.addr, address),
                       (table.store.data, words)])
    cycles += [[(table.store.en, 0), (table.read.en, 1), (table.read.addr, address)]
               for address in range(depth)]
    seen = play(table, [*cycles, []], [table.read.data])[depth + 1:]
    for entry, (fields,) in zip(entries, seen, strict=True):
        assert {name: fields[name] for name in entry} == kept(layout, entry)


def test_a_term_is_narrower_than_its_words():
    widths = {name: field.shape.width for name, field in term_layout(CONFIG)}
    assert widths == {
        "activation_base": 10, "pad_base": 10, "tile_words": 10, "words": 10, "tap_base": 7,
        "taps_per_group": 7, "pair_base": 10, "pairs": 8, "groups": 8, "weight_offset": 10}
