"""ClippedActivation: unsigned codes whose clipping level comes from calibration data."""

import numpy as np
import torch

from .pact import PactActivation

__all__ = ["ClippedActivation", "least_squares_clip"]

_BINS = 4096
_CANDIDATES = 256


def least_squares_clip(counts, top, bits):
    """Clipping level of least squared error for values given as a histogram, a float.

    Parameters
    ----------
    counts : float64 array
        Values in each of equal bins from 0 to ``top``.
    top : float
        Where the last bin ends: the largest level tried, of 256.
    bits : int
        Bits of a code.
    """
    centers = (np.arange(len(counts)) + 0.5) / len(counts)
    clips = np.arange(1, _CANDIDATES + 1) / _CANDIDATES
    steps = clips[:, None] / (2 ** bits - 1)
    rounded = np.rint(np.minimum(centers, clips[:, None]) / steps) * steps
    return top * float(clips[np.argmin((rounded - centers) ** 2 @ counts)])


class ClippedActivation(PactActivation):
    """:class:`~sw.quantizers.pact.PactActivation` with alpha set by calibration instead of
    training.

    Parameters
    ----------
    bits : int
        Bits of a code, 1 to 8.
    """

    post_training = True

    def __init__(self, bits=4):
        super().__init__(bits)

    def calibrate(self, values):
        """See :meth:`ActivationQuantizer.calibrate`: alpha gives the least squared error.

        Two passes: the first finds the largest value, the second fills a histogram. Values that are
        all 0 or less leave alpha as it is.
        """
        top = max(float(batch.max()) for batch in values())
        if top <= 0:
            return
        counts = np.zeros(_BINS)
        for batch in values():
            counts += torch.histc(batch.double(), _BINS, 0.0, top).numpy()
        with torch.no_grad():
            self.alpha.fill_(least_squares_clip(counts, top, self.bits))
