"""The simulated machine as a transport: the driver talks to it as to any other machine."""

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import weakref
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from xnorloom.sw.files import FileError, whole_file

from .emitted import emitted
from .errors import SimulationError
from .simulator import build

__all__ = ["DEFAULT_CYCLE_LIMIT", "RtlTransport", "SoftReset", "Stalls"]

DEFAULT_CYCLE_LIMIT = 1 << 28
"""Cycles after which an exchange is given up."""

_START_SECONDS = 180
_ANSWER_SECONDS = 120
_CLOSE_SECONDS = 120
_LOG_LINES = 20


@dataclass(frozen=True)
class Stalls:
    """Pseudo-random gaps on the link, to try back-pressure.

    Parameters
    ----------
    i, o : float
        Chance, per cycle, that no word is offered to the machine (``i``) or none is taken from it
        (``o``); 0 up to, but without, 1, in steps of 1/256.
    seed : int
        Another seed is another pattern, 1 to 2 ** 32 - 1.
    """

    i: float = 0.0
    o: float = 0.0
    seed: int = 1

    def __post_init__(self):
        for name in ("i", "o"):
            if not 0 <= getattr(self, name) < 1:
                raise SimulationError(f"Stalls field '{name}' must be at least 0 and below 1, "
                                      f"not {getattr(self, name)!r}")
        if not 1 <= self.seed < 1 << 32:
            raise SimulationError(f"Stalls field 'seed' must be from 1 to {(1 << 32) - 1}, "
                                  f"not {self.seed!r}")


@dataclass(frozen=True)
class SoftReset:
    """A soft reset in the middle of an exchange, while words go on.

    Parameters
    ----------
    cycle : int
        Cycle of the exchange in which it is written, at least 1.
    resume : int
        Index of the word with which sending goes on in the next cycle; before the reset no word
        from there on is sent.
    blocked : bool
        Whether no word is taken from the machine before the reset.
    """

    cycle: int
    resume: int
    blocked: bool = False


