"""What a data set is, and how files are read for one."""

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

__all__ = ["DataError", "DataInfo", "Dataset", "as_floats", "as_labels", "demand_folder",
           "info_of_bytes", "read_bytes"]


class DataError(ValueError):
    """A data set that is not known, or files that are not what they must be; the message names
    the file."""


@dataclass(frozen=True)
class DataInfo:
    """What a network must know of a data set.

    Parameters
    ----------
    name : str
    in_shape : tuple of int
        Channels, height, width.
    classes : int
    input_bits : int
        Bits of a pixel.
    input_step : float
        Value of one step of a pixel.
    """

    name: str
    in_shape: tuple
    classes: int
    input_bits: int
    input_step: float


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images and labels.

    Parameters
    ----------
    info : DataInfo
    train_images, test_images : float32 array, shape ``(n, channels, height, width)``
        In 0 to 1, multiples of ``info.input_step``: what the machine is sent are the codes of the
        pixels, so a mean or deviation to normalize by belongs into the network.
    train_labels, test_labels : int64 array, shape ``(n,)``
    """

    info: DataInfo
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


def info_of_bytes(name, in_shape, classes):
    """Description of a data set whose pixels are bytes, 0 to 255."""
    return DataInfo(name, tuple(in_shape), classes, input_bits=8, input_step=1 / 255)


def as_floats(pixels):
    """Pixels of 8 bits as float32 in 0 to 1."""
    return pixels.astype(np.float32) / np.float32(255)


def as_labels(labels, classes, path):
    """Label bytes of a file as int64.

    Raises
    ------
    DataError
        If one is not below the number of classes.
    """
    if labels.max() >= classes:
        raise DataError(f"File {str(path)!r} labels must be below {classes}, not {labels.max()}")
    return labels.astype(np.int64)


def demand_folder(path, name):
    """Returns the path of a folder.

    Raises
    ------
    DataError
        If it is none; ``name`` is the data set's.
    """
    path = Path(path).expanduser()
    if not path.is_dir():
        raise DataError(f"Data set {name!r} must have folder {str(path)!r}, which does not exist")
    return path


def read_bytes(path, count=-1):
    """Contents of a file, unpacked if its name ends in ``.gz``; ``count``: its first bytes only.

    Raises
    ------
    DataError
        If it cannot be read or unpacked.
    """
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
            return file.read(count)
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise DataError(f"File {str(path)!r} must be a whole gzip file, and is damaged") from None
    except OSError as error:
        raise DataError(f"File {str(path)!r} cannot be read: {error.strerror or error}") from None
