"""The digits that come with scikit-learn: 1797 images of 8 x 8 pixels of 17 levels."""

import numpy as np

from .base import DataInfo, Dataset

__all__ = ["INFO", "TEST_IMAGES", "load"]

INFO = DataInfo("digits", (1, 8, 8), 10, input_bits=5, input_step=1 / 16)

TEST_IMAGES = 360
_SPLIT_SEED = 0


def load() -> Dataset:
    """Loads the images; 360 of them, drawn by class once and for all, are for testing."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32).reshape(-1, *INFO.in_shape)
    parts = train_test_split(images, labels.astype(np.int64), test_size=TEST_IMAGES,
                             stratify=labels, random_state=_SPLIT_SEED)
    train_images, test_images, train_labels, test_labels = parts
    return Dataset(INFO, train_images, train_labels, test_images, test_labels)
