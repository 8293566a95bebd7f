"""What does nothing once a network is trained: dropout, and what only copies."""

import torch.nn.functional as F
from torch import nn

from .operator import Operator, register

__all__ = ["Copy", "Dropout"]


class Copy(Operator):
    """Returns what it reads."""

    name = "identity"
    aten: tuple = ("alias", "clone", "contiguous", "detach", "lift_fresh_copy")
    kind = "passing"
    modules: tuple = (nn.Identity,)

    def positive(self, node, *inputs):
        """See :meth:`Operator.positive`."""
        return all(inputs)

    def run(self, node, module, *inputs):
        """See :meth:`Operator.run`."""
        return inputs[0]

    def lower(self, node, module, fuser, *inputs):
        """See :meth:`Operator.lower`."""
        return inputs[0]


class Dropout(Copy):
    """Drops values, or whole channels, in training."""

    name = "dropout"
    aten = ("dropout", "feature_dropout")
    modules = (nn.Dropout, nn.Dropout1d, nn.Dropout2d)

    def read(self, call):
        """See :meth:`Operator.read`."""
        whole = call.aten.rstrip("_") == "feature_dropout"
        return (call.value("input").name,), {"p": call["p"], "channels": whole}, {}

    def module(self, node, tensors):
        """See :meth:`Operator.module`: one that follows the network's mode."""
        return nn.Dropout1d(node["p"]) if node["channels"] else nn.Dropout(node["p"])

    def run(self, node, module, *inputs):
        """See :meth:`Operator.run`."""
        (x,) = inputs
        if not node["channels"]:
            return module(x)
        if not module.training:
            return x
        return F.dropout1d(x.flatten(2), node["p"]).reshape(x.shape)


register(Copy())
register(Dropout())
