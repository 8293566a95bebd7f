"""Images to run: a data set by name, a data set object, or arrays of one's own; and what their
numbers mean.

Numbers with a point are the values of pixels, as a data set has them; True and False are the values
1 and 0. Integers are the codes of pixels, as a file has them: bytes from 0 to 255 for a network of
8 input bits, whose values are these codes times its input step.
"""

import math

import numpy as np

from ..errors import UserError

__all__ = ["real_images", "share_right", "test_images"]


def test_images(data, count=None):
    """Images and labels to run.

    Parameters
    ----------
    data : str, sw.data.Dataset or pair of arrays
        A known data set's name; a data set; or images ``(n, channels, height, width)``, signals
        ``(n, channels, samples)`` or vectors ``(n, inputs)``, and labels ``(n,)`` or None: arrays,
        torch tensors or lists.
    count : int or None
        Only so many of the first; None: all.

    Returns
    -------
    images : float64 or integer array, shape as given
        Values, or codes; see :func:`real_images`.
    labels : int64 array, shape ``(n,)``, or None

    Raises
    ------
    UserError
        If there are fewer than ``count``, images are not numbers or not finite, labels are no whole
        numbers, or labels and images differ in number.
    """
    if isinstance(data, str):
        from xnorloom.sw.data import load

        data = load(data)
    if hasattr(data, "test_images"):
        images, labels = data.test_images, data.test_labels
    elif isinstance(data, (tuple, list)) and len(data) == 2:
        images, labels = data
    else:
        raise UserError(f"Data must be a known name, a data set or a pair of images and labels, "
                        f"not {type(data).__name__}")
    images = _images(images)
    labels = None if labels is None else _labels(labels, len(images))
    whole = count is None or isinstance(count, (int, np.integer)) and 1 <= count <= len(images)
    if not whole:
        raise UserError(f"Count must be from 1 to the {len(images)} images there are, "
                        f"not {count!r}")
    return images[:count], None if labels is None else labels[:count]


def real_images(described, images):
    """The values that torch, the integer reference and the machine are all given.

    Parameters
    ----------
    described : dict
        Entry ``input`` of a program image's metadata.
    images : array
        Of :func:`test_images`.

    Returns
    -------
    float64 array, shape ``(n, channels, height, width)``
        A signal has one line, a vector one pixel.

    Raises
    ------
    UserError
        If the images do not have the network's shape, or integers are no codes of it.
    """
    shape, top = tuple(described["shape"]), len(described["table"]) - 1
    given, is_vector = images.shape[1:], shape[1:] == (1, 1)
    if given != shape and not (is_vector and math.prod(given) == shape[0]) and not (
            shape[1] == 1 and given == shape[::2]):
        wanted = f"n, {shape[0]}" if is_vector else f"n, {', '.join(map(str, shape))}"
        raise UserError(f"Images must have shape ({wanted}) for this network, not {images.shape}")
    images = images.reshape(-1, *shape)
    if images.dtype.kind == "f":
        return images
    if described["gain"] is not None:
        raise UserError("Images must be values of pixels for this network, which normalizes them "
                        f"before they are codes, not {images.dtype}")
    low, high = int(images.min()), int(images.max())
    if low < 0 or high > top:
        raise UserError(f"Images of integers must be codes of pixels, from 0 to {top} for this "
                        f"network, not {low}..{high}")
    return images * float(described["step"])


def share_right(guesses, labels):
    """Share of images whose guess is their label, 0 to 1.

    Parameters
    ----------
    guesses : integer array, shape ``(n,)`` or ``(n, height, width)``
    labels : int64 array, shape ``(n,)``, or None

    Returns
    -------
    float or None
        None where there are no labels, or more than one guess for each.
    """
    if labels is None or guesses.size != labels.size:
        return None
    return float((guesses.reshape(-1) == labels).mean())


def _images(values):
    images = _array("Images", values)
    if images.ndim < 2 or not images.size:
        raise UserError("Images must have shape (n, channels, height, width) or (n, inputs) and be "
                        f"at least one, not {images.shape}")
    if images.dtype.kind in "iu":
        return images
    with np.errstate(over="ignore"):
        # A copy, in one order: torch takes no array that is read-only or runs backwards.
        images = images.astype(np.float64, order="C")
    if not np.isfinite(images).all():
        raise UserError(f"Images must be finite, not {images[~np.isfinite(images)][0]}")
    return images


def _labels(values, count):
    labels = _array("Labels", values)
    if labels.shape != (count,):
        raise UserError(f"Labels must have shape ({count},), a class for each image, not "
                        f"{labels.shape}")
    # Neither a fraction nor inf nor NaN has the remainder 0.
    with np.errstate(invalid="ignore"):
        wrong = labels % 1 != 0 if labels.dtype.kind == "f" else np.zeros(count, dtype=bool)
    if wrong.any():
        raise UserError(f"Labels must be whole numbers, not {labels[wrong][0]}")
    return labels.astype(np.int64)


def _array(what, values):
    if hasattr(values, "detach"):
        # A torch tensor, wherever it lies and whatever it is a result of.
        values = values.detach().cpu()
        values = values.double() if values.is_floating_point() else values
    kind = type(values).__name__
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, RuntimeError):
        raise UserError(f"{what} must be an array of numbers, not {kind}") from None
    if array.dtype.kind not in "biuf":
        raise UserError(f"{what} must be an array of numbers, not {kind} of dtype {array.dtype}")
    return array
