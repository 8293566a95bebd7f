"""MNIST, and whatever comes in its IDX files: four of them in one folder, plain or ``.gz``.

An IDX file is a big-endian magic (0, 0, type 8 for bytes, number of dimensions), one 32-bit size
per dimension, and the values.
"""

import math
import struct

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

CLASSES = 10
_FILES = {"train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
          "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")}


def info(name, path) -> DataInfo:
    """Description of the data set; reads the header of the training images.

    Raises
    ------
    DataError
        If a file is absent or not an IDX file of images.
    """
    file = _find(demand_folder(path, name), name, _FILES["train"][0])
    _count, height, width = _header(file, read_bytes(file, _header_size(3)), 3)
    return info_of_bytes(name, (1, height, width), CLASSES)


def load(name, path) -> Dataset:
    """Reads all four files.

    Raises
    ------
    DataError
        If a file is absent, is not an IDX file, is cut off, or does not fit the others.
    """
    about, folder = info(name, path), demand_folder(path, name)
    parts = [_read_part(folder, name, part, about) for part in ("train", "test")]
    return Dataset(about, *parts[0], *parts[1])


def _read_part(folder, name, part, about):
    image_file, label_file = (_find(folder, name, file) for file in _FILES[part])
    images, labels = _read(image_file, 3), _read(label_file, 1)
    if images.shape[1:] != about.in_shape[1:]:
        raise DataError(f"File {str(image_file)!r} must hold images of {about.in_shape[1:]} "
                        f"pixels, as those for training, not {images.shape[1:]}")
    if len(labels) != len(images):
        raise DataError(f"File {str(label_file)!r} must hold a label for each of {len(images)} "
                        f"images, not {len(labels)}")
    return as_floats(images[:, None]), as_labels(labels, CLASSES, label_file)


def _find(folder, name, file):
    for candidate in (folder / file, folder / f"{file}.gz"):
        if candidate.exists():
            return candidate
    raise DataError(f"Data set {name!r} must have file {file!r} (or {file}.gz) in folder "
                    f"{str(folder)!r}")


def _header_size(dimensions):
    return 4 * (1 + dimensions)


def _header(file, content, dimensions):
    """Sizes that an IDX file claims."""
    size, magic = _header_size(dimensions), 0x800 + dimensions
    found = content[:4].hex()
    if found != f"{magic:08x}":
        raise DataError(f"File {str(file)!r} must start with {magic:08x}, as an IDX file of bytes "
                        f"in {dimensions} dimensions does, not with {found or 'nothing'}")
    if len(content) < size:
        raise DataError(f"File {str(file)!r} must have a header of {size} bytes, not "
                        f"{len(content)}")
    sizes = struct.unpack_from(f">{dimensions}I", content, 4)
    if 0 in sizes:
        raise DataError(f"File {str(file)!r} must not be empty, but has sizes {sizes}")
    return sizes


def _read(file, dimensions):
    content = read_bytes(file)
    sizes = _header(file, content, dimensions)
    values = len(content) - _header_size(dimensions)
    if values != math.prod(sizes):
        raise DataError(f"File {str(file)!r} must hold {math.prod(sizes)} values for its sizes "
                        f"{sizes}, not {values}")
    return np.frombuffer(content, np.uint8, offset=_header_size(dimensions)).reshape(sizes)
