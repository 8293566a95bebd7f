"""Networks, as ordinary torch models that then pass through quantize_."""

from collections import OrderedDict

from torch import nn

from . import data as datasets
from .quantize import quantize_
from .quantizers.registry import look_up

__all__ = ["NETS", "build", "cnn", "prepare"]


def cnn(info):
    """Three convolutions, the second strided, and a linear layer; batch norm and ReLU between.

    Parameters
    ----------
    info : sw.data.DataInfo
        Gives the input's shape and the number of classes.
    """
    channels, height, width = info.in_shape
    return nn.Sequential(OrderedDict(
        conv1=nn.Conv2d(channels, 32, 3, padding=1, bias=False),
        norm1=nn.BatchNorm2d(32),
        act1=nn.ReLU(),
        conv2=nn.Conv2d(32, 64, 3, stride=2, padding=1, bias=False),
        norm2=nn.BatchNorm2d(64),
        act2=nn.ReLU(),
        conv3=nn.Conv2d(64, 64, 3, padding=1, bias=False),
        norm3=nn.BatchNorm2d(64),
        act3=nn.ReLU(),
        flatten=nn.Flatten(),
        linear=nn.Linear(64 * ((height + 1) // 2) * ((width + 1) // 2), info.classes),
    ))


NETS = {"cnn": cnn}
"""Networks by name: functions of a :class:`sw.data.DataInfo`."""


def build(net, scheme=None, data="digits"):
    """Builds an untrained network.

    Parameters
    ----------
    net : str
        One of :data:`NETS`.
    scheme : str, SchemeConfig or None
        How to quantize it; None leaves it in floating point.
    data : str
        Data set whose shape, classes and pixels it is for.

    Raises
    ------
    ValueError
        If a name is unknown.
    """
    model = look_up(NETS, net, "Net")(datasets.info(data))
    return model if scheme is None else prepare(model, scheme, data)


def prepare(model, scheme, data="digits"):
    """Quantizes a float network of :func:`build` in place, for the pixels of its data set.

    Raises
    ------
    ValueError
        If a name is unknown or a layer cannot be quantized.
    """
    about = datasets.info(data)
    return quantize_(model, scheme, input_bits=about.input_bits, input_step=about.input_step)
