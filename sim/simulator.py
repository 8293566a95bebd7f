"""Builds and starts simulations."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from . import runners, toolchain, verilate
from .cache import BuildCache
from .errors import SimulationError
from .runners import HOME, RUNNER_ARGS, VPI_LIBRARIES, runner_of
from .verilate import BENCH, BENCH_MODULE, VERILATOR_ARGS, build_folder, control_file
from .waves import FORMATS

__all__ = ["Simulation", "build"]

_UNNAMED = re.compile(r"\\\$(\d+) ")
"""A net of an expression that nobody named."""


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

    def start(self, cwd, log, environment, pass_fds=(), waves=None):
        """Starts the simulation as a child process in a session of its own.

        Parameters
        ----------
        cwd : path
            Its working folder.
        log : file object
            Takes what it prints.
        environment : dict of str
            Variables beside those that cocotb needs.
        pass_fds : tuple of int
            File descriptors it inherits.
        waves : path or None
            Where it writes waves.

        Returns
        -------
        subprocess.Popen
        """
        tool = runner_of(self.engine)
        tool.build_dir = self.folder
        tool.sim_hdl_toplevel = BENCH_MODULE
        tool.hdl_toplevel_lang = "verilog"
        tool.test_module = "xnorloom.sim.cocotb_server"
        tool.waves = waves is not None
        tool.gui, tool.pre_cmd, tool.test_args, tool.plusargs = False, None, [], []
        try:
            tool._set_env_test()
        except ValueError as error:
            raise SimulationError(f"Simulation needs a Python with a shared library: {error}"
                                  ) from None
        command = list(tool._test_command()[0])
        if waves is not None and self.engine == "verilator":
            command += ["--trace-file", str(waves)]
        elif waves is not None:
            command = [f"-{self.waves}" if arg == "-fst" else arg for arg in command]
            command += [f"+dumpfile_path={waves}"]
        inherited = {name: value for name, value in tool.env.items()
                     if not name.startswith(("COCOTB_", "PYTEST_"))}
        env = inherited | {
            "COCOTB_TOPLEVEL": BENCH_MODULE, "COCOTB_TEST_MODULES": tool.test_module,
            "COCOTB_TRUST_INERTIAL_WRITES": "1",
            "COCOTB_RESULTS_FILE": os.devnull, "COCOTB_LOG_LEVEL": "WARNING",
            "PYTHONPATH": os.pathsep.join([str(HOME), *sys.path]), **environment}
        return subprocess.Popen(command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=log,
                                stderr=subprocess.STDOUT, pass_fds=pass_fds,
                                start_new_session=True)


def build(verilog, *, engine="verilator", waves=None, optimize=2, cache=None,
          progress=None):
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
    progress : callable or None
        Called as ``progress(stage, done, total)`` while it is built; ``total`` is None where it is
        not known.

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
    if waves not in (None, *FORMATS):
        raise SimulationError(f"Waves must be one of {', '.join(FORMATS)}, not {waves!r}")
    if waves == "fst" and engine == "verilator":
        toolchain.check_fst()
    cache = cache or BuildCache()
    flags = {"engine": engine, "waves": waves, "optimize": optimize,
             "versions": toolchain.tool_versions(engine), "args": VERILATOR_ARGS + RUNNER_ARGS,
             "compiler": toolchain.compiler() if engine == "verilator" else None,
             "libs": VPI_LIBRARIES}
    texts = [verilog, BENCH.read_text(), control_file(),
             *(Path(name).read_text() for name in (__file__, runners.__file__, verilate.__file__))]
    make = _make_verilator if engine == "verilator" else _make_icarus
    runtime = cache.key({"runtime": {**flags, "optimize": None}})
    folder = cache.get(cache.key({"texts": texts, **flags}), lambda entry: make(
        verilog, entry, waves, optimize, cache, runtime, progress))
    return Simulation(engine, folder, waves)


def _make_verilator(verilog, entry, waves, optimize, cache, runtime_key, progress):
    if waves:
        # Names that begin so are no part of the waves, which are a quarter smaller without them.
        verilog = _UNNAMED.sub(r"_unnamed_\1 ", verilog)
    with build_folder(verilog) as folder:
        objects = folder / "build"
        objects.mkdir()
        runtime = cache.folder / runtime_key
        # Verilator's own runtime takes far longer to compile than a small machine.
        ready = [shutil.copyfile(path, objects / path.name).name
                 for path in sorted(runtime.glob("verilated*.o"))]
        tool = runner_of("verilator")
        tool.optimize, tool.ready_objects, tool.progress = optimize, ready, progress
        args = [*VERILATOR_ARGS, *RUNNER_ARGS, *(["--trace-fst"] if waves == "fst" else [])]
        _build(tool, folder, [folder / "public.vlt"], args, waves)
        shutil.copy(objects / BENCH_MODULE, entry / BENCH_MODULE)
        if not runtime.exists():
            cache.get(runtime_key, lambda made: [
                shutil.copyfile(path, made / path.name) for path in objects.glob("verilated*.o")])


def _make_icarus(verilog, entry, waves, _optimize, _cache, _runtime_key, progress):
    if progress is not None:
        progress("compile", 0, None)
    with build_folder(verilog) as folder:
        _build(runner_of("icarus"), folder, [], [], waves)
        shutil.copy(folder / "build" / "sim.vvp", entry / "sim.vvp")


def _build(tool, folder, controls, args, waves):
    tool.wanted_waves = waves is not None
    tool.build(sources=[*controls, folder / "top.v", folder / BENCH.name],
               hdl_toplevel=BENCH_MODULE, build_dir=folder / "build", build_args=args, always=True,
               timescale=("1ns", "1ps"))
