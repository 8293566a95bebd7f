"""Batch norm: a gain and a shift per channel, once trained."""

import torch
from torch import nn

from .operator import Operator, Refused, register
from .support import check_norm
from .values import Raw, identity

__all__ = ["Affine", "BatchNorm"]

_NORMS = {1: nn.BatchNorm1d, 2: nn.BatchNorm1d, 3: nn.BatchNorm2d}


class Affine(nn.Module):
    """A batch norm in evaluation as a separate multiplication and addition per channel, in float64.

    Parameters
    ----------
    gain, shift : float64 tensor, shape ``(channels,)``
    """

    gain: torch.Tensor
    shift: torch.Tensor

    def __init__(self, gain, shift):
        super().__init__()
        self.register_buffer("gain", gain)
        self.register_buffer("shift", shift)

    @classmethod
    def from_batch_norm(cls, norm):
        """The affine map of a batch norm's stored statistics."""
        deviation = torch.sqrt(norm.running_var.double() + norm.eps)
        gain = torch.ones_like(deviation) if norm.weight is None else norm.weight.detach().double()
        shift = torch.zeros_like(gain) if norm.bias is None else norm.bias.detach().double()
        gain = gain / deviation
        return cls(gain, shift - norm.running_mean.double() * gain)

    def forward(self, x):
        """``x * gain + shift`` along axis 1."""
        shape = (-1, *[1] * (x.dim() - 2))
        # Two operations: a fused one would round differently from one tensor shape to another.
        return x * self.gain.reshape(shape) + self.shift.reshape(shape)


class BatchNorm(Operator):
    """``torch.nn.BatchNorm1d`` and ``BatchNorm2d``, and their functional form."""

    name = "batch_norm"
    aten = ("batch_norm",)
    kind = "affine"
    modules = (nn.BatchNorm1d, nn.BatchNorm2d)

    def read(self, call):
        """See :meth:`Operator.read`."""
        if call["training"] or call["running_var"] is None:
            raise Refused("must keep running statistics")
        momentum = getattr(call.inside, "momentum", call["momentum"])
        parameters = {"weight": call.parameter("weight", optional=True),
                      "bias": call.parameter("bias", optional=True),
                      "running_mean": call.parameter("running_mean"),
                      "running_var": call.parameter("running_var")}
        kept = {name: each for name, each in parameters.items() if each is not None}
        return (call.value("input").name,), {"eps": call["eps"], "momentum": momentum}, kept

    def module(self, node, tensors):
        """See :meth:`Operator.module`."""
        mean = tensors["running_mean"]
        norm = _NORMS[len(node.shape)](len(mean), node["eps"], node["momentum"], device="meta")
        norm.weight, norm.bias = tensors.get("weight"), tensors.get("bias")
        norm.running_mean, norm.running_var = mean, tensors["running_var"]
        norm.num_batches_tracked = torch.zeros((), dtype=torch.int64)
        return norm

    def lower(self, node, module, fuser, *inputs):
        """See :meth:`Operator.lower`."""
        (value,) = inputs
        found = value if isinstance(value, Raw) else identity(node.name, value)
        if found.shape[0] != module.num_features:
            raise Refused(f"must have the {found.shape[0]} channels of what it reads, not "
                          f"{module.num_features}: normalize before flattening")
        check_norm(module)
        affine = Affine.from_batch_norm(module)
        if not isinstance(found, Raw):
            return found.then(affine)
        if found.gain is not None:
            raise Refused("must not follow another batch norm of the input")
        return Raw(found.shape, affine.gain.numpy(), affine.shift.numpy())


register(BatchNorm())
