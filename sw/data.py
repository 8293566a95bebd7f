"""Data sets, as numpy arrays."""

import difflib
from dataclasses import dataclass

import numpy as np

__all__ = ["DATASETS", "DataError", "DataInfo", "Dataset", "info", "load"]


class DataError(ValueError):
    """A data set that is not known."""


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
        In 0 to 1.
    train_labels, test_labels : int64 array, shape ``(n,)``
    """

    info: DataInfo
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


DIGITS_TEST_IMAGES = 360
_DIGITS_SPLIT_SEED = 0

DATASETS = {"digits": DataInfo("digits", (1, 8, 8), 10, input_bits=5, input_step=1 / 16)}
"""Known data sets by name."""


def info(name) -> DataInfo:
    """Description of a data set, without loading it.

    Raises
    ------
    DataError
        If there is none of that name.
    """
    if name not in DATASETS:
        close = difflib.get_close_matches(str(name), DATASETS, n=1)
        hint = f", did you mean {close[0]!r}?" if close else f"; known: {', '.join(DATASETS)}"
        raise DataError(f"Data set must be a known name, not {name!r}{hint}")
    return DATASETS[name]


def load(name) -> Dataset:
    """Loads a data set with its fixed split.

    ``digits`` is scikit-learn's: 1797 images of 8 x 8 pixels of 17 levels, 360 of them, drawn by
    class once and for all, for testing.

    Raises
    ------
    DataError
        If there is none of that name.
    """
    about = info(name)
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32).reshape(-1, *about.in_shape)
    parts = train_test_split(images, labels.astype(np.int64), test_size=DIGITS_TEST_IMAGES,
                             stratify=labels, random_state=_DIGITS_SPLIT_SEED)
    train_images, test_images, train_labels, test_labels = parts
    return Dataset(about, train_images, train_labels, test_images, test_labels)
