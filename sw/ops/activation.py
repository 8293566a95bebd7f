"""The activation functions of torch that rise everywhere, or at least never fall."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from .function import Function, clamped, scalar
from .operator import Refused, register

__all__: list = []


def _sigmoid(x):
    # Neither branch overflows, and both rise.
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def _always(_attributes):
    return True


def _slope(attributes):
    if attributes["negative_slope"] < 0:
        raise Refused("must have a slope of at least 0 to rise everywhere, not "
                      f"{attributes['negative_slope']!r}")


def _bounds(attributes):
    low, high = attributes["min_val"], attributes["max_val"]
    if not low <= high:
        raise Refused(f"must have its lower bound at or below the upper one, not {low!r} and "
                      f"{high!r}")


register(Function("relu", F.relu, aten=("relu",), modules=(nn.ReLU,), positive=_always,
                  step=lambda _: clamped(0, None)))
register(Function("relu6", F.relu6, aten=("relu6",), modules=(nn.ReLU6,), positive=_always,
                  step=lambda _: clamped(0, 6)))
register(Function("hardtanh", F.hardtanh, aten=("hardtanh",), modules=(nn.Hardtanh,),
                  attributes=("min_val", "max_val"), check=_bounds,
                  positive=lambda attributes: attributes["min_val"] >= 0,
                  step=lambda attributes: clamped(attributes["min_val"], attributes["max_val"])))
register(Function("leaky_relu", F.leaky_relu, aten=("leaky_relu",), modules=(nn.LeakyReLU,),
                  attributes=("negative_slope",), check=_slope,
                  step=lambda attributes: ("prelu", {"slopes": (attributes["negative_slope"],)})))
register(Function("sigmoid", scalar(torch.sigmoid, _sigmoid), aten=("sigmoid",),
                  modules=(nn.Sigmoid,), positive=_always,
                  step=lambda _: ("sigmoid", {})))
register(Function("tanh", scalar(torch.tanh, math.tanh), aten=("tanh",), modules=(nn.Tanh,),
                  step=lambda _: ("tanh", {})))
