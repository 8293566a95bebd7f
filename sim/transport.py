"""The simulated machine as a transport: the driver talks to it as to any other machine."""

import time
import weakref
from dataclasses import dataclass

import numpy as np

from .child import Child
from .emitted import emitted
from .errors import SimulationError
from .simulator import build
from .waves import Waves, waves_path

__all__ = ["DEFAULT_CYCLE_LIMIT", "RtlTransport", "SoftReset", "Stalls"]

DEFAULT_CYCLE_LIMIT = 1 << 28
"""Cycles after which an exchange is given up."""


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
        Write all signals to this file, see :func:`sim.waves.waves_path`; it appears when the
        transport closes.
    window : tuple of int or None
        First cycle of the waves and the first not in them. None: all are.
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
    progress : callable or None
        Called as ``progress(stage, done, total)`` while the machine is generated and built;
        ``total`` is None where it is not known.

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
                 window=None, stalls=None, cycle_limit=DEFAULT_CYCLE_LIMIT, optimize=2,
                 verilog=None, cache=None, progress=None):
        # Before the work: what cannot be recorded is not built.
        self._waves = None if waves is None else Waves(waves_path(waves, engine), window)
        self.stalls = stalls or Stalls()
        self.cycle_limit = cycle_limit
        self.cycles = 0
        self.seconds = 0.0
        start = time.perf_counter()
        if verilog is None:
            if progress is not None:
                progress("generate Verilog", 0, None)
            verilog = emitted(config, popcount, cache)
        simulation = build(verilog, engine=engine, optimize=optimize, cache=cache,
                           progress=progress,
                           waves=self._waves and self._waves.path.suffix[1:])
        self.build_seconds = time.perf_counter() - start
        if self._waves:
            self._waves.open()
            self._dropper = weakref.finalize(self, self._waves.drop)
        try:
            self._child = Child(simulation, self._waves)
        except BaseException:
            self._drop_waves()
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
        self._child.check()
        words = np.ascontiguousarray(words, dtype="<u4")
        try:
            words.tofile(self._child.folder / "input.bin")
        except OSError as error:
            raise SimulationError(f"Simulation must have room for {len(words)} words in "
                                  f"{str(self._child.folder)!r}: {error.strerror or error}"
                                  ) from None
        answer = self._ask(do="exchange", words=len(words), limit=self.cycle_limit,
                           stall_i=round(self.stalls.i * 256),
                           stall_o=256 if reset and reset.blocked else round(self.stalls.o * 256),
                           seed=self.stalls.seed, reset_at=reset.cycle if reset else 0,
                           resume=reset.resume if reset else 0)
        self.seconds = answer["seconds"]
        if not answer["finished"]:
            raise SimulationError(
                f"Simulation must finish within {self.cycle_limit} cycles, but the machine was "
                f"offered {answer['sent']} of {len(words)} words, sent {answer['received']} and "
                f"still has busy = {answer['busy']}, error = {answer['error']}")
        came = np.fromfile(self._child.folder / "output.bin", dtype="<u4")
        if len(came) != answer["received"]:
            raise SimulationError(f"Simulation must have room for {answer['received']} words in "
                                  f"{str(self._child.folder)!r}, but {len(came)} were stored")
        return came[answer["dropped"]:].astype(np.uint32, copy=False)

    def read_register(self, address):
        """Value of a register, read in no simulated time."""
        return self._ask(do="read", address=int(address))["value"]

    def write_register(self, address, value):
        """Writes a register, which takes four cycles, as long as a soft reset."""
        self._ask(do="write", address=int(address), value=int(value))

    def close(self):
        """Ends the simulator and puts the waves into their place. May be called again.

        Raises
        ------
        SimulationError
            If waves were asked for and cannot be put there.
        """
        if not self._child.running:
            self._drop_waves()
            return
        try:
            self._child.close()
            if self._waves:
                self._waves.keep(self.cycles)
        finally:
            self._drop_waves()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        try:
            self.close()
        except SimulationError:
            # What went wrong first is what there is to tell.
            if kind is None:
                raise

    def _drop_waves(self):
        if self._waves:
            self._dropper()

    def _ask(self, **request):
        try:
            answer = self._child.ask(**request)
        finally:
            self.cycles = self._child.cycles
        self.cycles = self._child.cycles = answer.get("cycles", self.cycles)
        return answer
