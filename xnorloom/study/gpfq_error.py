"""GPFQ's error against the number of inputs of a neuron, on Gaussian data."""

import statistics

__all__ = ["gpfq_error"]

_SAMPLES = 32
_INPUTS = (128, 256, 512, 1024, 2048, 4096)
_BITS = (1, 3)


def gpfq_error(inputs=_INPUTS, samples=_SAMPLES, bits=_BITS):
    """The experiment of :func:`.decay.error_decay`, levels from -1 to 1, with its fitted slope.

    Parameters
    ----------
    inputs : sequence of int
        Numbers N of inputs.
    samples : int
        Rows of data, m.
    bits : sequence of int
        Of :class:`sw.quantizers.alphabet.Alphabet`, one series each.

    Returns
    -------
    dict
        ``series``: per entry of ``bits`` its ``levels``, ``samples``, ``points`` (lists ``[N, error
        of GPFQ, error of plain rounding]``), ``slope`` (fitted to the logarithms) and ``ratio``
        (least and greatest error over ``msq * m / N``, msq the mean error of plain rounding).
    """
    return {"series": [_series(inputs, samples, each) for each in bits]}


def _series(inputs, samples, bits):
    from xnorloom.sw.quantizers.alphabet import Alphabet

    from .decay import decay_slope, error_decay

    rows = error_decay(inputs, samples, bits)
    msq = statistics.fmean(row.msq for row in rows)
    ratio = [row.gpfq * row.inputs / (msq * samples) for row in rows]
    return {"levels": Alphabet(bits).levels, "samples": samples,
            "points": [[row.inputs, row.gpfq, row.msq] for row in rows],
            "slope": decay_slope(rows), "ratio": [min(ratio), max(ratio)]}
