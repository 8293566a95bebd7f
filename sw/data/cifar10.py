"""CIFAR-10 in its binary version: records of one label byte and 3 x 32 x 32 pixel bytes."""

import numpy as np

from .base import (
    DataError,
    DataInfo,
    Dataset,
    as_floats,
    as_labels,
    demand_folder,
    info_of_bytes,
    read_bytes,
)

__all__ = ["info", "load"]

SHAPE, CLASSES = (3, 32, 32), 10
_RECORD = 1 + 3 * 32 * 32
_TRAIN = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
_TEST = ("test_batch.bin",)


def info(name, path) -> DataInfo:
    """Description of the data set; nothing is read.

    Raises
    ------
    DataError
        If there is no such folder.
    """
    demand_folder(path, name)
    return info_of_bytes(name, SHAPE, CLASSES)


def load(name, path) -> Dataset:
    """Reads all six files.

    Raises
    ------
    DataError
        If a file is absent, cut off, or has a label above 9.
    """
    about, folder = info(name, path), demand_folder(path, name)
    return Dataset(about, *_read(folder, name, _TRAIN), *_read(folder, name, _TEST))


def _read(folder, name, files):
    images, labels = zip(*(_read_file(folder, name, file) for file in files))
    return as_floats(np.concatenate(images)), np.concatenate(labels)


def _read_file(folder, name, file):
    path = folder / file
    if not path.exists():
        raise DataError(f"Data set {name!r} must have file {file!r} in folder {str(folder)!r}")
    content = np.frombuffer(read_bytes(path), np.uint8)
    if not len(content) or len(content) % _RECORD:
        raise DataError(f"File {str(path)!r} must hold records of {_RECORD} bytes, not "
                        f"{len(content)} bytes")
    records = content.reshape(-1, _RECORD)
    return records[:, 1:].reshape(-1, *SHAPE), as_labels(records[:, 0], CLASSES, path)
