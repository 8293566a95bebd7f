"""The simulator as a child process that answers requests, and never outlives its parent."""

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
from pathlib import Path

from .errors import SimulationError

__all__ = ["Child"]

_START_SECONDS = 180
_ANSWER_SECONDS = 120
_CLOSE_SECONDS = 120
_LOOK_SECONDS = 1.0
_LOG_LINES = 20


class Child:
    """A running simulation.

    Parameters
    ----------
    simulation : sim.simulator.Simulation
        What to run.
    waves : sim.waves.Waves or None
        Where it records waves.

    Attributes
    ----------
    folder : Path
        Where it reads and writes; gone when it has ended.
    cycles : int
        Cycles that the last answer, or sign of life, told of.

    Raises
    ------
    SimulationError
        If it cannot be started.
    """

    def __init__(self, simulation, waves=None):
        self.cycles = 0
        self._waves = waves
        self._ended = None
        try:
            self.folder = Path(tempfile.mkdtemp(prefix="xnorloom-sim-"))
        except OSError as error:
            raise SimulationError(f"Simulation must have a folder for temporary files that can be "
                                  f"written: {error.strerror or error}") from None
        ours, theirs = socket.socketpair()
        environment = {"XNORLOOM_SOCKET": str(theirs.fileno()),
                       **(waves.environment() if waves else {})}
        try:
            with theirs, (self.folder / "log").open("wb") as log:
                self._process = simulation.start(self.folder, log, environment,
                                                 (theirs.fileno(),), waves and waves.file)
        except BaseException:
            ours.close()
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        self._link = ours
        self._received = b""
        self._finalizer = weakref.finalize(self, _abandon, ours, self._process, self.folder)
        try:
            self._answer(_START_SECONDS)
        except BaseException:
            self._finalizer()
            raise

    @property
    def pid(self):
        """Process number."""
        return self._process.pid

    @property
    def running(self):
        """Whether it was neither closed nor found dead."""
        return self._finalizer.alive

    def check(self):
        """Refuses the use of what has ended.

        Raises
        ------
        SimulationError
            If it was closed or died.
        """
        if not self._finalizer.alive:
            raise SimulationError("Simulation must not be used after "
                                  + (self._ended or "it was closed"))

    def ask(self, **request):
        """Sends a request and awaits its answer.

        Returns
        -------
        dict

        Raises
        ------
        SimulationError
            If the simulator was closed, has died, or does not live any more.
        """
        self.check()
        try:
            self._link.sendall(json.dumps(request).encode() + b"\n")
        except OSError:
            self._died()
        return self._answer(_ANSWER_SECONDS)

    def close(self):
        """Ends the simulator; it finishes its waves first. May be called again.

        Raises
        ------
        SimulationError
            If waves are recorded and it could not finish them.
        """
        if not self._finalizer.alive:
            return
        try:
            with suppress(OSError):
                self._link.sendall(b'{"do": "close"}\n')
                self._link.shutdown(socket.SHUT_WR)
            try:
                code = self._process.wait(_CLOSE_SECONDS if self._waves else 10)
            except subprocess.TimeoutExpired:
                code = f"none within {_CLOSE_SECONDS} seconds"
            if self._waves and code != 0:
                raise SimulationError(self._waves.full_disk() or (
                    f"Waves must be finished, but the simulator ended with status {code}"
                    f"{self._last_words()}"))
        finally:
            self._finalizer()

    def _answer(self, patience):
        """Next answer; while the simulator reports that it runs, patience begins anew."""
        while True:
            while b"\n" not in self._received:
                if not (part := self._receive(patience)):
                    self._died()
                self._received += part
            line, self._received = self._received.split(b"\n", 1)
            answer = json.loads(line)
            if "failed" in answer:
                raise SimulationError(f"Simulation must give known values, but {answer['failed']}")
            if "running" not in answer:
                return answer
            self.cycles = answer["running"]
            self._look_at_disk()

    def _receive(self, patience):
        deadline = time.monotonic() + patience
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                self._died(f"gave no sign of life for {patience} seconds")
            self._link.settimeout(min(left, _LOOK_SECONDS))
            try:
                return self._link.recv(65536)
            except TimeoutError:
                self._look_at_disk()
            except OSError:
                return b""

    def _look_at_disk(self):
        if self._waves and (sentence := self._waves.full_disk()):
            self._end("its waves had filled the disk")
            raise SimulationError(sentence)

    def _died(self, how=None):
        if how is None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(10)
            how = f"ended with status {self._process.poll()}"
        full, words = self._waves and self._waves.full_disk(), self._last_words()
        self._end(f"its simulator {how}")
        raise SimulationError(full or f"Simulation must answer, but the simulator {how}{words}")

    def _end(self, how):
        self._ended = how
        self._finalizer()

    def _last_words(self):
        with suppress(OSError):
            log = (self.folder / "log").read_text(errors="replace").splitlines()
            if log:
                return "; its last lines:\n" + "\n".join(log[-_LOG_LINES:])
        return ""


def _abandon(link, child, folder):
    """Ends the child, whatever state it is in, and clears up."""
    link.close()
    with suppress(ProcessLookupError):
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    shutil.rmtree(folder, ignore_errors=True)
