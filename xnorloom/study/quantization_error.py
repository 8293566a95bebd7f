"""Squared error of the weight quantizers on ideal densities, beside what theory says it must be."""

import math

import numpy as np

__all__ = ["DENSITIES", "REFERENCE", "error_curves", "error_table", "lloyd_max",
           "quantile_points"]


def _gauss(p):
    import torch

    return torch.special.ndtri(torch.from_numpy(p)).numpy()


DENSITIES = {
    "Gauss": _gauss,
    "Laplace": lambda p: np.sign(p - 0.5) * -np.log1p(-2 * np.abs(p - 0.5)),
    "uniform": lambda p: 2 * p - 1,
    "logistic": lambda p: np.log(p / (1 - p)),
}
"""Inverse cumulative distributions by name, up to a factor."""

QUANTITIES = ("greedy 1", "greedy 2", "greedy 3", "greedy 4", "LS2 v1", "LS2 v2", "LS2",
              "ternary level", "ternary threshold", "ternary")
"""Columns of :data:`REFERENCE`; those without a further word are normalized squared errors."""

REFERENCE = {
    "Gauss": (.36338, .13045, .05839, .03290, .9816, .5288, .11748, 1.2240, .6120, .19017),
    "Laplace": (.50000, .22933, .14255, .09512, 1.1269, .7071, .17619, 1.4142, .7071, .26424),
    "uniform": (.25000, .06250, .01563, .00391, .8660, .4330, .06250, 1.1547, .5774, .11111),
    "logistic": (.41584, .17367, .09442, .06092, 1.0476, .5906, .14723, 1.2621, .6310, .23073),
}
"""Known values for a root mean square of 1, to the last digit given."""

_TABLE_POINTS = 2_000_000
_CURVE_POINTS = 200_000
_LLOYD_STEPS = 5000


def quantile_points(density, count):
    """Equally likely points of a density, rising, with a root mean square of 1.

    Parameters
    ----------
    density : str
        One of :data:`DENSITIES`.
    count : int

    Returns
    -------
    float64 array, shape ``(count,)``
    """
    points = DENSITIES[density]((np.arange(count) + 0.5) / count)
    return points / np.sqrt(np.mean(np.square(points)))


def lloyd_max(points, levels):
    """The least squared error that any quantizer of so many levels leaves, per point.

    Parameters
    ----------
    points : float64 array
        Rising.
    levels : int
    """
    sums = np.concatenate([[0.0], np.cumsum(points)])
    squares = np.concatenate([[0.0], np.cumsum(np.square(points))])
    cuts = np.arange(levels + 1) * len(points) // levels
    for _ in range(_LLOYD_STEPS):
        means = np.diff(sums[cuts]) / np.diff(cuts)
        moved = np.searchsorted(points, (means[1:] + means[:-1]) / 2)
        if np.array_equal(moved, cuts[1:-1]):
            break
        cuts[1:-1] = moved
    inside = np.diff(squares[cuts]) - np.square(np.diff(sums[cuts])) / np.diff(cuts)
    return float(inside.sum() / len(points))


def _quantized(quantizer, points):
    """Planes of points as the only row of a weight, and their squared error per point."""
    import torch

    planes = quantizer.planes(torch.from_numpy(points).unsqueeze(0))
    return planes, float(np.mean(np.square(points - planes.reconstruct().reshape(-1))))


def error_table(count=_TABLE_POINTS):
    """:data:`REFERENCE` computed again with our own quantizers.

    Returns
    -------
    dict
        ``points`` and ``table``: per density and quantity ``computed`` and ``reference``.
    """
    from xnorloom.sw.quantizers.lsbq import LsbqWeight

    table = {}
    for density, reference in REFERENCE.items():
        points = quantile_points(density, count)
        greedy = [_quantized(LsbqWeight(f"greedy-{bits}"), points)[1] for bits in range(1, 5)]
        two, two_error = _quantized(LsbqWeight("ls2"), points)
        ternary, ternary_error = _quantized(LsbqWeight("ternary"), points)
        level = float(ternary.scales.sum())
        values = [*greedy, *two.scales[:, 0, 0].tolist(), two_error, level, level / 2,
                  ternary_error]
        table[density] = {name: {"computed": value, "reference": known} for name, value, known
                          in zip(QUANTITIES, values, reference, strict=True)}
    return {"points": count, "table": table}


def error_curves(count=_CURVE_POINTS):
    """Normalized squared error against bits.

    Returns
    -------
    dict
        Per density and method a list of ``[bits, error]``; bits are the logarithm of the number of
        values, the method ``Lloyd-Max`` is the best that any quantizer could do.
    """
    from xnorloom.sw.quantizers.balanced import BalancedWeight
    from xnorloom.sw.quantizers.lsbq import LsbqWeight
    from xnorloom.sw.quantizers.sawb import SawbWeight

    families: dict[str, list] = {
        "greedy": [LsbqWeight(f"greedy-{bits}") for bits in range(1, 5)],
        "LS2": [LsbqWeight("ls2")],
        "ternary": [LsbqWeight("ternary")],
        "SAWB": [SawbWeight(bits) for bits in range(1, 5)],
        "SAWB with zero": [SawbWeight(bits, zero_aligned=True) for bits in range(2, 5)],
        "Balanced": [BalancedWeight(bits, scale="least-squares") for bits in range(1, 5)],
    }
    curves: dict[str, dict] = {}
    for density in DENSITIES:
        points = quantile_points(density, count)
        curves[density] = {
            name: [[math.log2(quantizer.levels), _quantized(quantizer, points)[1]]
                   for quantizer in family] for name, family in families.items()}
        curves[density]["Lloyd-Max"] = [[math.log2(levels), lloyd_max(points, levels)]
                                        for levels in (2, 3, 4, 6, 8, 12, 16)]
    return curves
