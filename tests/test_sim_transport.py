"""The transport and its bench, tried on a stand-in that builds in seconds."""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from tests.interrupts import heed_interrupts
from tests.sim_echo import FAULT, HANG, echo, pause
from xnorloom.sim.cache import BuildCache
from xnorloom.sim.errors import SimulationError, ToolMissing
from xnorloom.sim.transport import RtlTransport, Stalls

ROOT = Path(__file__).resolve().parents[1]

ENGINES = ["verilator", pytest.param("icarus", marks=pytest.mark.skipif(
    shutil.which("iverilog") is None, reason="Icarus Verilog is not installed"))]


def open_echo(engine="verilator", offset=1, **options):
    return RtlTransport(None, engine=engine, verilog=echo(offset), **options)


def random_words(count, seed=0):
    # The highest words mean something to the stand-in.
    return np.random.default_rng(seed).integers(1 << 28, 1 << 31, count, dtype=np.uint32)


@pytest.fixture(scope="module", params=ENGINES)
def machine(request):
    with open_echo(request.param) as transport:
        yield transport


@pytest.fixture(autouse=True)
def _recover(request):
    yield
    if "machine" in request.fixturenames:
        transport = request.getfixturevalue("machine")
        transport.stalls, transport.cycle_limit = Stalls(), 1 << 28
        transport.write_register(6, 1)


@pytest.mark.parametrize("count", [0, 1, 2, 1000])
def test_every_word_comes_back(machine, count):
    words = random_words(count)
    answer = machine.exchange(words)
    assert answer.dtype == np.uint32
    np.testing.assert_array_equal(answer, words + np.uint32(1))


def test_one_word_a_cycle(machine):
    before = machine.cycles
    machine.exchange(random_words(1000))
    assert 1000 < machine.cycles - before < 1020


@pytest.mark.parametrize("stalls", [Stalls(i=0.5), Stalls(o=0.5), Stalls(i=0.3, o=0.7, seed=9),
                                    Stalls(i=0.95, o=0.95, seed=3)])
def test_stalls_lose_and_double_nothing(machine, stalls):
    machine.stalls = stalls
    words = random_words(500, stalls.seed)
    before = machine.cycles
    np.testing.assert_array_equal(machine.exchange(words), words + np.uint32(1))
    slowest = 1 / (1 - max(stalls.i, stalls.o))
    assert 0.8 * slowest < (machine.cycles - before) / 500 < 2 * slowest + 0.5


def test_it_waits_for_a_busy_machine(machine):
    before = machine.cycles
    np.testing.assert_array_equal(machine.exchange([pause(5000), 1 << 30]), [(1 << 30) + 1])
    assert 5000 < machine.cycles - before < 5020


def test_time_stands_still_between_calls(machine):
    machine.exchange(random_words(3))
    before = machine.cycles
    time.sleep(0.2)
    for address in (0, 1, 15):
        machine.read_register(address)
    machine.write_register(7, 1)
    assert machine.cycles == before + 4


def test_registers(machine):
    for value in (0, 1, 0xFFFFFFFF, 0x12345678):
        machine.write_register(7, value)
        assert machine.read_register(7) == value
    assert machine.read_register(0xA) == 0x4C4F4F4A


def test_an_unknown_register_is_an_error_and_survived():
    if shutil.which("iverilog") is None:
        pytest.skip("Icarus Verilog is not installed")
    with open_echo("icarus") as transport:
        with pytest.raises(SimulationError, match="but signal read_data is XX"):
            transport.read_register(7)
        transport.write_register(7, 5)
        assert transport.read_register(7) == 5


def test_a_handshake_that_is_x_ends_the_exchange():
    if shutil.which("iverilog") is None:
        pytest.skip("Icarus Verilog is not installed")
    verilog = echo().replace("hung <= 0;", "")
    with RtlTransport(None, engine="icarus", verilog=verilog) as transport, pytest.raises(
            SimulationError, match="a handshake or busy or error of the machine is X"):
        transport.exchange([1])


def test_an_error_ends_the_exchange_and_swallows_the_rest(machine):
    words = np.concatenate([random_words(3), [FAULT], random_words(1000)]).astype(np.uint32)
    np.testing.assert_array_equal(machine.exchange(words), words[:3] + np.uint32(1))
    assert len(machine.exchange(random_words(10))) == 0
    machine.write_register(6, 1)
    np.testing.assert_array_equal(machine.exchange(words[:3]), words[:3] + np.uint32(1))


def test_the_cycle_limit_is_kept_and_recovered_from(machine):
    machine.cycle_limit = 3000
    before = machine.cycles
    with pytest.raises(SimulationError, match=re.escape(
            "Simulation must finish within 3000 cycles, but the machine was offered 3 of 5 "
            "words, sent 1 and still has busy = 1, error = 0")):
        machine.exchange(np.array([1, HANG, 5, 6, 7], dtype=np.uint32))
    assert machine.cycles - before == 3000
    machine.write_register(6, 1)
    np.testing.assert_array_equal(machine.exchange([40, 41]), [41, 42])


def test_a_hit_of_the_cache_is_quick_and_two_texts_do_not_collide():
    with open_echo(), open_echo(offset=5) as five:
        np.testing.assert_array_equal(five.exchange([100]), [105])
        with open_echo() as one:
            assert one.build_seconds < 1
            np.testing.assert_array_equal(one.exchange([100]), [101])


