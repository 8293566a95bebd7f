"""Driver: results, batches, counters; every error of the link raised and recovered from."""

import dataclasses

import numpy as np
import pytest

from tests.networks import identity, layer, small_network
from tests.strategies import random_codes
from xnorloom.hw.spec.config import PRESETS, MachineConfig
from xnorloom.hw.spec.cycles import predict_run
from xnorloom.hw.spec.descriptor import DESCRIPTOR, TERM, descriptor_limits
from xnorloom.hw.spec.link import ErrorCode, Opcode, frame, section_header
from xnorloom.hw.spec.memory import PROFILE_LAYERS, Memory
from xnorloom.hw.spec.registers import DEFAULT_WATCHDOG_CYCLES, RegisterAddress
from xnorloom.sw.graph.evaluate import evaluate
from xnorloom.sw.machine.driver import Driver, DriverError
from xnorloom.sw.machine.frames import build_frame, build_sections, iterate_frames
from xnorloom.sw.machine.image import Image
from xnorloom.sw.machine.reference import ReferenceMachine
from xnorloom.sw.passes.compiler import compile_network

CONFIG = MachineConfig(rows=4, cols=4, lanes=36)
MAGIC_WORD = frame(Opcode.RUN, [0], 0)[0]


@pytest.fixture
def network():
    return small_network()


@pytest.fixture
def driver(network):
    driver = Driver(ReferenceMachine(CONFIG), compile_network(network, CONFIG))
    driver.load()
    return driver


def register(driver, address):
    return driver.transport.read_register(address)


def test_outputs_are_accumulators_on_their_grid(driver, network):
    codes = random_codes(network, 3)
    result = driver.run(codes)
    expected = evaluate(network, codes)["linear"]
    np.testing.assert_array_equal(result.accumulators, expected)
    np.testing.assert_array_equal(result.outputs, expected[:, :, 0, 0] / 16)
    np.testing.assert_array_equal(result.labels, expected[:, :, 0, 0].argmax(axis=1))
    assert result.maps == {}


def test_signs_of_a_raw_layer_are_undone(network):
    sign = np.array([1, -1, 1, -1, 1], dtype=np.int8)
    last = dataclasses.replace(network.layers[-1], sign=sign, frac_bits=-3)
    network = dataclasses.replace(network, layers=(network.layers[0], last))
    driver = Driver(ReferenceMachine(CONFIG), compile_network(network, CONFIG))
    driver.load()
    codes = random_codes(network, 2)
    np.testing.assert_array_equal(driver.run(codes).outputs, evaluate(network, codes)["linear"][
        :, :, 0, 0] * sign * 8.0)


def test_real_images_are_encoded_as_the_network_says(driver, network):
    rng = np.random.default_rng(0)
    images = rng.uniform(-0.5, 1.5, (2, *network.in_shape)).astype(np.float32)
    np.testing.assert_array_equal(driver.run(images).outputs,
                                  driver.run(network.encode(images)).outputs)


def test_batches_are_cut_and_counted(driver, network):
    assert driver.image.batch == 4
    calls = []
    result = driver.run(random_codes(network, 9), progress=lambda *done: calls.append(done))
    assert calls == [(4, 9), (8, 9), (9, 9)]
    assert len(result.outputs) == 9
    image = driver.image
    model = predict_run(CONFIG, [
        (item, [[(term, image.pairs(term)) for term in terms] for terms in image.terms(item)])
        for item in image.descriptors()])
    assert [run.cycles for run in result.batches] == [model.total] * 3
    assert result.cycles == 3 * model.total
    assert result.layers == [
        {name: 3 * value for name, value in dataclasses.asdict(item).items()}
        for item in model.layers]


