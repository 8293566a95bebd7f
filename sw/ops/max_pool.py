"""Maximum over windows: of codes, which rise with what they stand for."""

import torch
import torch.nn.functional as F
from torch import nn

from .operator import Operator, Refused, register

__all__ = ["CodeOrder", "MaxPool", "as_edges", "as_plane", "pool_attributes"]


def pool_attributes(call, axes, source):
    """Window, stride and padding of a pooling call, of every axis.

    Parameters
    ----------
    call : sw.ops.operator.Call
    axes : int
        Of a map, or of a signal.
    source : sw.ops.operator.Value

    Raises
    ------
    Refused
        If its windows are dilated, or reach beyond the padded map.
    """
    def each(values):
        values = tuple(values)
        return values * axes if len(values) == 1 else values

    window = each(call["kernel_size"])
    stride = each(call["stride"]) or window
    padding = each(call["padding"] or (0,))
    if any(step != 1 for step in call["dilation"] or ()):
        raise Refused(f"dilation must be 1, not {tuple(call['dilation'])!r}")
    sizes = source.shape[-axes:]
    found = tuple((size + 2 * pad - taps) // step + 1
                  for size, taps, step, pad in zip(sizes, window, stride, padding))
    if found != tuple(call.shape[-axes:]):
        raise Refused("ceil_mode must be false where windows would reach beyond the map")
    return {"window": window, "stride": stride, "padding": padding}


class CodeOrder(nn.Module):
    """Ranks of quantized values by their codes, for quantizers whose values do not rise with them.
    """

    def forward(self, x, *sources):
        """Codes of quantized values, as floats of their dtype; sources as of a convolution."""
        parts = x.detach().split([channels for channels, _ in sources], dim=1)
        return torch.cat([part if source is None else _ranks(part, source) for part, (_, source)
                          in zip(parts, sources, strict=True)], dim=1)


def _ranks(x, quantizer):
    levels = quantizer.levels().to(x.dtype)
    order = levels.argsort(stable=True)
    middles = (levels[order][1:] + levels[order][:-1]) / 2
    return order[torch.bucketize(x.contiguous(), middles)].to(x.dtype)


class MaxPool(Operator):
    """``torch.nn.MaxPool2d`` and ``MaxPool1d``, and their functional forms.

    In a quantized network the largest code wins, as on the machine; a node has the attribute
    ``order``, channels and quantizer of every part, where that need not be the largest value.
    """

    name = "max_pool"
    aten = ("max_pool2d", "max_pool1d")
    kind = "coded"
    modules = (nn.MaxPool2d, nn.MaxPool1d)

    def read(self, call):
        """See :meth:`Operator.read`."""
        source = call.value("self")
        axes = int(call.aten[-2])
        if len(source.shape) != 2 + axes:
            raise Refused(f"must read a batch of maps, not {source.shape!r}")
        return (source.name,), pool_attributes(call, axes, source), {}

    def positive(self, node, *inputs):
        """See :meth:`Operator.positive`."""
        return all(inputs)

    def run(self, node, module, *inputs):
        """See :meth:`Operator.run`."""
        function = F.max_pool1d if len(node["window"]) == 1 else F.max_pool2d
        options = node["window"], node["stride"], node["padding"]
        x, *sources = inputs
        if module is None:
            return function(x, *options)
        places = function(module(x, *sources), *options, return_indices=True)[1]
        return x.flatten(2).gather(2, places.flatten(2)).reshape(places.shape)

    def lower(self, node, module, fuser, *inputs):
        """See :meth:`Operator.lower`."""
        return fuser.pooled(node, inputs[0], "max", as_plane(node["window"]),
                            as_plane(node["stride"]), as_edges(node["padding"]))


def as_plane(values):
    """Values of both axes of a map; a signal has one line."""
    return (1,) * (2 - len(values)) + tuple(values)


def as_edges(padding):
    """Padding of every axis as top, bottom, left, right."""
    frame = (0,) * (2 - len(padding)) + tuple(padding)
    return tuple(each for pad in frame for each in (pad, pad))


register(MaxPool())
