"""Images to run: a data set by name, a data set object, or arrays of one's own."""

import numpy as np

from ..errors import UserError

__all__ = ["test_images"]


def test_images(data, count=None):
    """Images and labels to run.

    Parameters
    ----------
    data : str, sw.data.Dataset or pair of arrays
        A known data set's name; a data set; or images ``(n, channels, height, width)`` in float and
        labels ``(n,)`` or None.
    count : int or None
        Only so many of the first; None: all.

    Returns
    -------
    images : array, shape ``(n, channels, height, width)``
    labels : int64 array, shape ``(n,)``, or None

    Raises
    ------
    UserError
        If there are fewer than ``count``, or labels and images differ in number.
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
    images = np.asarray(images)
    labels = None if labels is None else np.asarray(labels)
    if labels is not None and labels.shape != (len(images),):
        raise UserError(f"Labels must have shape ({len(images)},), not {labels.shape}")
    if count is not None and not 1 <= count <= len(images):
        raise UserError(f"Count must be from 1 to the {len(images)} images there are, "
                        f"not {count!r}")
    return images[:count], None if labels is None else labels[:count]