def test_more_layers_than_the_profile_keeps():
    count = PROFILE_LAYERS + 6
    config = MachineConfig(rows=2, cols=2, lanes=4, program_depth=65536, tap_depth=1024,
                           term_depth=1024, pair_depth=1024, parameter_depth=1024)
    chain = []
    for index in range(count):
        chain.append(layer(f"l{index}", chain[-1].name if chain else "input", (2, 2, 2), 2,
                           kernel=(1, 1), padding=(0, 0, 0, 0), seed=index))
    network = small_network(*chain, in_shape=(2, 2, 2))
    driver = Driver(ReferenceMachine(config), compile_network(network, config))
    driver.load()
    codes = random_codes(network, 1)
    result = driver.run(codes)
    np.testing.assert_array_equal(result.outputs, evaluate(network, codes)[chain[-1].name])
    assert len(result.layers) == count
    assert all(counters["busy"] > 0 for counters in result.layers)


@pytest.mark.parametrize(("images", "message"), [
    (np.zeros((1, 3, 6, 5), int), r"shape \(n, 3, 6, 6\) .* at least 1, not \(1, 3, 6, 5\)$"),
    (np.zeros((0, 3, 6, 6), int), r"not \(0, 3, 6, 6\)$"),
    (np.full((1, 3, 6, 6), 4), r"codes must be from 0 to 3, not 4..4$"),
    (np.full((1, 3, 6, 6), np.nan), r"must be finite$"),
])
def test_wrong_images_are_refused(driver, images, message):
    with pytest.raises(ValueError, match=message):
        driver.run(images)


def test_wrong_machine_is_refused(network):
    image = compile_network(network, CONFIG)
    with pytest.raises(DriverError, match="Machine fingerprint register must be 0x"):
        Driver(ReferenceMachine(PRESETS["small"]), image)


def words(opcode, payload, **changes):
    """A frame for CONFIG, with word ``index`` replaced by ``value``."""
    built = frame(opcode, payload, CONFIG.fingerprint)
    for index, value in changes.items():
        built[int(index[1:])] = value
    return built


def section(memory, bank, start, count, payload=()):
    return [*section_header(memory, bank, start, count), *payload]


LINK_FAULTS = [
    (ErrorCode.MAGIC, 0, words(Opcode.RUN, [1], w0=MAGIC_WORD ^ 1)),
    (ErrorCode.VERSION, 0, words(Opcode.RUN, [1], w0=MAGIC_WORD ^ 1 << 23)),
    (ErrorCode.OPCODE, 0, words(Opcode.DONE, [1])),
    (ErrorCode.FINGERPRINT, 1, words(Opcode.RUN, [1], w1=CONFIG.fingerprint ^ 1)),
    (ErrorCode.LENGTH, 2, words(Opcode.RUN, [1, 2])),
    (ErrorCode.LENGTH, 2, words(Opcode.RUN, [])),
    (ErrorCode.LENGTH, 2, words(Opcode.READ, [3])),
    (ErrorCode.LENGTH, 3, words(Opcode.WRITE, [Memory.PARAMETERS])),
    (ErrorCode.LENGTH, 4, words(Opcode.WRITE, section(Memory.PARAMETERS, 0, 0, 1))),
    (ErrorCode.LENGTH, 6, words(Opcode.WRITE, section(Memory.PARAMETERS, 0, 0, 3, [1, 2]))),
    (ErrorCode.LENGTH, 5, words(Opcode.WRITE, section(Memory.WEIGHTS, 0, 0, 1, [1]))),
    (ErrorCode.CHECKSUM, 4, words(Opcode.RUN, [1], w4=0)),
    (ErrorCode.CHECKSUM, 6, words(Opcode.WRITE, section(Memory.PARAMETERS, 0, 0, 1, [1]), w6=0)),
    (ErrorCode.SECTION, 3, words(Opcode.WRITE, section(9, 0, 0, 1, [1]))),
    (ErrorCode.SECTION, 3, words(Opcode.WRITE, [Memory.PARAMETERS | 1 << 16, 1 << 16, 1])),
    (ErrorCode.SECTION, 3, words(Opcode.WRITE, section(Memory.PARAMETERS, 4, 0, 1, [1]))),
    (ErrorCode.SECTION, 3, words(Opcode.WRITE, section(Memory.PROFILE, 0, 0, 1, [1]))),
    (ErrorCode.SECTION, 4, words(Opcode.WRITE, section(Memory.PARAMETERS, 0, 511, 2, [1, 2]))),
    (ErrorCode.SECTION, 7, words(Opcode.WRITE, [*section(Memory.PARAMETERS, 0, 0, 1, [1]),
                                                *section(Memory.PARAMETERS, 0, 600, 1, [1])])),
    (ErrorCode.SECTION, 3, words(Opcode.READ, section(Memory.WEIGHTS, 0, 0, 1))),
    (ErrorCode.SECTION, 4, words(Opcode.READ, section(Memory.ACTIVATIONS, 0, 4000, 97))),
    (ErrorCode.LINK_TIMEOUT, 1, words(Opcode.RUN, [1])[:1]),
    (ErrorCode.LINK_TIMEOUT, 4, words(Opcode.RUN, [1])[:4]),
    (ErrorCode.LINK_TIMEOUT, 6,
     words(Opcode.WRITE, section(Memory.PARAMETERS, 0, 0, 3, [1] * 3))[:6]),
]


