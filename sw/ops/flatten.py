"""Flatten and other changes of layout that keep channels in front: vectors, squeezed axes."""

import math

import torch
from torch import nn

from .operator import Operator, Refused, as_map, register
from .values import Map, Raw, Sum

__all__ = ["Flatten"]


class Flatten(Operator):
    """A vector of all values of an image, in their order; or the same map with other axes of 1."""

    name = "flatten"
    aten = ("flatten", "view", "reshape", "_unsafe_view", "squeeze", "unsqueeze", "unflatten")
    kind = "layout"
    modules = (nn.Flatten,)

    def read(self, call):
        """See :meth:`Operator.read`."""
        source = call.value("self")
        batch, shape = call.shape[0] if call.shape else None, call.shape[1:]
        flat = len(shape) == 1 and shape[0] == math.prod(source.shape[1:])
        kept = 1 <= len(shape) <= 3 and as_map(shape) == as_map(source.shape[1:])
        if batch != source.shape[0] or not (flat or kept):
            raise Refused("must flatten all but the batch, as torch.flatten(x, 1) does, not make "
                          f"{tuple(call.shape)} of {tuple(source.shape)}")
        return (source.name,), {}, {}

    def positive(self, node, *inputs):
        """See :meth:`Operator.positive`."""
        return all(inputs)

    def run(self, node, module, *inputs):
        """See :meth:`Operator.run`."""
        return torch.reshape(inputs[0], (len(inputs[0]), *node.shape))

    def lower(self, node, module, fuser, *inputs):
        """See :meth:`Operator.lower`: whoever reads it has a kernel of the map's size."""
        (value,) = inputs
        if isinstance(value, Raw):
            if value.gain is not None and as_map(node.shape) != value.shape:
                raise Refused("must stand before the batch norm of the input")
            return value if value.gain is not None else Raw(as_map(node.shape))
        if isinstance(value, Sum):
            # Only at the network's end: its result has whatever layout the graph's output has.
            return value
        return fuser.flattened(value) if as_map(node.shape) != value.shape else Map(value.parts)


register(Flatten())
