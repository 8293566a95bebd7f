"""Convolution over signals: one over maps of height 1."""

import torch.nn.functional as F
from torch import nn

from .convolution import Convolution
from .operator import register

__all__ = ["Convolution1d"]


class Convolution1d(Convolution):
    """``torch.nn.Conv1d`` and ``torch.nn.functional.conv1d``."""

    name = "convolution1d"
    aten = ("conv1d",)
    modules = (nn.Conv1d,)
    axes = 1
    layer = nn.Conv1d
    function = staticmethod(F.conv1d)


register(Convolution1d())
