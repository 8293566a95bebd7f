"""``torch.clamp`` between numbers."""

import torch

from .function import Function, clamped
from .operator import Refused, register

__all__: list = []


def _bounds(attributes):
    low, high = attributes["min"], attributes["max"]
    if low is not None and high is not None and not low <= high:
        raise Refused(f"must have its lower bound at or below the upper one, not {low!r} and "
                      f"{high!r}")


def _clamp(x, min=None, max=None):
    return torch.clamp(x, min, max)


def _positive(attributes):
    return attributes["min"] is not None and attributes["min"] >= 0


register(Function("clamp", _clamp, aten=("clamp", "clamp_min", "clamp_max"),
                  attributes=("min", "max"), check=_bounds, positive=_positive,
                  step=lambda attributes: clamped(attributes["min"], attributes["max"])))
