"""Data sets, as numpy arrays: built in, or read from a folder that the user names.

A data set is spelled the same everywhere: ``digits``, ``mnist:PATH``, ``cifar10:PATH`` or
``folder:PATH``.
"""

import difflib

from . import cifar10, digits, folder, mnist
from .base import DataError, DataInfo, Dataset

__all__ = ["SPELLINGS", "DataError", "DataInfo", "Dataset", "info", "load"]

_READERS = {"mnist": mnist, "cifar10": cifar10, "folder": folder}

SPELLINGS = ("digits", *(f"{kind}:PATH" for kind in _READERS))
"""How data sets are named."""


def info(data) -> DataInfo:
    """Description of a data set, without loading it.

    Parameters
    ----------
    data : str or DataInfo
        One of :data:`SPELLINGS`; a description is returned as it is.

    Raises
    ------
    DataError
        If there is none of that name, or its files are absent or damaged.
    """
    if isinstance(data, DataInfo):
        return data
    kind, path = _split(data)
    return digits.INFO if kind == "digits" else _READERS[kind].info(data, path)


def load(name) -> Dataset:
    """Loads a data set with its fixed split.

    Parameters
    ----------
    name : str
        One of :data:`SPELLINGS`.

    Raises
    ------
    DataError
        If there is none of that name, or its files are absent, damaged or do not fit together.
    """
    kind, path = _split(name)
    return digits.load() if kind == "digits" else _READERS[kind].load(name, path)


def _split(name):
    kind, _, path = str(name).partition(":")
    if kind not in ("digits", *_READERS):
        close = difflib.get_close_matches(kind, ("digits", *_READERS), n=1)
        hint = f", did you mean {close[0]!r}?" if close else f"; known: {', '.join(SPELLINGS)}"
        raise DataError(f"Data set must be a known name, not {name!r}{hint}")
    if kind == "digits" and name != "digits":
        raise DataError(f"Data set 'digits' is built in and takes no path, not {name!r}")
    if kind in _READERS and not path:
        raise DataError(f"Data set {kind!r} must be given with its folder, as '{kind}:PATH'")
    return kind, path
