"""Linear layer: over a map it is a convolution whose kernel is the map."""

import torch.nn.functional as F
from torch import nn

from ..bitplanes import BitPlanes
from .matrix import Matrix
from .operator import Refused, register

__all__ = ["Linear"]


class Linear(Matrix):
    """``torch.nn.Linear`` and ``torch.nn.functional.linear``."""

    name = "linear"
    aten = ("linear",)
    modules = (nn.Linear,)

    def read(self, call):
        """See :meth:`Operator.read`."""
        source = call.value("input")
        if len(source.shape) != 2:
            raise Refused(f"must read a flattened map, not one of {source.shape[1:]!r}")
        return (source.name,), {}, self.parameters(call)

    def module(self, node, tensors):
        """See :meth:`Operator.module`."""
        weight = tensors["weight"]
        module = nn.Linear(weight.shape[1], weight.shape[0], "bias" in tensors, device="meta")
        module.weight, module.bias = weight, tensors.get("bias")
        return module

    def run(self, node, module, *inputs):
        """See :meth:`Operator.run`."""
        if hasattr(module, "weight_quantizer"):
            return module(*inputs)
        return F.linear(inputs[0], module.weight, module.bias)

    def lower(self, node, module, fuser, *inputs):
        """See :meth:`Operator.lower`."""
        planes, value = self.planes(module), self.codes(inputs[0])
        weights, start = [], 0
        for part in value.parts:
            shape = part.averaged
            stop = start + shape[0] * shape[1] * shape[2]
            bits = planes.planes[:, :, start:stop].reshape(*planes.planes.shape[:2], *shape)
            weights.append(BitPlanes(bits, planes.scales))
            start = stop
        return self.terms(node, module, value, weights)


register(Linear())
