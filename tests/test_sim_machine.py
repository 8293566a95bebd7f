"""The generated machine in a simulator against the integer reference: results, counters, faults."""

import re
import shutil

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from tests.networks import layer, small_network
from tests.strategies import machines, networks, random_codes
from tests.test_sw_driver import CONFIG, LINK_FAULTS, patched
from xnorloom.hw.spec.config import PRESETS, MachineConfig
from xnorloom.hw.spec.descriptor import DESCRIPTOR, descriptor_limits
from xnorloom.hw.spec.link import ErrorCode, Opcode, frame
from xnorloom.hw.spec.registers import REGISTERS, RegisterAddress
from xnorloom.sim.emitted import emitted
from xnorloom.sim.transport import RtlTransport, Stalls
from xnorloom.sim.verilate import lint
from xnorloom.sw.errors import CompileError
from xnorloom.sw.machine.driver import Driver, DriverError
from xnorloom.sw.machine.reference import ReferenceMachine
from xnorloom.sw.passes.compiler import compile_network

WATCHDOG = 500


def run_both(transport, config, network, codes, batch=None):
    """Runs a network on the reference and the simulated machine; everything must agree."""
    image = compile_network(network, config, batch=batch)
    results = []
    for machine in (ReferenceMachine(config), transport):
        driver = Driver(machine, image)
        driver.reset()
        driver.load()
        results.append((driver.run(codes, observe=True), driver.run(codes)))
    (seen, plain), (rtl_seen, rtl_plain) = results
    for name, expected in seen.maps.items():
        np.testing.assert_array_equal(rtl_seen.maps[name], expected, err_msg=name)
    np.testing.assert_array_equal(rtl_plain.outputs, plain.outputs)
    assert rtl_seen.layers == seen.layers
    assert rtl_plain.layers == plain.layers
    assert rtl_plain.cycles == plain.cycles
    return image


@pytest.fixture(scope="module")
def rtl():
    with RtlTransport(CONFIG, optimize=1) as transport:
        yield transport


@pytest.fixture
def clean(rtl):
    """The machine as after power-up, with a short watchdog."""
    rtl.stalls = Stalls()
    rtl.write_register(RegisterAddress.CONTROL, 1)
    rtl.write_register(RegisterAddress.WATCHDOG, WATCHDOG)
    yield rtl
    rtl.stalls = Stalls()


def test_registers_after_reset(clean):
    reference = ReferenceMachine(CONFIG)
    reference.write_register(RegisterAddress.WATCHDOG, WATCHDOG)
    for register in REGISTERS:
        assert clean.read_register(register.address) == reference.read_register(register.address), \
            register.address.name
    for address in set(range(16)) - {register.address for register in REGISTERS}:
        assert clean.read_register(address) == 0


@pytest.mark.parametrize("network", [
    small_network(),
    small_network(layer(kernel=(1, 1), padding=(0,) * 4)),
    small_network(layer(stride=(2, 3), kernel=(5, 4), padding=(2, 2, 1, 1), grouping="row")),
    small_network(layer(in_shape=(37, 3, 3), outputs=9, weight_planes=3, grouping="pixel"),
                  in_shape=(37, 3, 3)),
], ids=["two-layers", "one-tap", "strided", "many-channels"])
def test_results_and_counters_agree(clean, network):
    run_both(clean, CONFIG, network, random_codes(network, 5))


@pytest.mark.parametrize("stalls", [Stalls(i=0.4, seed=2), Stalls(o=0.4, seed=3),
                                    Stalls(i=0.6, o=0.8, seed=4)])
def test_back_pressure_changes_no_result(clean, stalls):
    network = small_network()
    codes = random_codes(network, 5)
    image = compile_network(network, CONFIG)
    expected = Driver(ReferenceMachine(CONFIG), image)
    expected.load()
    clean.stalls = stalls
    driver = Driver(clean, image)
    driver.load()
    for observe in (False, True):
        np.testing.assert_array_equal(driver.run(codes, observe=observe).outputs,
                                      expected.run(codes).outputs)


@pytest.mark.parametrize(("code", "word", "sent"), LINK_FAULTS)
def test_link_faults_are_reported_kept_and_recovered_from(clean, code, word, sent):
    network = small_network()
    driver = Driver(clean, compile_network(network, CONFIG))
    driver.load()
    with pytest.raises(DriverError) as caught:
        driver._exchange([np.array(sent, dtype=np.uint32)], 0)
    assert (caught.value.code, caught.value.word) == (code, word)
    assert clean.read_register(RegisterAddress.STATUS) == 2
    # The first fault stays, and whatever comes is swallowed.
    assert not len(clean.exchange(np.array(frame(Opcode.DONE, [1], 0), dtype=np.uint32)))
    assert clean.read_register(RegisterAddress.ERROR_CODE) == code
    assert clean.read_register(RegisterAddress.ERROR_WORD) == word
    assert clean.read_register(RegisterAddress.WATCHDOG) == WATCHDOG
    run_both(clean, CONFIG, network, random_codes(network, 1))