@pytest.mark.parametrize(("code", "word", "sent"), LINK_FAULTS)
def test_link_faults_are_reported_kept_and_recovered_from(driver, network, code, word, sent):
    codes = random_codes(network, 2)
    before = driver.run(codes).outputs
    with pytest.raises(DriverError, match=rf"^Machine reports error {code.name} at word") as caught:
        driver._exchange([np.array(sent, dtype=np.uint32)], 0)
    assert (caught.value.code, caught.value.word) == (code, word)
    assert register(driver, RegisterAddress.STATUS) == 2
    # The first fault stays, and all words are swallowed.
    other = np.array(words(Opcode.DONE, [1]), dtype=np.uint32)
    assert not len(driver.transport.exchange(other))
    assert not len(driver.transport.exchange(build_frame(Opcode.RUN, [1 << 16],
                                                         CONFIG.fingerprint)))
    assert register(driver, RegisterAddress.ERROR_CODE) == code
    assert register(driver, RegisterAddress.ERROR_WORD) == word
    driver.reset()
    assert register(driver, RegisterAddress.STATUS) == 0
    assert register(driver, RegisterAddress.ERROR_CODE) == ErrorCode.NONE
    driver.load()
    assert register(driver, RegisterAddress.STATUS) == 4
    np.testing.assert_array_equal(driver.run(codes).outputs, before)


def test_every_kind_of_link_fault_is_tried():
    tried = {code for code, _word, _sent in LINK_FAULTS}
    elsewhere = {ErrorCode.NONE, ErrorCode.NOT_LOADED, ErrorCode.DESCRIPTOR, ErrorCode.ADDRESS,
                 # The reference always makes progress.
                 ErrorCode.WATCHDOG}
    assert tried | elsewhere == set(ErrorCode)


def test_run_without_an_image_is_an_error(driver, network):
    driver.reset()
    with pytest.raises(DriverError, match="error NOT_LOADED") as caught:
        driver.run(random_codes(network, 1))
    assert caught.value.code is ErrorCode.NOT_LOADED
    driver.reset()
    driver.load()
    driver.run(random_codes(network, 1))


def patched(image, number, **fields):
    """The image with some fields of one descriptor replaced."""
    program = image.program.copy()
    base = 2 + number * (2 + len(DESCRIPTOR))
    values = image.descriptors()[number] | fields
    program[base:base + len(DESCRIPTOR)] = DESCRIPTOR.pack(**values)
    return Image(image.config, image.metadata, program)


def with_term(image, place, **fields):
    """The image with some fields of one term replaced."""
    entries = image.memories[Memory.TERMS].copy()
    entries[0, place] = TERM.pack(**{**TERM.unpack(entries[0, place]), **fields})
    words = np.concatenate([image.program, *build_sections(Memory.TERMS, entries)])
    return Image(image.config, image.metadata, words)


