"""From images to the codes of the input map."""

import numpy as np

__all__ = ["encode_images", "encode_values"]


def encode_images(described, images):
    """Codes as they lie in the input map.

    Parameters
    ----------
    described : dict
        Entry ``input`` of an image's metadata.
    images : array
        See :meth:`sw.machine.driver.Driver.run`.

    Returns
    -------
    uint8 array, shape ``(n, channels, height, width)``
        After folding, if the kernel is folded.

    Raises
    ------
    ValueError
        If the images do not have the network's shape, a value is not finite, or a code is out of
        range.
    """
    shape, top = tuple(described["shape"]), len(described["table"]) - 1
    images = np.asarray(images)
    given = images.shape
    if images.ndim > 1 and images.size and shape[1:] == (1, 1):
        images = images.reshape(len(images), -1, 1, 1)
    if images.ndim == 3 and shape[1] == 1:
        images = images[:, :, None]
    if images.shape[1:] != shape or not len(images):
        raise ValueError(f"Images must have shape (n, {', '.join(map(str, shape))}) with n of "
                         f"at least 1, not {given}")
    if np.issubdtype(images.dtype, np.integer):
        if images.min() < 0 or images.max() > top:
            raise ValueError(f"Images given as codes must be from 0 to {top}, not "
                             f"{images.min()}..{images.max()}")
        codes = images.astype(np.uint8)
    else:
        if not np.isfinite(images).all():
            raise ValueError("Images must be finite")
        codes = encode_values(images, top, *(described[key] for key in (
            "step", "low", "gain", "shift")))
    return codes if described["folded"] is None else _fold(codes, described["folded"])


def encode_values(values, top, step, low, gain=None, shift=None):
    """``clip(rint((values * gain + shift) / step) - low, 0, top)``.

    Parameters
    ----------
    values : array, shape ``(n, channels, height, width)``
    top : int
        Largest code.
    step : float
    low : int
        Code 0 stands for ``low * step``.
    gain, shift : sequence of float, one for every channel, or None

    Returns
    -------
    uint8 array, of the same shape
    """
    values = np.asarray(values, dtype=np.float64)
    if gain is not None:
        gain, shift = (np.asarray(each)[:, None, None] for each in (gain, shift))
        values = values * gain + shift
    return np.clip(np.rint(values / step) - low, 0, top).astype(np.uint8)


def _fold(codes, folded):
    """Gathers kernel taps into channels, see :class:`sw.passes.prepare.FoldedKernel`."""
    top, bottom, left, right = folded["padding"]
    (step_y, step_x), (apart_y, apart_x) = folded["stride"], folded["dilation"]
    padded = np.pad(codes, ((0, 0), (0, 0), (top, bottom), (left, right)),
                    constant_values=folded["pad_code"])
    span = [(taps - 1) * apart + 1 for taps, apart in
            zip(folded["kernel"], folded["dilation"], strict=True)]
    windows = np.lib.stride_tricks.sliding_window_view(padded, span, axis=(2, 3))
    windows = windows[:, :, ::step_y, ::step_x, ::apart_y, ::apart_x].transpose(0, 1, 4, 5, 2, 3)
    return windows.reshape(len(codes), -1, *windows.shape[4:])