class RtlTransport:
    """Link and registers of a machine that runs in a simulator, which is a child process.

    Simulated time stands still between calls. Whatever happens to this process, the child ends.

    Parameters
    ----------
    config : hw.spec.config.MachineConfig or None
        The machine. May be None if ``verilog`` is given.
    engine : str
        ``"verilator"`` or ``"icarus"``.
    popcount : str
        How mismatches are counted: ``"countones"``, which simulates faster, or ``"plain"``, which
        is what is synthesized.
    waves : path or None
        Write all signals to this file, ``.fst`` or ``.vcd``; it appears when the transport closes.
    stalls : Stalls or None
        Gaps on the link. None: there are none.
    cycle_limit : int
        Cycles after which an exchange is given up.
    optimize : int
        Effort of the C++ compiler, see :func:`sim.simulator.build`.
    verilog : str or None
        Text of module ``top``. None: it is emitted from ``config``.
    cache : sim.cache.BuildCache or None
        Where built simulations are kept.

    Attributes
    ----------
    cycles : int
        Simulated cycles so far.
    seconds : float
        Wall-clock time spent simulating exchanges.
    build_seconds : float
        Wall-clock time spent emitting and building.
    stalls : Stalls
        May be changed between exchanges.
    cycle_limit : int
        May be changed between exchanges.

    Raises
    ------
    ToolMissing
        If a tool is not installed.
    SimulationError
        If the simulation cannot be built or started, or the waves cannot be written.
    """

    def __init__(self, config, *, engine="verilator", popcount="countones", waves=None,
                 stalls=None, cycle_limit=DEFAULT_CYCLE_LIMIT, optimize=2, verilog=None,
                 cache=None):
        self._waves = _check_waves(waves)
        self.stalls = stalls or Stalls()
        self.cycle_limit = cycle_limit
        self.cycles = 0
        self.seconds = 0.0
        start = time.perf_counter()
        if verilog is None:
            verilog = emitted(config, popcount, cache)
        simulation = build(verilog, engine=engine, optimize=optimize, cache=cache,
                           waves=self._waves.suffix[1:] if self._waves else None)
        self.build_seconds = time.perf_counter() - start
        self._start(simulation)

    def _start(self, simulation):
        self._folder = Path(tempfile.mkdtemp(prefix="xnorloom-sim-"))
        ours, theirs = socket.socketpair()
        try:
            with theirs, (self._folder / "log").open("wb") as log:
                self._child = simulation.start(self._folder, log,
                                               {"XNORLOOM_SOCKET": str(theirs.fileno())},
                                               (theirs.fileno(),))
        except BaseException:
            ours.close()
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        self._link = ours
        self._received = b""
        self._finalizer = weakref.finalize(self, _abandon, ours, self._child, self._folder)
        try:
            self._answer(_START_SECONDS)
        except BaseException:
            self._finalizer()
            raise

    @property
    def pid(self):
        """Process number of the simulator."""
        return self._child.pid

    def exchange(self, words, expect=None, *, reset=None):
        """Sends words to the machine and takes what it answers, until it is idle or in error.

        Parameters
        ----------
        words : uint32 array
            Link words.
        expect : int or None
            Words that the caller awaits. The simulated machine is never cut short, so it is not
            needed here.
        reset : SoftReset or None
            Reset the machine on the way.

        Returns
        -------
        uint32 array
            Every word that came back; with ``reset``, after it.

        Raises
        ------
        SimulationError
            If the cycle limit is reached or the simulator dies.
        """
        words = np.ascontiguousarray(words, dtype="<u4")
        words.tofile(self._folder / "input.bin")
        answer = self._ask(do="exchange", words=len(words), limit=self.cycle_limit,
                           stall_i=round(self.stalls.i * 256),
                           stall_o=256 if reset and reset.blocked else round(self.stalls.o * 256),
                           seed=self.stalls.seed, reset_at=reset.cycle if reset else 0,
                           resume=reset.resume if reset else 0)
        self.cycles, self.seconds = answer["cycles"], answer["seconds"]
        if not answer["finished"]:
            raise SimulationError(
                f"Simulation must finish within {self.cycle_limit} cycles, but the machine was "
                f"offered {answer['sent']} of {len(words)} words, sent {answer['received']} and "
                f"still has busy = {answer['busy']}, error = {answer['error']}")
        received = np.fromfile(self._folder / "output.bin", dtype="<u4")
        return received[answer["dropped"]:].astype(np.uint32, copy=False)

    def read_register(self, address):
        """Value of a register, read in no simulated time."""
        return self._ask(do="read", address=int(address))["value"]

    def write_register(self, address, value):
        """Writes a register, which takes four cycles, as long as a soft reset."""
        self.cycles = self._ask(do="write", address=int(address), value=int(value))["cycles"]

    def close(self):
        """Ends the simulator and puts the waves into their place. May be called again.

        Raises
        ------
        SimulationError
            If waves were asked for and cannot be put there.
        """
        if not self._finalizer.alive:
            return
        try:
            with suppress(OSError):
                self._link.sendall(b'{"do": "close"}\n')
                self._link.shutdown(socket.SHUT_WR)
            try:
                code = self._child.wait(_CLOSE_SECONDS if self._waves else 10)
            except subprocess.TimeoutExpired:
                code = None
            if self._waves and code is not None and code >= 0:
                self._keep_waves()
        finally:
            self._finalizer()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _keep_waves(self):
        try:
            with whole_file(self._waves, "Waves") as partial:
                shutil.copyfile(self._folder / f"waves{self._waves.suffix}", partial)
        except FileError as error:
            raise SimulationError(str(error)) from None

    def _ask(self, **request):
        if not self._finalizer.alive:
            raise SimulationError("Simulation must not be used after it was closed")
        try:
            self._link.sendall(json.dumps(request).encode() + b"\n")
        except OSError:
            self._died()
        return self._answer(_ANSWER_SECONDS)

    def _answer(self, patience):
        """Next answer; while the simulator reports that it runs, patience begins anew."""
        while True:
            while b"\n" not in self._received:
                self._link.settimeout(patience)
                try:
                    part = self._link.recv(65536)
                except TimeoutError:
                    self._died(f"gave no sign of life for {patience} seconds")
                except OSError:
                    part = b""
                if not part:
                    self._died()
                self._received += part
            line, self._received = self._received.split(b"\n", 1)
            answer = json.loads(line)
            if "failed" in answer:
                raise SimulationError(f"Simulation must give known values, but {answer['failed']}")
            if "running" not in answer:
                return answer
            self.cycles = answer["running"]

    def _died(self, how=None):
        if how is None:
            with suppress(subprocess.TimeoutExpired):
                self._child.wait(10)
            how = f"ended with status {self._child.poll()}"
        with suppress(OSError):
            log = (self._folder / "log").read_text(errors="replace").splitlines()
            how += "; its last lines:\n" + "\n".join(log[-_LOG_LINES:]) if log else ""
        self._finalizer()
        raise SimulationError(f"Simulation must answer, but the simulator {how}")


def _check_waves(waves):
    if waves is None:
        return None
    path = Path(waves).absolute()
    if path.suffix not in (".fst", ".vcd"):
        raise SimulationError(f"Waves must be a '.fst' or '.vcd' file, not {str(waves)!r}")
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise SimulationError(f"Waves must go to a folder that can be written, "
                              f"not {str(path.parent)!r}")
    return path


def _abandon(link, child, folder):
    """Ends the child, whatever state it is in, and clears up."""
    link.close()
    with suppress(ProcessLookupError):
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    shutil.rmtree(folder, ignore_errors=True)