def test_bounded_descriptor_fields_are_checked(driver, network):
    good, codes = driver.image, random_codes(network, 1)
    for name, (low, high) in descriptor_limits(CONFIG).items():
        top = DESCRIPTOR.fields[name].range[1]
        for bad in (low - 1 if low else None, high + 1 if high < top else None):
            if bad is None:
                continue
            broken = Driver(driver.transport, patched(good, 1, **{name: bad}))
            broken._descriptors = good.descriptors()
            broken.load()
            with pytest.raises(DriverError, match="at word .* of program memory") as caught:
                broken.run(codes)
            assert caught.value.code is ErrorCode.DESCRIPTOR
            assert caught.value.word == len(DESCRIPTOR) + DESCRIPTOR.place(name)[0], name
            broken.reset()


def test_descriptor_past_the_program_is_an_error(driver):
    run = build_frame(Opcode.RUN, [40 | 1 << 16], CONFIG.fingerprint)
    with pytest.raises(DriverError) as caught:
        driver._exchange([run], 0)
    assert (caught.value.code, caught.value.word) == (ErrorCode.DESCRIPTOR, 40 * len(DESCRIPTOR))


@pytest.mark.parametrize(("depth", "fits"), [(DESCRIPTOR.used + 32, True),
                                             (DESCRIPTOR.used + 31, False)])
def test_words_behind_the_last_field_are_not_fetched(network, depth, fits):
    config = dataclasses.replace(CONFIG, program_depth=depth)
    whole = compile_network(network, CONFIG)
    cut = [section for memory, entries in whole.memories.items() for section in build_sections(
        memory, entries[:, :depth] if memory is Memory.PROGRAM else entries)]
    image = Image(config, whole.metadata, np.concatenate(cut))
    machine = ReferenceMachine(config)
    for opcode, payload in ((Opcode.IMAGE, image.program), (Opcode.RUN, [2 << 16])):
        machine.exchange(build_frame(opcode, payload, config.fingerprint))
    error = machine.read_register(RegisterAddress.ERROR_CODE)
    assert error == (ErrorCode.NONE if fits else ErrorCode.DESCRIPTOR)
    assert machine.read_register(RegisterAddress.ERROR_WORD) == (0 if fits else depth)


def runs_into(image, memory, number):
    """Whether a run ends with a layer that leaves a memory."""
    broken = Driver(ReferenceMachine(CONFIG), image)
    broken.load()
    with pytest.raises(DriverError, match=rf"ADDRESS: layer {number} leaves memory") as caught:
        broken.run(np.zeros((1, *image.metadata["input"]["shape"]), dtype=np.uint8))
    assert caught.value.code is ErrorCode.ADDRESS
    assert caught.value.word == memory | number << 8


@pytest.mark.parametrize(("memory", "number", "fields"), [
    (Memory.TAPS, 1, {"term_base": 128}), (Memory.SCALES, 1, {"scale_base": 1023}),
    (Memory.WEIGHTS, 1, {"weight_base": 2040}), (Memory.PARAMETERS, 1, {"parameter_base": 512}),
    (Memory.PARAMETERS, 0, {"parameter_base": 509}), (Memory.ACTIVATIONS, 0, {"out_base": 4090}),
])
def test_layers_that_leave_a_memory_are_errors(network, memory, number, fields):
    # Every base lies inside its memory or just behind it; what is reached from it does not.
    runs_into(patched(compile_network(network, CONFIG), number, **fields), memory, number)


@pytest.mark.parametrize(("memory", "fields"), [
    (Memory.TAPS, {"tap_base": 508}), (Memory.TAPS, {"pair_base": 255}),
    (Memory.ACTIVATIONS, {"activation_base": 4092}), (Memory.ACTIVATIONS, {"pad_base": 4095}),
    (Memory.WEIGHTS, {"weight_offset": 2040}),
])
def test_terms_that_leave_a_memory_are_errors(network, memory, fields):
    # One image leaves rows that read padding.
    runs_into(with_term(compile_network(network, CONFIG, batch=1), 1, **fields), memory, 1)