def test_a_dead_simulator_is_an_error_at_once():
    with open_echo() as transport:
        os.kill(transport.pid, signal.SIGKILL)
        with pytest.raises(SimulationError, match="Simulation must answer, but the simulator ended "
                                                  "with status -9"):
            transport.exchange(random_words(3))
        for use in (lambda: transport.exchange(random_words(3)),
                    lambda: transport.read_register(0), lambda: transport.write_register(7, 1)):
            with pytest.raises(SimulationError, match="^Simulation must not be used after its "
                                                      "simulator ended with status -9$"):
                use()
        transport.close()
        transport.close()


def test_a_simulator_that_dies_during_an_exchange_is_an_error_at_once():
    with open_echo(cycle_limit=1 << 40) as transport:
        killer = threading.Timer(1, os.kill, (transport.pid, signal.SIGKILL))
        killer.start()
        start = time.monotonic()
        with pytest.raises(SimulationError, match="but the simulator ended with status -9"):
            transport.exchange([HANG])
        killer.join()
        assert time.monotonic() - start < 30
        with pytest.raises(SimulationError, match="its simulator ended with status -9$"):
            transport.exchange([1])


def test_closing_leaves_nothing():
    transport = open_echo()
    folder, pid = transport._child.folder, transport.pid
    assert folder.is_dir()
    transport.close()
    transport.close()
    assert not folder.exists() and not alive(pid)
    for use in (lambda: transport.exchange([1]), lambda: transport.read_register(0),
                lambda: transport.write_register(7, 1)):
        with pytest.raises(SimulationError, match="^Simulation must not be used after it was "
                                                  "closed$"):
            use()


@pytest.mark.parametrize("engine", ENGINES)
def test_waves_appear_at_the_close(tmp_path, engine):
    waves = tmp_path / "run.vcd"
    with open_echo(engine, waves=waves) as transport:
        transport.exchange(random_words(20))
        assert not waves.exists()
    text = waves.read_text()
    assert "$enddefinitions" in text and "m_axis_tdata" in text
    assert [path.name for path in tmp_path.iterdir()] == ["run.vcd"]


def test_waves_in_fst(tmp_path):
    try:
        with open_echo(waves=tmp_path / "run.fst") as transport:
            transport.exchange(random_words(20))
    except ToolMissing as error:
        assert "name a '.vcd' file" in str(error)
        pytest.skip("the headers of lz4 and zlib are not installed")
    assert (tmp_path / "run.fst").stat().st_size > 100


@pytest.mark.parametrize("options, message", [
    ({"engine": "questa"}, "Simulation engine must be one of verilator, icarus, not 'questa'"),
    ({"waves": "run.txt"}, "Waves must be a '.fst' or '.vcd' file, not 'run.txt'"),
    ({"waves": "/absent/run.vcd"},
     "Waves must go to a folder that can be written, not '/absent'"),
])
def test_options_are_checked(options, message):
    with pytest.raises(SimulationError, match=f"^{re.escape(message)}$"):
        open_echo(**options)


@pytest.mark.parametrize("fields, message", [
    ({"i": 1}, "Stalls field 'i' must be at least 0 and below 1, not 1"),
    ({"o": -0.1}, "Stalls field 'o' must be at least 0 and below 1, not -0.1"),
    ({"seed": 0}, "Stalls field 'seed' must be from 1 to 4294967295, not 0"),
])
def test_stalls_are_checked(fields, message):
    with pytest.raises(SimulationError, match=f"^{re.escape(message)}$"):
        Stalls(**fields)


def test_wrong_verilog_is_an_error_with_the_tool_s_words(tmp_path):
    with pytest.raises(SimulationError, match=r"failed with status 1:\n(.|\n)*syntax error"):
        RtlTransport(None, verilog="module top(; endmodule\n", cache=BuildCache(tmp_path))
    assert not any(path.is_dir() for path in tmp_path.iterdir())


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


_RUN_FOR_EVER = """
import sys
from pathlib import Path
from xnorloom.sim.transport import RtlTransport
from tests.sim_echo import HANG, echo
transport = RtlTransport(None, verilog=echo(), waves={waves}, cycle_limit=1 << 40)
with transport:
    Path({note!r}).write_text(f"{{transport.pid}} {{transport._child.folder}}")
    transport.exchange([HANG])
"""


@pytest.mark.parametrize("end, with_waves", [
    (signal.SIGINT, False), (signal.SIGINT, True), (signal.SIGTERM, False),
    (signal.SIGKILL, False), (signal.SIGKILL, True)])
def test_nothing_outlives_the_parent(tmp_path, end, with_waves):
    note, waves = tmp_path / "note", tmp_path / "run.vcd"
    script = _RUN_FOR_EVER.format(note=str(note), waves=repr(str(waves)) if with_waves else None)
    parent = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, start_new_session=True,
                              stderr=subprocess.DEVNULL, preexec_fn=heed_interrupts)
    try:
        pid, folder = wait_for(lambda: note.exists() and note.read_text().split(), 120)
        time.sleep(0.5)
        assert alive(int(pid)) and parent.poll() is None
        # The whole foreground group gets what the terminal sends.
        os.killpg(parent.pid, end)
        parent.wait(30)
        wait_for(lambda: not alive(int(pid)), 30)
        wait_for(lambda: not Path(folder).exists() and not list(tmp_path.glob(".*")), 10)
    finally:
        parent.kill()
        parent.wait()
    names = {path.name for path in tmp_path.iterdir()}
    # Interrupted waves are kept if they are whole.
    assert names in ({"note"}, {"note", "run.vcd"})
    if "run.vcd" in names:
        assert "$enddefinitions" in waves.read_text()


def wait_for(condition, seconds):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if answer := condition():
            return answer
        time.sleep(0.05)
    raise AssertionError(f"nothing came within {seconds} seconds")
