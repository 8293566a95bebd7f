"""A folder of pictures: ``train/<class>/*.png`` and ``test/<class>/*.png``, all of one size."""

from pathlib import Path

import numpy as np

from .base import DataError, DataInfo, Dataset, as_floats, demand_folder, info_of_bytes

__all__ = ["info", "load"]

_MODES = {"1": "L", "L": "L", "LA": "L", "P": "RGB", "RGB": "RGB", "RGBA": "RGB"}
"""What pictures of 8 bits are read as, by the mode Pillow finds them in."""


def info(name, path) -> DataInfo:
    """Description of the data set; reads the names of the classes and one picture.

    Raises
    ------
    DataError
        If there is no class or no picture.
    """
    files = _list(name, demand_folder(path, name), "train")
    first = _pixels(files[0][0])
    return info_of_bytes(name, first.shape, len({label for _file, label in files}))


def load(name, path) -> Dataset:
    """Reads all pictures; the labels are the places of the classes in alphabetical order.

    Raises
    ------
    DataError
        If a picture cannot be read or differs in shape from the first, or the classes of the test
        differ from those of the training.
    """
    about, folder = info(name, path), demand_folder(path, name)
    return Dataset(about, *_read(_list(name, folder, "train"), about.in_shape),
                   *_read(_list(name, folder, "test"), about.in_shape))


def _classes(folder):
    return sorted(each.name for each in folder.iterdir() if each.is_dir())


def _list(name, folder, part):
    """Files and labels of a part, in a fixed order."""
    base = demand_folder(folder / part, name)
    classes = _classes(demand_folder(folder / "train", name))
    if not classes or _classes(base) != classes:
        wanted = ", ".join(classes) or "at least one"
        raise DataError(f"Folder {str(base)!r} must have a folder for each class ({wanted}), not "
                        f"{', '.join(_classes(base)) or 'none'}")
    files = [(file, label) for label, each in enumerate(classes)
             for file in sorted((base / each).glob("*.png"))]
    empty = set(range(len(classes))) - {label for _file, label in files}
    if empty:
        raise DataError(f"Folder {str(base / classes[min(empty)])!r} must hold pictures *.png, "
                        "and holds none")
    return files


def _pixels(file: Path):
    """Bytes of a picture, shape ``(channels, height, width)``."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(file) as picture:
            if picture.mode not in _MODES:
                raise DataError(f"File {str(file)!r} must be a picture of 8 bits, grey or colour, "
                                f"not of mode {picture.mode}")
            pixels = np.asarray(picture.convert(_MODES[picture.mode]))
    except UnidentifiedImageError:
        raise DataError(f"File {str(file)!r} must be a PNG picture, and is not") from None
    except (OSError, SyntaxError) as error:
        raise DataError(f"File {str(file)!r} cannot be read: {error}") from None
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def _read(files, shape):
    images = np.empty((len(files), *shape), dtype=np.uint8)
    for place, (file, _label) in enumerate(files):
        pixels = _pixels(file)
        if pixels.shape != shape:
            raise DataError(f"File {str(file)!r} must have the shape of the first picture, {shape} "
                            f"(channels, height, width), not {pixels.shape}")
        images[place] = pixels
    return as_floats(images), np.array([label for _file, label in files], dtype=np.int64)
