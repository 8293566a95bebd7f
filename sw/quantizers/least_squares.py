"""Least-squares scales of bipolar planes, and their signs (arXiv 2001.02786).

A value is approximated by ``sum_i v_i s_i``: the signs are those of successive residuals, where a
residual of 0 counts as positive; the scales of a row are solved for by one of :data:`METHODS`.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch

from .registry import look_up
from .split import split_levels

__all__ = ["METHODS", "Method", "least_squares_scales", "residual_signs", "residuals",
           "solve_scales"]

MAX_PLANES = 8


class Method(NamedTuple):
    """A way to find scales.

    Parameters
    ----------
    planes : int
        Scales of a row.
    levels : int
        Different values that they can stand for.
    solve : callable
        From magnitudes ``(rows, n)``, float32 or float64 tensors, to float64 scales ``(planes,
        rows)``.
    """

    planes: int
    levels: int
    solve: Callable[[torch.Tensor], torch.Tensor]


def _greedy(planes, magnitudes):
    residual, scales = magnitudes.double(), []
    for _ in range(planes):
        scales.append(residual.mean(dim=1))
        if len(scales) < planes:
            residual = (residual - scales[-1][:, None]).abs_()
    return torch.stack(scales)


def _two_planes(magnitudes):
    low, high = split_levels(magnitudes, False)
    return torch.stack([high + low, high - low]) / 2


def _ternary(magnitudes):
    return torch.stack([split_levels(magnitudes, True)[1]] * 2) / 2


METHODS = {
    "ls1": Method(1, 2, partial(_greedy, 1)),
    "ls2": Method(2, 4, _two_planes),
    "ternary": Method(2, 3, _ternary),
    **{f"greedy-{planes}": Method(planes, 2 ** planes, partial(_greedy, planes))
       for planes in range(1, MAX_PLANES + 1)},
}
"""Ways to find scales, by name.

``ls1``, ``ls2``
    The optimum of one plane, ``E|x|``; of two planes: ``v_1 -+ v_2`` are the means of the low and
    the high magnitudes (section 1.2).
``ternary``
    The optimum of the levels -s, 0, s, as two planes of scale s / 2.
``greedy-1`` to ``greedy-8``
    Plane after plane, each the optimum for what those before it left over: ``v_i = E|r_i|``. Not
    the optimum of all together from two planes on, and not always descending.
"""


def least_squares_scales(rows, method):
    """Scales of every row, in linear time; computed in float64.

    Parameters
    ----------
    rows : float tensor, shape ``(rows, n)``
        Any float type.
    method : str
        One of :data:`METHODS`.

    Returns
    -------
    float64 tensor, shape ``(planes, rows)``

    Raises
    ------
    ValueError
        If the method is unknown, or the rows are empty or not finite.
    """
    look_up(METHODS, method, "Least-squares method")
    if rows.dim() != 2 or not rows.numel():
        raise ValueError("Rows must have shape (rows, n) and not be empty, but have shape "
                         f"{tuple(rows.shape)}")
    top = rows.detach().abs().amax(dim=1)
    if not torch.isfinite(top).all():
        raise ValueError(f"Rows must be finite, not {float(top[~torch.isfinite(top)][0])}")
    return solve_scales(rows, method)


def solve_scales(rows, method):
    """:func:`least_squares_scales` without its checks, which look at numbers: rows that are not
    finite have scales that are not."""
    solve = METHODS[method].solve
    rows = rows.detach()
    if rows.dtype != torch.float64:
        return solve(rows.float().abs().contiguous())
    magnitudes = rows.abs().contiguous()
    # Near the ends of float64 squares overflow or vanish; a power of two moves rows away from them.
    top = magnitudes.amax(dim=1, keepdim=True)
    unit = top / (2 * torch.frexp(top).mantissa)
    unit = torch.where(top == 0, 1.0, unit)
    return solve(magnitudes / unit) * unit[:, 0]


def residuals(x, scales):
    """What every plane sees and does: pairs of a residual and of the signed scale that it leads to.

    Parameters
    ----------
    x : float tensor
    scales : tensor or sequence of tensors
        One a plane, not negative; each broadcasts against x.

    Yields
    ------
    tuple of two tensors
    """
    for scale in scales:
        # Adding 0 makes a negative zero positive; copysign is ten times faster than where.
        signed = torch.copysign(scale, x + 0.0)
        yield x, signed
        x = x - signed


def residual_signs(x, scales):
    """Signs of successive residuals: booleans, shape ``(planes, *x.shape)``.

    The signs of a value, read as a binary number, rise with it, whatever the scales are.

    Parameters
    ----------
    x, scales
        As for :func:`residuals`.
    """
    return torch.stack([residual >= 0 for residual, _ in residuals(x, scales)])
