"""A soft reset at any moment leaves a machine that runs the next job exactly."""

import numpy as np
import pytest

from tests.networks import layer, small_network
from tests.strategies import random_codes
from xnorloom.hw.spec.config import MachineConfig
from xnorloom.hw.spec.descriptor import DESCRIPTOR
from xnorloom.hw.spec.link import ErrorCode, Opcode, section_header
from xnorloom.hw.spec.memory import Memory
from xnorloom.hw.spec.registers import Interrupt, RegisterAddress
from xnorloom.sim.transport import RtlTransport, SoftReset, Stalls
from xnorloom.sw.machine.encode import encode_images
from xnorloom.sw.machine.frames import build_frame, build_sections, iterate_frames
from xnorloom.sw.machine.layout import MapLayout
from xnorloom.sw.machine.reference import ReferenceMachine
from xnorloom.sw.passes.compiler import compile_network

CONFIG = MachineConfig(rows=2, cols=2, lanes=4, popcount_stages=1, activation_depth=64,
                       weight_depth=64, scale_depth=64, parameter_depth=32,
                       tap_depth=32, pair_depth=16, program_depth=64)


def job(seed, spoil=lambda program: None):
    """Words that load, run and read back two layers, the last one raw, whose descriptor ``spoil``
    may change."""
    first = layer("first", in_shape=(3, 2, 2), outputs=3, kernel=(2, 2), padding=(0,) * 4,
                  seed=seed)
    last = layer("last", "first", first.out_shape, 3, kernel=(1, 1), padding=(0,) * 4,
                 code_bits=None, seed=seed + 1)
    network = small_network(first, last, in_shape=(3, 2, 2))
    image = compile_network(network, CONFIG, batch=1)
    # A section per descriptor, and these come first.
    second = len(DESCRIPTOR) + 2
    assert image.program[0] == image.program[second] == Memory.PROGRAM
    spoil(image.program[second + 2:second + 2 + len(DESCRIPTOR)])
    described = image.metadata["input"]
    codes = encode_images(described, random_codes(network, 1))
    banks = MapLayout(**described["layout"]).pack(codes, described["table"])

    def frame(opcode, payload):
        return build_frame(opcode, payload, CONFIG.fingerprint)
    return np.concatenate([
        frame(Opcode.IMAGE, image.program),
        frame(Opcode.WRITE, np.concatenate(
            build_sections(Memory.ACTIVATIONS, banks, described["base"]))),
        frame(Opcode.RUN, [2 << 16]),
        frame(Opcode.READ, section_header(Memory.PROFILE, 0, 0, 16)),
        frame(Opcode.READ, section_header(Memory.ACTIVATIONS, 1, 0, 6))])


def told(words, counters=True):
    """What the words say, frame by frame; without the counters of the raw layer, whose end depends
    on how fast the host is."""
    frames = [(opcode, payload.tolist()) for opcode, payload
              in iterate_frames(words, CONFIG.fingerprint)]
    if not counters:
        profile = next(payload for opcode, payload in frames if opcode is Opcode.DATA)
        profile[8:] = []
    return frames


@pytest.fixture(scope="module")
def rtl():
    with RtlTransport(CONFIG, optimize=1) as transport:
        yield transport


def cycles_of(rtl, words):
    start = rtl.cycles
    rtl.exchange(words)
    return rtl.cycles - start


@pytest.mark.parametrize("stalls, blocked", [
    (Stalls(), False), (Stalls(o=0.7, seed=5), False), (Stalls(i=0.3, o=0.3, seed=9), False),
    (Stalls(), True)], ids=["free", "slow", "gaps", "blocked"])
def test_at_every_cycle_of_a_job(rtl, stalls, blocked):
    dropped, kept = job(1), job(7)
    slow = stalls.o > 0
    expected = told(ReferenceMachine(CONFIG).exchange(kept), counters=not slow)
    rtl.write_register(RegisterAddress.CONTROL, 1)
    rtl.stalls = stalls
    cycles = cycles_of(rtl, dropped)
    words = np.concatenate([dropped, kept])
    wrong = []
    for cycle in range(1, cycles + 1):
        answer = rtl.exchange(words, reset=SoftReset(cycle, len(dropped), blocked))
        error = rtl.read_register(RegisterAddress.ERROR_CODE)
        if error or told(answer, counters=not slow) != expected:
            wrong.append((cycle, error, len(answer)))
            rtl.write_register(RegisterAddress.CONTROL, 1)
    assert not wrong, f"{len(wrong)} of {cycles}: {wrong[:5]}"
    rtl.stalls = Stalls()


