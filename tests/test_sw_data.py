import numpy as np
import pytest

from sw import data


def test_digits_are_split_once_and_for_all():
    digits, again = data.load("digits"), data.load("digits")
    assert digits.test_images.shape == (360, 1, 8, 8)
    assert digits.train_images.shape == (1437, 1, 8, 8)
    assert digits.test_images.dtype == np.float32 and digits.test_labels.dtype == np.int64
    np.testing.assert_array_equal(digits.test_images, again.test_images)
    counts = np.bincount(digits.test_labels, minlength=10)
    everything = counts + np.bincount(digits.train_labels, minlength=10)
    assert np.abs(counts - everything * 360 / 1797).max() < 1
    seen = {image.tobytes() for image in digits.train_images}
    assert not any(image.tobytes() in seen for image in digits.test_images)


def test_pixels_fit_their_bits():
    digits = data.load("digits")
    codes = digits.test_images / digits.info.input_step
    np.testing.assert_array_equal(codes, np.rint(codes))
    assert codes.min() == 0 and codes.max() == 16 < 2 ** digits.info.input_bits


def test_unknown_data_set():
    with pytest.raises(data.DataError, match="^Data set must be a known name, not 'digit', did you "
                                             "mean 'digits'\\?$"):
        data.load("digit")
