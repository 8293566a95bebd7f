"""Softmax and its logarithm as a network's last step: the host computes them."""

import torch
from torch import nn

from .function import Applied
from .operator import Operator, Refused, as_map, register
from .values import identity

__all__ = ["Softmax"]


class Softmax(Operator):
    """Over the channels of the network's result.

    Parameters
    ----------
    name : str
    function : callable
    modules : tuple of type
    """

    kind = "last"

    def __init__(self, name, function, modules):
        self.name, self.function, self.aten, self.modules = name, function, (name,), modules

    def read(self, call):
        """See :meth:`Operator.read`."""
        source = call.value("self")
        if call["dim"] % len(source.shape) != 1:
            raise Refused(f"must be over the channels, axis 1, not axis {call['dim']}")
        return (source.name,), {}, {}

    def run(self, node, module, *inputs):
        """See :meth:`Operator.run`."""
        return self.function(*inputs, dim=1)

    def lower(self, node, module, fuser, *inputs):
        """See :meth:`Operator.lower`."""
        found = identity(node.name, *inputs)
        if as_map(node.shape) != found.shape:
            # Of all pixels together, as the model reads them.
            found = found.then(Applied("flatten", lambda x: x.flatten(1), ("flatten", {})))
        return found.then(
            Applied(self.name, lambda x: self.function(x, dim=1), (self.name, {})))


register(Softmax("softmax", torch.softmax, (nn.Softmax,)))
register(Softmax("log_softmax", torch.log_softmax, (nn.LogSoftmax,)))
