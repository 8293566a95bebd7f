"""Waves: their file, which cycles they show, how large they grow, what happens to a full disk."""

import os
import secrets
import shutil
from pathlib import Path

from xnorloom.sw.files import FileError, demand_writable, move_into_place

from . import toolchain
from .errors import SimulationError

__all__ = ["FORMATS", "Waves", "check_room", "expected_bytes", "waves_path"]

FORMATS = ("fst", "vcd")
"""Formats of waves; FST, which is packed, is preferred."""

RESERVE_BYTES = 64 << 20
"""What is left free on the disk: a simulator that finds it full may hang or write rubbish."""

_BYTES_PER_CYCLE = {"vcd": (2500, 50, 3.6), "fst": (70, 0, 0.18)}
"""Measured on the presets, busy with convolutions: of any machine, per element, and per lane of an
element."""


def waves_path(waves, engine="verilator"):
    """Full path of a file for waves.

    Parameters
    ----------
    waves : path
        ``.fst`` or ``.vcd``; without either, a suffix is appended: ``.fst`` where it can be
        written, else ``.vcd``.
    engine : str
        One of :data:`sim.toolchain.ENGINES`.

    Raises
    ------
    SimulationError
        If there is another suffix.
    """
    path = Path(waves).absolute()
    if not path.suffix:
        fst = engine == "icarus" or toolchain.has_fst()
        path = path.with_suffix(".fst" if fst else ".vcd")
    if path.suffix[1:] not in FORMATS:
        raise SimulationError(f"Waves must be a '.fst' or '.vcd' file, not {str(waves)!r}")
    return path


def expected_bytes(config, path, cycles):
    """Size that waves of so many cycles of a busy machine will have, within a factor of two or so.

    Parameters
    ----------
    config : hw.spec.config.MachineConfig
        The machine.
    path : Path
        From :func:`waves_path`.
    cycles : int
        Cycles recorded.
    """
    base, per_element, per_lane = _BYTES_PER_CYCLE[path.suffix[1:]]
    elements = config.rows * config.cols
    return round(cycles * (base + elements * (per_element + per_lane * config.lanes)))


def check_room(path, size):
    """Refuses waves for which the disk has no room.

    Parameters
    ----------
    path : Path
        From :func:`waves_path`.
    size : int
        Bytes.

    Raises
    ------
    SimulationError
        If they do not fit.
    """
    # The folder may still have to be made.
    folder = next(folder for folder in path.parents if folder.exists())
    free = shutil.disk_usage(folder).free
    if size + RESERVE_BYTES > free:
        raise SimulationError(
            f"Waves must fit on the disk of {str(path.parent)!r}, where {free / 1e6:,.0f} MB are "
            f"free, but will take about {size / 1e6:,.0f} MB; record fewer cycles")


class Waves:
    """Waves of one simulation, on the disk of their file from the first byte.

    Parameters
    ----------
    path : Path
        From :func:`waves_path`; appears when :meth:`keep` is called.
    window : tuple of int or None
        First cycle to record and the first not to record any more. None: all.

    Attributes
    ----------
    file : Path
        Where the simulator writes once it is open.

    Raises
    ------
    SimulationError
        If the window is none, the file cannot be written there, or the disk is full.
    """

    def __init__(self, path, window=None):
        if window is not None:
            first, end = window
            if not 0 <= first < end:
                raise SimulationError(f"Waves must be of a window that begins at cycle 0 or later "
                                      f"and ends later, not {first}:{end}")
        try:
            self._target = demand_writable(path, "Waves")
        except FileError as error:
            raise SimulationError(str(error)) from None
        folder = self._target.parent
        if not folder.is_dir() or not os.access(folder, os.W_OK):
            raise SimulationError(f"Waves must go to a folder that can be written, "
                                  f"not {str(folder)!r}")
        check_room(self._target, 0)
        self.path = path
        self.window = window
        self.folder = folder / f".xnorloom-{secrets.token_hex(8)}"
        self.file = self.folder / f"waves{path.suffix}"

    def open(self):
        """Makes the folder that the simulator writes to, on the disk of the file."""
        self.folder.mkdir(0o700)

    def environment(self):
        """What the server has to know: variables."""
        window = {} if self.window is None else {"XNORLOOM_WINDOW": "{} {}".format(*self.window)}
        return {"XNORLOOM_WAVES": str(self.folder), **window}

    def full_disk(self):
        """A sentence about a disk that is full, or None."""
        free = shutil.disk_usage(self.folder).free
        if free >= RESERVE_BYTES:
            return None
        size = sum(file.stat().st_size for file in self.folder.iterdir())
        return (f"Waves must fit on the disk of {str(self.path.parent)!r}, but took "
                f"{size / 1e6:,.0f} MB and left {free / 1e6:,.0f} MB of it; record fewer cycles")

    def keep(self, cycles):
        """Puts the waves into their place.

        Parameters
        ----------
        cycles : int
            Cycles that were simulated.

        Raises
        ------
        SimulationError
            If the window begins later, the disk is full, or the file cannot be put there.
        """
        if self.window is not None and cycles <= self.window[0]:
            raise SimulationError(f"Waves must begin before cycle {cycles}, with which the "
                                  f"simulation ended, not at cycle {self.window[0]}")
        if sentence := self.full_disk():
            raise SimulationError(sentence)
        try:
            move_into_place(self.file, self._target)
        except OSError as error:
            raise SimulationError(f"Waves must be a file that can be written, not "
                                  f"{str(self.path)!r}: {error.strerror or error}") from None

    def drop(self):
        """Removes what was not kept."""
        shutil.rmtree(self.folder, ignore_errors=True)