def test_in_error(rtl):
    """The last cycles before a fault is noticed, and those in which words are swallowed."""
    good, kept = job(3), job(5)
    expected = ReferenceMachine(CONFIG).exchange(kept)
    for spoiled in (0, 1, 2, 3, 5, len(good) // 2):
        broken = good.copy()
        broken[spoiled] ^= 0x10
        words = np.concatenate([broken, kept])
        for cycle in range(max(1, spoiled - 1), spoiled + 12):
            answer = rtl.exchange(words, reset=SoftReset(cycle, len(broken)))
            assert not rtl.read_register(RegisterAddress.ERROR_CODE), (spoiled, cycle)
            np.testing.assert_array_equal(answer, expected, err_msg=f"{spoiled} {cycle}")


def unknown_tag(program):
    program[0] ^= 1


def beyond_the_weights(program):
    word, shift = DESCRIPTOR.place("weight_base")
    program[word] |= (CONFIG.weight_depth - 1) << shift


@pytest.mark.parametrize("spoil, code", [(unknown_tag, ErrorCode.DESCRIPTOR),
                                         (beyond_the_weights, ErrorCode.ADDRESS)])
def test_under_a_run_that_fails(rtl, spoil, code):
    """Faults from deep inside are still on their way when the reset comes."""
    rtl.write_register(RegisterAddress.CONTROL, 1)
    bad, kept = job(3, spoil), job(5)
    expected = ReferenceMachine(CONFIG).exchange(kept)
    cycles = cycles_of(rtl, bad)
    assert rtl.read_register(RegisterAddress.ERROR_CODE) == code
    rtl.write_register(RegisterAddress.CONTROL, 1)
    words, wrong = np.concatenate([bad, kept]), []
    for cycle in range(1, cycles + 1):
        answer = rtl.exchange(words, reset=SoftReset(cycle, len(bad)))
        error = rtl.read_register(RegisterAddress.ERROR_CODE)
        if error or not np.array_equal(answer, expected):
            wrong.append((cycle, error, len(answer)))
            rtl.write_register(RegisterAddress.CONTROL, 1)
    assert not wrong, f"{len(wrong)} of {cycles}: {wrong[:5]}"


@pytest.mark.parametrize("spoil", [lambda program: None, beyond_the_weights])
def test_nothing_is_left_of_what_was_under_way(rtl, spoil):
    rtl.write_register(RegisterAddress.CONTROL, 1)
    words = job(3, spoil)
    cycles = cycles_of(rtl, words)
    rtl.write_register(RegisterAddress.CONTROL, 1)
    for cycle in range(1, cycles + 1):
        assert not len(rtl.exchange(words, reset=SoftReset(cycle, len(words)))), cycle
        for address in (RegisterAddress.STATUS, RegisterAddress.ERROR_CODE,
                        RegisterAddress.ERROR_WORD, RegisterAddress.INTERRUPT):
            assert rtl.read_register(address) == 0, (cycle, address.name)


def test_what_a_reset_keeps(rtl):
    rtl.write_register(RegisterAddress.CONTROL, 1)
    rtl.write_register(RegisterAddress.WATCHDOG, 12345)
    rtl.write_register(RegisterAddress.INTERRUPT_ENABLE, Interrupt.DONE)
    rtl.exchange(job(1))
    counters = [rtl.read_register(address)
                for address in (RegisterAddress.CYCLES, RegisterAddress.LAYERS)]
    assert counters[1] == 2 and counters[0] > 50
    assert rtl.read_register(RegisterAddress.INTERRUPT) == Interrupt.DONE
    assert rtl.read_register(RegisterAddress.STATUS) == 4
    rtl.write_register(RegisterAddress.CONTROL, 1)
    assert counters == [rtl.read_register(address)
                        for address in (RegisterAddress.CYCLES, RegisterAddress.LAYERS)]
    assert rtl.read_register(RegisterAddress.WATCHDOG) == 12345
    assert rtl.read_register(RegisterAddress.INTERRUPT_ENABLE) == Interrupt.DONE
    assert rtl.read_register(RegisterAddress.INTERRUPT) == 0
    assert rtl.read_register(RegisterAddress.STATUS) == 0
    rtl.write_register(RegisterAddress.WATCHDOG, 1 << 20)


def test_interrupts(rtl):
    rtl.write_register(RegisterAddress.CONTROL, 1)
    rtl.exchange(job(1))
    assert rtl.read_register(RegisterAddress.INTERRUPT) == Interrupt.DONE
    rtl.write_register(RegisterAddress.INTERRUPT, Interrupt.ERROR)
    assert rtl.read_register(RegisterAddress.INTERRUPT) == Interrupt.DONE
    rtl.write_register(RegisterAddress.INTERRUPT, Interrupt.DONE)
    assert rtl.read_register(RegisterAddress.INTERRUPT) == 0
    rtl.exchange(np.array([0], dtype=np.uint32))
    assert rtl.read_register(RegisterAddress.INTERRUPT) == Interrupt.ERROR
    rtl.write_register(RegisterAddress.CONTROL, 1)
    assert rtl.read_register(RegisterAddress.INTERRUPT) == 0
