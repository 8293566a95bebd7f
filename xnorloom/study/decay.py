"""How GPFQ's error falls with the number of weights, the experiment behind the paper's theorem.

For Gaussian data and uniform weights the relative squared error of a neuron with N inputs and m
samples is about that of plain rounding (MSQ) times m / N (arXiv 2201.11113): it falls as 1 / N,
where that of plain rounding stays as it is.
"""

from dataclasses import dataclass

import numpy as np
import torch

from xnorloom.sw.quantizers.alphabet import Alphabet
from xnorloom.sw.quantizers.gpfq import gpfq

__all__ = ["DecayRow", "decay_slope", "error_decay"]


@dataclass(frozen=True)
class DecayRow:
    """Median errors of one size.

    Parameters
    ----------
    inputs : int
        Weights of a neuron, N.
    gpfq, msq : float
        ``|X w - X q|^2 / |X w|^2``, of GPFQ and of plain rounding to the same levels.
    """

    inputs: int
    gpfq: float
    msq: float


def error_decay(sizes, samples=32, bits=1, scalar=1.0, neurons=256, seed=0):
    """Measures the errors for several numbers of inputs.

    Data are drawn from N(0, 1), weights from -1 to 1; both networks read the same.

    Parameters
    ----------
    sizes : iterable of int
        Inputs N; the rule needs N of at least four times the samples.
    samples : int
        Rows of data, m.
    bits : int
        Of the midtread :class:`~sw.quantizers.alphabet.Alphabet`.
    scalar : float
        Its largest level.
    neurons : int
        Each row holds the median over so many.
    seed : int
        Of data and weights.

    Returns
    -------
    list of DecayRow
    """
    generator = torch.Generator().manual_seed(seed)
    alphabet = Alphabet(bits)
    step = alphabet.step(scalar)
    rows = []
    for inputs in sizes:
        x = torch.randn(samples, inputs, generator=generator, dtype=torch.float64)
        w = 2 * torch.rand(neurons, inputs, generator=generator, dtype=torch.float64) - 1
        gram = x.T @ x
        rounded = torch.from_numpy(alphabet.round(w.numpy(), step))
        errors = [((x @ (w - q).T).square().sum(dim=0) / (x @ w.T).square().sum(dim=0)).median()
                  for q in (gpfq(w, gram, gram, alphabet, step), rounded)]
        rows.append(DecayRow(inputs, *map(float, errors)))
    return rows


def decay_slope(rows):
    """Slope of GPFQ's error against N in log-log, a float: about -1."""
    inputs, errors = np.log([(row.inputs, row.gpfq) for row in rows]).T
    return float(np.polyfit(inputs, errors, 1)[0])