def faulty_run(transport, image, codes, original):
    """Loads an image that is broken and runs it; returns the fault."""
    driver = Driver(transport, image)
    driver._descriptors = original.descriptors()
    driver.reset()
    driver.load()
    with pytest.raises(DriverError) as caught:
        driver.run(codes)
    return caught.value.code, caught.value.word


def test_descriptor_bounds_are_checked_as_in_the_reference(clean):
    network = small_network()
    image, codes = compile_network(network, CONFIG), random_codes(network, 1)
    for name, (low, high) in descriptor_limits(CONFIG).items():
        top = DESCRIPTOR.fields[name].range[1]
        for bad in ([low - 1] if low else []) + ([high + 1] if high < top else []):
            broken = patched(image, 1, **{name: bad})
            fault = faulty_run(clean, broken, codes, image)
            assert fault == (ErrorCode.DESCRIPTOR,
                             len(DESCRIPTOR) + DESCRIPTOR.place(name)[0]), (name, bad)
            assert fault == faulty_run(ReferenceMachine(CONFIG), broken, codes, image)
    run_both(clean, CONFIG, network, codes)


@pytest.mark.parametrize(("number", "fields"), [
    (1, {"term_base": 128}), (1, {"weight_base": 2040}), (1, {"scale_base": 1024}),
    (1, {"parameter_base": 511}), (0, {"out_base": 4095}),
], ids=lambda value: "-".join(value) if isinstance(value, dict) else str(value))
def test_steps_that_leave_a_memory_are_the_reference_s_faults(clean, number, fields):
    network = small_network()
    image, codes = compile_network(network, CONFIG), random_codes(network, 1)
    broken = patched(image, number, **fields)
    fault = faulty_run(clean, broken, codes, image)
    assert fault[0] is ErrorCode.ADDRESS
    assert fault == faulty_run(ReferenceMachine(CONFIG), broken, codes, image)
    run_both(clean, CONFIG, network, codes)


def test_a_run_without_an_image_is_an_error(clean):
    network = small_network()
    image = compile_network(network, CONFIG)
    with pytest.raises(DriverError) as caught:
        Driver(clean, image).run(random_codes(network, 1))
    assert caught.value.code is ErrorCode.NOT_LOADED
    run_both(clean, CONFIG, network, random_codes(network, 1))


def test_a_run_that_makes_no_progress_is_given_up(clean):
    network = small_network()
    image = compile_network(network, CONFIG)
    driver = Driver(clean, image)
    driver.load()
    clean.write_register(RegisterAddress.WATCHDOG, 100)
    # The machine cannot send its accumulators while nobody takes a word.
    clean.stalls = Stalls(o=255 / 256, seed=5)
    with pytest.raises(DriverError) as caught:
        driver.run(random_codes(network, 1))
    assert (caught.value.code, caught.value.word) == (ErrorCode.WATCHDOG, 1)
    clean.stalls = Stalls()
    run_both(clean, CONFIG, network, random_codes(network, 1))


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus Verilog is not installed")
@pytest.mark.parametrize("power_up", ["as emitted", "from X"])
def test_icarus_agrees(power_up):
    network = small_network()
    config = PRESETS["tiny"]
    verilog = emitted(config, "plain")
    if power_up == "from X":
        # Initial values would hide a register that the reset forgets.
        verilog, count = re.subn(r"^(  reg [^$=\n]*) = \d+'[hd]\w+;$", r"\1;", verilog, flags=re.M)
        assert count > 50
    with RtlTransport(config, engine="icarus", verilog=verilog) as transport:
        run_both(transport, config, network, random_codes(network, 1))


@pytest.mark.parametrize("preset", ["tiny", "small"])
@pytest.mark.parametrize("popcount", ["plain", "countones"])
def test_the_emitted_text_passes_lint(preset, popcount):
    lint(emitted(PRESETS[preset], popcount))


def _check_machines(machines_tried):
    @settings(max_examples=machines_tried, phases=(Phase.generate,), database=None,
              suppress_health_check=list(HealthCheck))
    @given(data=st.data())
    def check(data):
        config = data.draw(machines(depth=1024))
        tried = 0
        with RtlTransport(config, optimize=1) as transport:
            for _ in range(20):
                network = data.draw(networks(config))
                codes = random_codes(network, data.draw(st.integers(1, 3)))
                try:
                    compile_network(network, config)
                except CompileError:
                    # Refused by name: too large, or scales beyond this machine.
                    continue
                note(f"{config}\n{network}")
                run_both(transport, config, network, codes)
                tried += 1
                if tried == 4:
                    break
        counts.append(tried)

    counts = []
    check()
    return sum(counts)


def test_random_networks_on_random_machines():
    # Building takes the time, so each machine runs several networks.
    assert _check_machines(5) >= 20


@pytest.mark.slow
def test_many_random_networks_on_random_machines():
    assert _check_machines(52) >= 200


def test_a_machine_of_one():
    config = MachineConfig(rows=1, cols=1, lanes=1, popcount_stages=1)
    network = small_network(layer(in_shape=(2, 3, 3), outputs=2), in_shape=(2, 3, 3))
    with RtlTransport(config, optimize=1) as transport:
        run_both(transport, config, network, random_codes(network, 2))
