"""Waves: which cycles they show, how they are named, what becomes of a full disk."""

import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.networks import layer, small_network
from tests.sim_echo import HANG, echo, pause
from tests.strategies import random_codes
from xnorloom.hw.spec.config import PRESETS
from xnorloom.sim import toolchain, waves
from xnorloom.sim.errors import SimulationError
from xnorloom.sim.transport import RtlTransport
from xnorloom.sim.waves import check_room, expected_bytes, waves_path
from xnorloom.sw.machine.driver import Driver
from xnorloom.sw.passes.compiler import compile_network

ROOT = Path(__file__).resolve().parents[1]

ENGINES = ["verilator", pytest.param("icarus", marks=pytest.mark.skipif(
    shutil.which("iverilog") is None, reason="Icarus Verilog is not installed"))]


def open_echo(path, engine="verilator", **options):
    return RtlTransport(None, engine=engine, verilog=echo(), waves=path, **options)


def clock_edges(text):
    """How often the bench's clock rises in a VCD file."""
    scopes, code = [], None
    head, body = text.split("$enddefinitions $end")
    for words in map(str.split, head.splitlines()):
        if words[:1] == ["$scope"]:
            scopes.append(words[2])
        elif words[:1] == ["$upscope"]:
            scopes.pop()
        elif words[:1] == ["$var"] and scopes[-1] == "bench" and words[4] == "clk":
            code = words[3]
    steps = re.split(r"^#\d+$", body, flags=re.MULTILINE)
    return sum(f"1{code}" in step.split() for step in steps)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("window", [(20, 50), (0, 10), (100, 101), (3, 100_000)])
def test_a_window_holds_its_cycles_and_no_others(tmp_path, engine, window):
    path = tmp_path / "run.vcd"
    words = np.arange(1000, 1200, dtype=np.uint32)
    with open_echo(path, engine, window=window) as transport:
        np.testing.assert_array_equal(transport.exchange(words), words + 1)
        transport.write_register(7, 1)
        np.testing.assert_array_equal(transport.exchange(words), words + 1)
        cycles = transport.cycles
    assert clock_edges(path.read_text()) == min(window[1], cycles) - window[0]


def test_a_window_changes_no_cycle(tmp_path):
    counts = []
    for options in ({}, {"window": (2, 77)}, {"window": (150, 160)}):
        with open_echo(tmp_path / "run.vcd", **options) as transport:
            for _ in range(3):
                transport.exchange(np.arange(100, dtype=np.uint32) + 7)
                transport.write_register(7, 3)
            transport.exchange([pause(300), 5])
            counts.append(transport.cycles)
    assert len(set(counts)) == 1


def test_a_window_after_the_end_is_said(tmp_path):
    with pytest.raises(SimulationError, match=r"^Waves must begin before cycle \d+, with which the "
                                              r"simulation ended, not at cycle 5000$"), \
            open_echo(tmp_path / "run.vcd", window=(5000, 6000)) as transport:
        transport.exchange([1, 2])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("window", [(5, 5), (-1, 5), (9, 3)])
def test_a_window_that_is_none_is_refused(tmp_path, window):
    with pytest.raises(SimulationError, match=f"ends later, not {window[0]}:{window[1]}$"):
        open_echo(tmp_path / "run.vcd", window=window)
    assert not list(tmp_path.iterdir())


def test_a_name_without_suffix_gets_the_better_format(monkeypatch, tmp_path):
    monkeypatch.setattr(toolchain, "has_fst", lambda: True)
    assert waves_path(tmp_path / "run") == tmp_path / "run.fst"
    monkeypatch.setattr(toolchain, "has_fst", lambda: False)
    assert waves_path(tmp_path / "run") == tmp_path / "run.vcd"
    assert waves_path(tmp_path / "run", "icarus") == tmp_path / "run.fst"
    assert waves_path(tmp_path / "run.vcd") == tmp_path / "run.vcd"


def test_waves_that_cannot_fit_are_refused(tmp_path):
    path = tmp_path / "run.vcd"
    size = expected_bytes(PRESETS["default"], path, 1 << 40)
    with pytest.raises(SimulationError, match=r"^Waves must fit on the disk of '.*', where [\d,]+ "
                                              r"MB are free, but will take about [\d,]+ MB; "
                                              r"record fewer cycles$"):
        check_room(path, size)
    check_room(path, 1)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["vcd", "fst"])
def test_waves_are_about_as_large_as_expected(tmp_path, suffix):
    if suffix == "fst" and not toolchain.has_fst():
        pytest.skip("the headers of lz4 and zlib are not installed")
    config, path = PRESETS["tiny"], tmp_path / f"run.{suffix}"
    network = small_network(layer(in_shape=(16, 10, 10), outputs=16), in_shape=(16, 10, 10))
    with RtlTransport(config, waves=path, optimize=0) as transport:
        driver = Driver(transport, compile_network(network, config, batch=1))
        driver.load()
        loaded = transport.cycles
        driver.run(random_codes(network, 4))
        cycles = transport.cycles
    assert cycles > 2 * loaded
    assert 0.4 < path.stat().st_size / expected_bytes(config, path, cycles) < 2.5


@pytest.mark.parametrize("engine", ENGINES)
def test_a_disk_that_fills_ends_it_at_once(monkeypatch, tmp_path, engine):
    transport = open_echo(tmp_path / "run.vcd", engine, cycle_limit=1 << 40)
    folder = transport._child.folder
    monkeypatch.setattr(waves, "RESERVE_BYTES", shutil.disk_usage(tmp_path).free - (4 << 20))
    start = time.monotonic()
    with pytest.raises(SimulationError, match=r"^Waves must fit on the disk of '.*', but took \d+ "
                                              r"MB and left [\d,]+ MB of it; record fewer cycles$"):
        transport.exchange([HANG])
    assert time.monotonic() - start < 60
    with pytest.raises(SimulationError, match="after its waves had filled the disk$"):
        transport.read_register(0)
    transport.close()
    assert not list(tmp_path.iterdir()) and not folder.exists()


_LIMITED = """
import resource, sys
from xnorloom.sim.errors import SimulationError
from xnorloom.sim.transport import RtlTransport
from tests.sim_echo import HANG, echo
open_echo = lambda: RtlTransport(None, verilog=echo(), waves=sys.argv[1], cycle_limit=1 << 40)
open_echo().close()
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 22, resource.RLIM_INFINITY))
try:
    with open_echo() as transport:
        transport.exchange([HANG])
except SimulationError as error:
    print(error)
"""


def test_waves_that_the_system_refuses_end_it_at_once(tmp_path):
    """A quota or a limit, of which the free space of the disk tells nothing."""
    done = subprocess.run([sys.executable, "-c", _LIMITED, str(tmp_path / "run.vcd")], cwd=ROOT,
                          capture_output=True, text=True, timeout=200)
    assert re.match(r"Simulation must answer, but the simulator ended with status 1; its last "
                    r"lines:\n(.*\n)*VerilatedVcd::bufferFlush: File too large", done.stdout), done
    assert [path.name for path in tmp_path.iterdir()] == ["run.vcd"]


def test_waves_of_a_killed_simulator_are_an_error(tmp_path):
    with pytest.raises(SimulationError, match="^Waves must be finished, but the simulator ended "
                                              "with status -9"), \
            open_echo(tmp_path / "run.vcd") as transport:
        transport.exchange([1])
        transport._child._process.send_signal(signal.SIGKILL)
    assert not list(tmp_path.iterdir())
