"""Where the coefficients of SAWB come from: a line through the best clip of six densities.

For a symmetric density and a set of levels there is a clip alpha of least squared error. Over the
Gauss, uniform, Laplace, logistic, triangle and von Mises (kappa = 1) densities, ``alpha / E|w|``
against ``rms / E|w|`` is close to a line; its slope and intercept are SAWB's c1 and c2 (arXiv
1807.06964).
"""

from dataclasses import dataclass

import numpy as np

from .sawb import COEFFICIENTS, IBM_COEFFICIENTS

__all__ = ["CoefficientRow", "DENSITIES", "PUBLISHED", "best_clip", "coefficient_table", "refit"]

PUBLISHED = {
    "IBM": IBM_COEFFICIENTS,
    "riptide": {
        2: (0.0, 1.0), 4: (3.19, -2.14), 8: (7.40, -6.66), 16: (11.86, -11.68),
        32: (17.08, -17.66), 64: (22.49, -23.95), 128: (28.68, -31.24), 256: (32.27, -35.46),
    },
    "quantlib": {
        3: (2.58072, -1.68371), 4: (3.22824, -2.19780), 7: (6.99146, -6.34798),
        8: (7.57111, -6.96333), 15: (12.04287, -12.07040), 16: (12.16637, -12.19222),
        32: (15.18684, -15.72128), 64: (20.54678, -22.29264), 127: (27.15792, -30.50641),
        128: (27.75226, -31.25157), 255: (35.48044, -40.89530), 256: (34.97231, -40.26019),
    },
}
"""Coefficients ``c1, c2`` by number of levels, as public implementations have them."""

DENSITIES = {
    "Gauss": (lambda x: np.exp(-x * x / 2), 12.0),
    "uniform": (np.ones_like, 1.0),
    "Laplace": (lambda x: np.exp(-x), 45.0),
    "logistic": (lambda x: np.exp(-x) / (1 + np.exp(-x)) ** 2, 45.0),
    "triangle": (lambda x: 1 - x, 1.0),
    "von Mises": (lambda x: np.exp(np.cos(x)), np.pi),
}
"""Symmetric densities by name: a multiple of the density for positive x, and where it ends or is
cut off."""


def _integral(function, bounds):
    """Integral over consecutive intervals, along the last axis of their bounds."""
    nodes, weights = np.polynomial.legendre.leggauss(32)
    half = np.diff(bounds)[..., None] / 2
    return (function(bounds[..., :-1, None] + half * (1 + nodes)) * half) @ weights


def _moment(density, power):
    """Mean of ``|w| ** power``."""
    function, end = DENSITIES[density]
    whole = np.array([0.0, end])
    return float(_integral(lambda x: function(x) * x ** power, whole)[0]
                 / _integral(function, whole)[0])


def _errors(density, levels, clips):
    """Squared error of rounding to the nearest level, up to a factor, for a vector of clips."""
    function, end = DENSITIES[density]
    values = clips[:, None] * np.arange((levels - 1) % 2, levels, 2) / (levels - 1)
    middles = np.minimum((values[:, 1:] + values[:, :-1]) / 2, end)
    bounds = np.pad(middles, ((0, 0), (1, 1)), constant_values=((0, 0), (0, end)))
    return _integral(lambda x: function(x) * (x - values[..., None]) ** 2, bounds).sum(axis=1)


def best_clip(density, levels):
    """Largest level of least squared error, in units of the density's rms.

    Parameters
    ----------
    density : str
        One of :data:`DENSITIES`.
    levels : int
        Evenly spaced levels, from minus to plus the clip.
    """
    rms = _moment(density, 2) ** 0.5
    low, high, points = 0.0, 16.0, 17
    while high - low > 1e-6:
        clips = np.linspace(low, high, points)
        best = _errors(density, levels, clips * rms).argmin()
        low, high = clips[max(best - 1, 0)], clips[min(best + 1, points - 1)]
    return float(low + high) / 2


def refit(levels):
    """Coefficients of SAWB for a number of levels, fitted to :data:`DENSITIES`.

    Returns
    -------
    c1, c2 : float
    misfit : float
        Largest distance of a density's best clip from the line, in units of ``E|w|``.
    """
    spread = [_moment(density, 2) ** 0.5 / _moment(density, 1) for density in DENSITIES]
    clip = [best_clip(density, levels) * each for density, each in zip(DENSITIES, spread)]
    c1, c2 = np.polyfit(spread, clip, 1)
    return float(c1), float(c2), float(np.abs(np.polyval((c1, c2), spread) - clip).max())


@dataclass(frozen=True)
class CoefficientRow:
    """Coefficients for one number of levels.

    Parameters
    ----------
    levels, bits : int
    zero_aligned : bool
        Whether zero is among the levels.
    refit : pair of float
        ``c1, c2`` of :func:`refit`.
    misfit : float
        See :func:`refit`.
    published : dict of str to pair of float
        Those of :data:`PUBLISHED` that exist.
    """

    levels: int
    bits: int
    zero_aligned: bool
    refit: tuple[float, float]
    misfit: float
    published: dict[str, tuple[float, float]]


def coefficient_table():
    """Our fit beside the published ones: a :class:`CoefficientRow` for every number of levels that
    SAWB quantizes to, in rising order."""
    rows = []
    for levels in sorted(COEFFICIENTS):
        c1, c2, misfit = refit(levels)
        published = {name: column[levels] for name, column in PUBLISHED.items() if levels in column}
        rows.append(CoefficientRow(levels, levels.bit_length() - (levels % 2 == 0),
                                   levels % 2 == 1, (c1, c2), misfit, published))
    return rows
