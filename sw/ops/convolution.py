"""Convolution over maps: grouped, depthwise, dilated, strided, with any constant padding of zero.
"""

import torch.nn.functional as F
from torch import nn

from .layers import padded
from .matrix import Matrix, sliced
from .operator import Refused, register

__all__ = ["Convolution"]


class Convolution(Matrix):
    """``torch.nn.Conv2d`` and ``torch.nn.functional.conv2d``."""

    name = "convolution"
    aten = ("conv2d",)
    modules: tuple = (nn.Conv2d,)
    axes = 2
    layer: type = nn.Conv2d
    function = staticmethod(F.conv2d)

    def read(self, call):
        """See :meth:`Operator.read`."""
        mode = getattr(call.inside, "padding_mode", "zeros")
        if mode != "zeros":
            raise Refused(f"padding_mode must be 'zeros', not {mode!r}")
        parameters = self.parameters(call)
        kernel = parameters["weight"].shape[2:]
        stride, dilation = self._each(call["stride"]), self._each(call["dilation"])
        attributes = {"kernel": kernel, "stride": stride, "dilation": dilation,
                      "groups": call["groups"],
                      "padding": self._edges(call["padding"], kernel, dilation)}
        return (call.value("input").name,), attributes, parameters

    def _each(self, values):
        values = tuple(values)
        return values * self.axes if len(values) == 1 else values

    def _edges(self, padding, kernel, dilation):
        """Padding before and behind on every axis; torch puts the odd one of ``same`` behind."""
        if padding == "valid":
            return (0, 0) * self.axes
        if padding == "same":
            whole = [step * (taps - 1) for taps, step in zip(kernel, dilation)]
            return tuple(each for pad in whole for each in (pad // 2, pad - pad // 2))
        return tuple(each for pad in self._each(padding) for each in (pad, pad))

    def module(self, node, tensors):
        """See :meth:`Operator.module`."""
        weight = tensors["weight"]
        if tuple(weight.shape[2:]) != tuple(node["kernel"]):
            raise Refused(f"must have a weight of kernel {node['kernel']!r}, not "
                          f"{tuple(weight.shape[2:])!r}")
        module = self.layer(weight.shape[1] * node["groups"], weight.shape[0], node["kernel"],
                            node["stride"], 0, node["dilation"], node["groups"],
                            "bias" in tensors, device="meta")
        module.weight, module.bias = weight, tensors.get("bias")
        return module

    def run(self, node, module, *inputs):
        """See :meth:`Operator.run`."""
        if hasattr(module, "weight_quantizer"):
            return module(*inputs)
        x = padded(inputs[0], node["padding"], [(inputs[0].shape[1], 0.0)])
        return self.function(x, module.weight, module.bias, node["stride"], 0, node["dilation"],
                             node["groups"])

    def lower(self, node, module, fuser, *inputs):
        """See :meth:`Operator.lower`."""
        planes, value = self.planes(module), self.codes(inputs[0])
        if len(value.parts) > 1 and node["groups"] > 1:
            raise Refused(f"groups must be 1 over a concatenation, not {node['groups']}")
        weights, start = [planes] if len(value.parts) == 1 else [], 0
        for part in value.parts if len(value.parts) > 1 else ():
            weights.append(sliced(planes, start, start + part.shape[0]))
            start += part.shape[0]
        return self.terms(node, module, value, weights, blocks=node["groups"],
                          stride=self._plane(node["stride"]),
                          dilation=self._plane(node["dilation"]),
                          padding=(0, 0, 0, 0)[2 * self.axes:] + tuple(node["padding"]))

    def _plane(self, values):
        """Values of both axes of a map."""
        return (1,) * (2 - self.axes) + tuple(values)


register(Convolution())
