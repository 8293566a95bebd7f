"""Built simulations, kept by the hash of everything they were made from."""

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import time
from pathlib import Path

import xnorloom

from .errors import SimulationError

__all__ = ["BuildCache", "cache_folder"]

_LOCK_SECONDS = 1800
_KEPT_ENTRIES = 200


def cache_folder():
    """Folder of built simulations.

    ``$XNORLOOM_CACHE`` if set, else ``build/sim`` of the checkout, else the user's cache folder.
    """
    if folder := os.environ.get("XNORLOOM_CACHE"):
        return Path(folder).absolute()
    checkout = Path(xnorloom.__file__).parents[1]
    if (checkout / ".git").exists() or (checkout / "pyproject.toml").is_file():
        return checkout / "build" / "sim"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "xnorloom" / "sim"


class BuildCache:
    """Keeps files that are dear to make, one folder per key.

    Two processes that want the same key build it once; an entry whose contents do not match what
    was stored counts as absent. Entries appear whole or not at all.

    Parameters
    ----------
    folder : path or None
        Where to keep them. None: :func:`cache_folder`.
    """

    def __init__(self, folder=None):
        self.folder = Path(folder) if folder is not None else cache_folder()

    @staticmethod
    def key(inputs):
        """Hash of a JSON-serializable description of everything that shapes the entry."""
        return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:24]

    def get(self, key, make):
        """Folder of an entry, made if absent.

        Parameters
        ----------
        key : str
            From :meth:`key`.
        make : callable
            Given an empty folder, leaves in it the files to keep.

        Raises
        ------
        SimulationError
            If the cache cannot be written or another process builds the same entry for too long.
        """
        entry = self.folder / key
        if self._intact(entry):
            return entry
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._lock(key):
                if not self._intact(entry):
                    self._make(entry, make)
        except OSError as error:
            raise SimulationError(f"Simulation cache must be a folder that can be written, not "
                                  f"{str(self.folder)!r}: {error.strerror or error}") from None
        return entry

    def _make(self, entry, make):
        # Unlike that of mkdtemp, a folder that others may read as far as the umask lets them.
        staging = self.folder / f".making-{secrets.token_hex(8)}"
        staging.mkdir()
        try:
            make(staging)
            sums = {path.name: _checksum(path) for path in sorted(staging.iterdir())}
            (staging / "entry.json").write_text(json.dumps(sums))
            shutil.rmtree(entry, ignore_errors=True)
            staging.rename(entry)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        self._prune()

    def _intact(self, entry):
        try:
            sums = json.loads((entry / "entry.json").read_text())
            intact = bool(sums) and all(_checksum(entry / name) == sums[name] for name in sums)
            if intact:
                os.utime(entry)
            return intact
        except (OSError, ValueError, AttributeError, TypeError):
            return False

    def _prune(self):
        """Drops the entries that were not used for longest."""
        def age(path):
            with contextlib.suppress(OSError):
                return path.stat().st_mtime
            return 0
        entries = sorted((path for path in self.folder.iterdir()
                          if path.is_dir() and not path.name.startswith(".")), key=age)
        for entry in entries[:-_KEPT_ENTRIES]:
            shutil.rmtree(entry, ignore_errors=True)
            entry.with_name(f".{entry.name}.lock").unlink(missing_ok=True)

    @contextlib.contextmanager
    def _lock(self, key):
        with (self.folder / f".{key}.lock").open("w") as handle:
            deadline = time.monotonic() + _LOCK_SECONDS
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise SimulationError(
                            f"Simulation build must be free within {_LOCK_SECONDS} seconds, but "
                            f"another process holds {handle.name!r}") from None
                    time.sleep(0.1)
            yield


def _checksum(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()
