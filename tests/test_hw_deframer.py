# amaranth: UnusedElaboratable=no
"""Deframer and section reader store what good frames bring, ask for what they ask, and name the
word that is wrong in a bad one."""

import random

import pytest
from amaranth.hdl import Module, ResetInserter, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from tests.bench import checksum, recorder, simulate, stream_put
from xnorloom.hw.control.fault import LINK_ERRORS
from xnorloom.hw.link.deframer import DEFRAMER_ERRORS, Deframer
from xnorloom.hw.link.sections import SECTION_ERRORS, Section, SectionReader
from xnorloom.hw.link.words import ChecksumSignature
from xnorloom.hw.memory.store import Entry
from xnorloom.hw.spec.config import FORMAT_VERSION, MachineConfig
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

CONFIG = MachineConfig(rows=3, cols=2, lanes=70, units=1, activation_depth=30, weight_depth=40,
                       scale_depth=50, parameter_depth=70, tap_depth=80,
                       pair_depth=90, program_depth=100)
BANKS = banks(CONFIG)
KEY = CONFIG.fingerprint


ERRORS = (*DEFRAMER_ERRORS, *SECTION_ERRORS)


class Receiver(wiring.Component):
    """Both together, as the core joins them."""

    def __init__(self, config):
        self.deframer, self.sections = Deframer(config), SectionReader(config)
        super().__init__({
            "i": In(stream.Signature(32)),
            "store": Out(stream.Signature(Entry(config), always_ready=True)),
            "loaded": Out(1), "run": Out(1), "read": Out(1), "section": Out(Section),
            "finished": In(1), "open": Out(1), "word": Out(LENGTH_BITS),
            "checksum": Out(ChecksumSignature()), "fault": Out(len(ERRORS))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.deframer = deframer = self.deframer
        m.submodules.sections = sections = self.sections
        wiring.connect(m, deframer.o, sections.i)
        wiring.connect(m, wiring.flipped(self.i), deframer.i)
        wiring.connect(m, sections.o, wiring.flipped(self.store))
        wiring.connect(m, deframer.checksum, wiring.flipped(self.checksum))
        m.d.comb += [sections.opcode.eq(deframer.opcode), self.section.eq(sections.section),
                     deframer.finished.eq(self.finished),
                     self.fault.eq(deframer.fault | sections.fault << len(DEFRAMER_ERRORS))]
        m.d.comb += [getattr(self, name).eq(getattr(deframer, name))
                     for name in ("loaded", "run", "read", "open", "word")]
        return m


def _talk(frames, *, gap=lambda: 0, config=CONFIG, delays=lambda: 3):
    """Sends frames; returns stores, requests, faults, and whether an image is loaded at the end."""
    block = Receiver(config)
    requests, loaded = [], []

    async def host(ctx):
        for words in frames:
            await stream_put(ctx, block.i, words, gap=gap)
        await ctx.tick().repeat(3)
        loaded.append(ctx.get(block.loaded))
        assert not ctx.get(block.open)
        assert ctx.get(block.word) == 0

    async def machine(ctx):
        section = block.section
        while True:
            _clk, _rst, run, read, *header = await ctx.tick().sample(
                block.run, block.read, section.memory, section.bank, section.start,
                section.count)
            if run:
                requests.append(("run", *header[2:]))
            if read:
                requests.append(("read", *header))
            if run or read:
                for _ in range(delays()):
                    await ctx.tick()
                ctx.set(block.finished, 1)
                await ctx.tick()
                ctx.set(block.finished, 0)

    store = block.store
    entry = store.payload
    watch_stores, stores = recorder(store.valid, entry.memory, entry.bank, entry.address,
                                    entry.data)
    watch_faults, faults = recorder(block.fault.any(), block.fault, block.word)
    simulate(block, host, processes=(
        machine, checksum(block.checksum), watch_stores, watch_faults))
    entries = [(memory, bank, address,
                entry & (1 << 32 * banks(config)[memory].entry_words) - 1)
               for _cycle, memory, bank, address, entry in stores]
    named = [(ERRORS[fault.bit_length() - 1], word) for _cycle, fault, word in faults]
    assert all(fault.bit_count() == 1 for _cycle, fault, _word in faults)
    return entries, requests, named, bool(loaded[0])


def _section(rng, memory, bank, start, count):
    """Words of a section, and what it should store."""
    shape = BANKS[memory]
    words = section_header(memory, bank, start, count)
    stores = []
    for number in range(count):
        entry = [rng.getrandbits(32) for _ in range(shape.entry_words)]
        words += entry
        stores.append((memory, bank, start + number,
                       sum(word << 32 * part for part, word in enumerate(entry))))
    return words, stores


@pytest.mark.parametrize("pauses", [False, True])
def test_sections_of_all_memories(pauses):
    rng = random.Random(pauses)
    frames, expected = [], []
    for opcode in (Opcode.IMAGE, Opcode.WRITE):
        payload = []
        for shape in BANKS.values():
            if shape.writable:
                for bank in {0, shape.count - 1}:
                    for start, count in [(0, 2), (shape.depth - 1, 1), (shape.depth, 0), (5, 0),
                                         (rng.randrange(10), rng.randint(1, 6))]:
                        words, stores = _section(rng, shape.memory, bank, start, count)
                        payload += words
                        expected += stores
        frames.append(frame(opcode, payload, KEY))
    gap = (lambda: rng.choice([0, 0, 0, 1, 3])) if pauses else lambda: 0
    assert _talk(frames, gap=gap) == (expected, [], [], True)


def test_a_whole_bank():
    rng = random.Random(1)
    words, stores = _section(rng, Memory.ACTIVATIONS, 2, 0, CONFIG.activation_depth)
    assert _talk([frame(Opcode.WRITE, words, KEY)]) == (stores, [], [], False)


@pytest.mark.parametrize("lanes", [1, 32, 33, 64, 65, 1024])
def test_entries_of_any_width(lanes):
    config = MachineConfig(rows=1, cols=1, lanes=lanes)
    rng = random.Random(lanes)
    words = -(-lanes // 32)
    entries = [[rng.getrandbits(32) for _ in range(words)] for _ in range(3)]
    payload = [*section_header(Memory.WEIGHTS, 0, 4, 3), *sum(entries, [])]
    stores = [(Memory.WEIGHTS, 0, 4 + number, sum(w << 32 * k for k, w in enumerate(entry)))
              for number, entry in enumerate(entries)]
    assert _talk([frame(Opcode.WRITE, payload, config.fingerprint)], config=config) == (
        stores, [], [], False)


def test_requests_wait_until_they_are_finished():
    rng = random.Random(4)
    words, stores = _section(rng, Memory.PAIRS, 0, 3, 2)
    frames = [
        frame(Opcode.READ, section_header(Memory.ACTIVATIONS, 2, 29, 1), KEY),
        frame(Opcode.IMAGE, [], KEY), frame(Opcode.RUN, [0xABCD1234], KEY),
        frame(Opcode.WRITE, words, KEY), frame(Opcode.RUN, [0xFFFFFFFF], KEY),
        frame(Opcode.READ, section_header(Memory.PROFILE, 0, 0, 512), KEY),
        frame(Opcode.READ, section_header(Memory.ACTIVATIONS, 0, 30, 0), KEY),
        frame(Opcode.WRITE, [], KEY)]
    expected = [("read", Memory.ACTIVATIONS, 2, 29, 1), ("run", 0x1234, 0xABCD),
                ("run", 0xFFFF, 0xFFFF),
                ("read", Memory.PROFILE, 0, 0, 512), ("read", Memory.ACTIVATIONS, 0, 30, 0)]
    for delay in (0, 1, 9):
        assert _talk(frames, delays=lambda delay=delay: delay) == (stores, expected, [], True)


def test_one_word_per_cycle():
    block = Receiver(CONFIG)
    words, _stores = _section(random.Random(0), Memory.ACTIVATIONS, 0, 0, 9)
    two = frame(Opcode.WRITE, words, KEY) + frame(Opcode.IMAGE, words, KEY)

    async def host(ctx):
        ctx.set(block.i.valid, 1)
        for index, word in enumerate(two):
            ctx.set(block.i.payload, word)
            assert ctx.get(block.i.ready)
            # Where a frame that stops here would stop.
            assert ctx.get(block.word) == index % (len(two) // 2)
            assert ctx.get(block.open) == (index % (len(two) // 2) > 0)
            await ctx.tick()
        ctx.set(block.i.valid, 0)
        await ctx.tick()
        assert ctx.get(block.loaded)

    simulate(block, host, processes=(checksum(block.checksum, late=False),))


def _check_faults(cases):
    """Holds the first fault of a frame against what is expected; nothing may be asked for by then.

    A case is the frame's words, the error code, the index of the offending word, and perhaps good
    frames that come before.
    """
    block, reset = Receiver(CONFIG), Signal()
    found = []

    async def host(ctx):
        for words, _code, _index, *before in cases:
            ctx.set(reset, 1)
            await ctx.tick()
            ctx.set(reset, 0)
            for frame_before in before:
                await stream_put(ctx, block.i, frame_before)
            ctx.set(block.i.valid, 1)
            found.append(None)
            for word in words:
                ctx.set(block.i.payload, word)
                _clk, _rst, ready, fault, index, run, read = await ctx.tick().sample(
                    block.i.ready, block.fault, block.word, block.run, block.read)
                assert ready
                if fault or run or read:
                    found[-1] = fault, index, run, read
                    break
            ctx.set(block.i.valid, 0)

    simulate(ResetInserter(reset)(block), host, processes=(
        checksum(block.checksum, late=False),))
    for (words, code, index, *_before), seen in zip(cases, found, strict=True):
        assert seen is not None, (words, code)
        fault, *where = seen
        assert fault.bit_count() == 1 and ERRORS[fault.bit_length() - 1] == code, (words, code)
        assert where == [index, 0, 0], (words, code)


def _end(words):
    return len(words) - 1


@pytest.mark.parametrize("opcode", [Opcode.IMAGE, Opcode.WRITE, Opcode.RUN, Opcode.READ])
def test_headers(opcode):
    payload = {Opcode.RUN: [1],
               Opcode.READ: section_header(Memory.PROFILE, 0, 0, 1)}.get(opcode, [])
    good = frame(opcode, payload, KEY)
    cases = [([good[0] ^ 1 << bit, *good[1:]], ErrorCode.MAGIC, 0) for bit in range(16)]
    cases += [(frame(opcode, payload, KEY, version=version), ErrorCode.VERSION, 0)
              for version in (0, FORMAT_VERSION + 1, 255)]
    cases += [(frame(opcode, payload, KEY ^ 1 << bit), ErrorCode.FINGERPRINT, 1)
              for bit in range(32)]
    cases += [([*good[:2], len(payload) | 1 << bit], ErrorCode.LENGTH, 2)
              for bit in range(LENGTH_BITS, 32)]
    _check_faults(cases)


def test_only_opcodes_of_the_host():
    words = [MAGIC | FORMAT_VERSION << 16 | opcode << 24 for opcode in range(256)]
    _check_faults([([word, KEY, 0, crc32([word, KEY, 0])], ErrorCode.OPCODE, 0)
                   for opcode, word in enumerate(words) if opcode not in (1, 2, 3, 4)])


def test_requests_of_the_wrong_length():
    _check_faults([(frame(opcode, payload, KEY), ErrorCode.LENGTH, 2) for opcode, payload in [
        (Opcode.RUN, []), (Opcode.RUN, [1, 2]), (Opcode.READ, []), (Opcode.READ, [8]),
        (Opcode.READ, [*section_header(Memory.PROFILE, 0, 0, 1), 0])]])


@pytest.mark.parametrize("opcode", [Opcode.IMAGE, Opcode.WRITE])
def test_payloads_that_end_inside_a_section(opcode):
    good = [*section_header(Memory.PAIRS, 0, 0, 1), 5]
    whole = good + [*section_header(Memory.ACTIVATIONS, 1, 0, 2), 1, 2, 3, 4, 5, 6]
    _check_faults([(frame(opcode, whole[:length], KEY), ErrorCode.LENGTH,
                    HEADER_WORDS + length - 1) for length in range(4, len(whole))])


def test_checksum():
    words, _stores = _section(random.Random(0), Memory.SCALES, 1, 0, 3)
    image = frame(Opcode.IMAGE, [], KEY)
    cases = []
    for good in (frame(Opcode.WRITE, words, KEY), image, frame(Opcode.RUN, [1], KEY),
                 frame(Opcode.READ, section_header(Memory.PROFILE, 0, 0, 1), KEY)):
        cases += [([*good[:-1], good[-1] ^ 1 << bit], ErrorCode.CHECKSUM, _end(good), image)
                  for bit in range(32)]
    good = frame(Opcode.WRITE, words, KEY)
    cases.append(([*good[:6], good[6] ^ 1 << 17, *good[7:]], ErrorCode.CHECKSUM, _end(good)))
    _check_faults(cases)


@pytest.mark.parametrize("memory", Memory)
def test_sections_that_do_not_fit(memory):
    shape = BANKS[memory]
    good = [*section_header(Memory.PAIRS, 0, 0, 1), 5]
    cases = []

    def add(opcode, header, index):
        alone = opcode == Opcode.READ
        payload = header if alone else good + header + [0, 0]
        offset = HEADER_WORDS + index + (0 if alone else len(good))
        cases.append((frame(opcode, payload, KEY), ErrorCode.SECTION, offset))

    for opcode in (Opcode.WRITE, Opcode.IMAGE, Opcode.READ):
        if not (shape.readable if opcode == Opcode.READ else shape.writable):
            add(opcode, section_header(memory, 0, 0, 1), 0)
            continue
        for bank in (shape.count, 128, 255):
            add(opcode, section_header(memory, bank, 0, 1), 0)
        for junk in (16, 31):
            header = section_header(memory, 0, 0, 1)
            add(opcode, [header[0] | 1 << junk, header[1]], 0)
        for start, count in [(shape.depth, 1), (0, shape.depth + 1), (shape.depth - 1, 2),
                             (0xFFFF, 0xFFFF), (0xFFFF, 1), (1, 0xFFFF), (shape.depth + 1, 0)]:
            add(opcode, section_header(memory, 0, start, count), 1)
    _check_faults(cases)


@pytest.mark.parametrize("opcode", [Opcode.WRITE, Opcode.IMAGE, Opcode.READ])
def test_memories_that_do_not_exist(opcode):
    _check_faults([(frame(opcode, [number, 1 << 16], KEY), ErrorCode.SECTION, HEADER_WORDS)
                   for number in range(len(Memory), 256)])


def test_run_needs_an_image():
    run = frame(Opcode.RUN, [1 << 16], KEY)
    words = [*section_header(Memory.PAIRS, 0, 0, 1), 5]
    image, write = frame(Opcode.IMAGE, words, KEY), frame(Opcode.WRITE, words, KEY)
    # A write is no image, and an image that fails takes the one before with it.
    broken = [*image[:-1], image[-1] ^ 1]
    _check_faults([(run, ErrorCode.NOT_LOADED, _end(run)),
                   (run, ErrorCode.NOT_LOADED, _end(run), write),
                   (run, ErrorCode.NOT_LOADED, _end(run), image, broken)])
    _entries, requests, faults, loaded = _talk([image, broken, run])
    assert [code for code, _word in faults] == [ErrorCode.CHECKSUM, ErrorCode.NOT_LOADED]
    assert not requests and not loaded


def test_every_error_of_a_frame_is_found_here():
    beyond = {ErrorCode.NONE, ErrorCode.DESCRIPTOR, ErrorCode.ADDRESS, ErrorCode.LINK_TIMEOUT,
              ErrorCode.WATCHDOG}
    assert set(ERRORS) | beyond == set(ErrorCode)
    assert set(ERRORS) | {ErrorCode.LINK_TIMEOUT} == set(LINK_ERRORS)
