# amaranth: UnusedElaboratable=no
"""The first fault wins and stays, with the word that belongs to it."""

import pytest

from tests.bench import play
from xnorloom.hw.control.fault import FAULT_MEMORIES, LINK_ERRORS, FaultCollector
from xnorloom.hw.spec.link import ErrorCode

WORD, ADDRESS, LAYER = 0x123456, 0x4321, 0x0107
SOURCES = [*(("link", 1 << k) for k in range(len(LINK_ERRORS))), ("descriptor", 1),
           *(("memories", 1 << k) for k in range(len(FAULT_MEMORIES))), ("hung", 1)]
"""Every fault, in the order of precedence."""

EXPECTED = [*((code, WORD) for code in LINK_ERRORS), (ErrorCode.DESCRIPTOR, ADDRESS),
            *((ErrorCode.ADDRESS, memory | LAYER << 8) for memory in FAULT_MEMORIES),
            (ErrorCode.WATCHDOG, LAYER)]


def _cycle(block, sources, *, where=(WORD, ADDRESS, LAYER)):
    faults = block.faults
    bits = dict.fromkeys(("link", "descriptor", "memories", "hung"), 0)
    for source in sources:
        name, bit = SOURCES[source]
        bits[name] |= bit
    return [*((getattr(faults, name), value) for name, value in bits.items()),
            *zip((faults.word, faults.address, faults.layer), where)]


def _play(block, cycles):
    return play(block, cycles, [block.halt, block.code, block.word, block.refused, block.halts])


@pytest.mark.parametrize("source", range(len(SOURCES)))
def test_every_fault_has_its_code_and_word(source):
    block = FaultCollector()
    # What is on the ports when the fault comes counts, not what comes later.
    later = _cycle(block, (), where=(0xFFFFFF, 0xFFFF, 0xFFFF))
    seen = _play(block, [_cycle(block, ()), _cycle(block, [source]), later, later, later])
    code, word = EXPECTED[source]
    link = int(SOURCES[source][0] == "link")
    assert seen == [(0, 0, 0, 0, 0), (0, 0, 0, 0, 0), (0, 0, 0, link, 1),
                    (1, code, word, 0, 0), (1, code, word, 0, 0)]


@pytest.mark.parametrize("first", range(len(SOURCES)))
def test_the_first_source_wins_among_those_of_one_cycle(first):
    block = FaultCollector()
    # A frame has one fault at a time; all others may come together.
    every = [first, *range(max(first + 1, len(LINK_ERRORS)), len(SOURCES))]
    seen = _play(block, [_cycle(block, every), _cycle(block, ()), _cycle(block, ())])
    assert seen[-1][:3] == (1, *EXPECTED[first])


@pytest.mark.parametrize("gap", [1, 2, 3])
def test_later_faults_change_nothing(gap):
    block = FaultCollector()
    cycles = [_cycle(block, [12])] + [_cycle(block, ())] * (gap - 1)
    cycles += [_cycle(block, [source]) for source in range(8)] + [_cycle(block, ())] * 2
    seen = _play(block, cycles)
    assert seen[-1][:3] == (1, *EXPECTED[12])
    assert sum(halts for *_, halts in seen) == 1


def test_the_lists_name_every_error_and_every_memory_that_a_step_can_leave_once():
    assert len({code for code, _word in EXPECTED}) == len(ErrorCode) - 1
    assert len(set(FAULT_MEMORIES)) == len(FAULT_MEMORIES)
