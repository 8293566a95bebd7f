"""Concatenation along the channels: a layer that reads it has one term an operand."""

import torch

from .operator import Operator, Refused, register
from .values import Map

__all__ = ["Concatenation"]


class Concatenation(Operator):
    """``torch.cat`` along axis 1."""

    name = "concatenation"
    aten = ("cat", "concat", "concatenate")
    kind = "coded"

    def read(self, call):
        """See :meth:`Operator.read`."""
        values = call["tensors"]
        if not all(hasattr(value, "name") and value.shape for value in values):
            raise Refused("must read values of the network, not constants")
        if call["dim"] % len(call.shape) != 1:
            raise Refused(f"must join channels, axis 1, not axis {call['dim']}")
        return tuple(value.name for value in values), {}, {}

    def positive(self, node, *inputs):
        """See :meth:`Operator.positive`."""
        return all(inputs)

    def run(self, node, module, *inputs):
        """See :meth:`Operator.run`."""
        return torch.cat(inputs, dim=1)

    def lower(self, node, module, fuser, *inputs):
        """See :meth:`Operator.lower`."""
        parts = tuple(part for value in inputs for part in value.parts)
        return Map(parts, flattened=any(value.flattened for value in inputs))


register(Concatenation())