def test_copies_of_a_map_are_not_shown():
    first = layer("conv", outputs=4)
    strided = layer("next", "conv", first.out_shape, stride=(2, 2), padding=(0, 0, 0, 0))
    last = layer("last", "conv", first.out_shape, kernel=(1, 1), padding=(0, 0, 0, 0),
                 terms=(identity("conv", 4, 2),), code_bits=None)
    network = small_network(first, strided, last)
    image = compile_network(network, CONFIG)
    assert [item["name"] for item in image.layers if item["copy"]] == ["conv.copy1"]
    driver = Driver(ReferenceMachine(CONFIG), image)
    driver.load()
    codes = random_codes(network, 2)
    result, wanted = driver.run(codes, observe=True), evaluate(network, codes)
    assert list(result.maps) == list(wanted)
    for name, values in result.maps.items():
        np.testing.assert_array_equal(values, wanted[name], err_msg=name)
    assert len(result.layers) == 4


def test_memory_that_is_not_the_machine_is_not_stored(driver):
    payload = section(Memory.PARAMETERS, 0, 5, 1, [0xFFFFFFFF])
    payload += section(Memory.ACTIVATIONS, 1, 7, 1, [0xFFFFFFFF, 0xFFFFFFFF])
    payload += section(Memory.SCALES, 0, 0, 1, [0xFFFFFFFF])
    read = build_frame(Opcode.READ, section_header(Memory.ACTIVATIONS, 1, 7, 1), CONFIG.fingerprint)
    answer = driver.transport.exchange(np.concatenate(
        [build_frame(Opcode.WRITE, payload, CONFIG.fingerprint), read]))
    ((opcode, data),) = iterate_frames(answer, CONFIG.fingerprint)
    assert (opcode, data.tolist()) == (Opcode.DATA, [0xFFFFFFFF, 0xF])
    assert driver.transport.memories[Memory.SCALES][0, 0, 0] == 0x1FFFF


def test_registers_keep_what_is_not_writable(driver):
    transport = driver.transport
    assert transport.read_register(RegisterAddress.WATCHDOG) == DEFAULT_WATCHDOG_CYCLES
    transport.write_register(RegisterAddress.WATCHDOG, 1234)
    transport.write_register(RegisterAddress.FINGERPRINT, 1)
    driver.reset()
    assert transport.read_register(RegisterAddress.WATCHDOG) == 1234
    assert transport.read_register(RegisterAddress.FINGERPRINT) == CONFIG.fingerprint
    assert transport.read_register(99) == 0


class Liar(ReferenceMachine):
    """A machine whose answers are tampered with."""

    def __init__(self, config, tamper):
        super().__init__(config)
        self.tamper = tamper

    def exchange(self, words, expect=None):
        return self.tamper(super().exchange(words, expect))


@pytest.mark.parametrize(("tamper", "message"), [
    (lambda words: words[:-1], "must answer in frames"),
    (lambda words: words ^ np.uint32(1), "must answer in frames"),
    (lambda words: np.r_[words[:9], words[9:10] ^ np.uint32(1), words[10:]], "with its checksum"),
    (lambda words: np.r_[words, words][:2 * len(words)], r"must answer with \d+ words, not"),
    (lambda words: np.r_[words[-12:], words[:-12]], "must answer with a RESULT frame of 16 words"),
])
def test_wrong_answers_are_noticed(network, tamper, message):
    machine = Liar(CONFIG, lambda words: words)
    driver = Driver(machine, compile_network(network, CONFIG))
    driver.load()
    machine.tamper = tamper
    with pytest.raises(DriverError, match=message) as caught:
        driver.run(random_codes(network, 1))
    assert caught.value.code is None
