"""PReLU: a trained slope below zero, of all channels or of each."""

import torch
import torch.nn.functional as F
from torch import nn

from .function import Applied
from .operator import Operator, Refused, register
from .values import identity

__all__ = ["PReLU"]


class PReLU(Operator):
    """A function with a tensor; it rises where its slopes are not negative."""

    name = "prelu"
    aten = ("prelu",)
    kind = "function"
    modules = (nn.PReLU,)

    def read(self, call):
        """See :meth:`Operator.read`."""
        return (call.value("self").name,), {}, {"weight": call.parameter("weight")}

    def module(self, node, tensors):
        """See :meth:`Operator.module`."""
        module = nn.PReLU(len(tensors["weight"]), device="meta")
        module.weight = tensors["weight"]
        self._check(module)
        return module

    def _check(self, module):
        wrong = module.weight.detach()[~(module.weight.detach() >= 0)]
        if len(wrong):
            raise Refused("must have slopes of at least 0 to rise everywhere, not "
                          f"{wrong[0].item()!r}")

    def lower(self, node, module, fuser, *inputs):
        """See :meth:`Operator.lower`."""
        self._check(module)
        found, slopes = identity(node.name, *inputs), module.weight.detach().double()
        if len(slopes) not in (1, found.shape[0]):
            raise Refused(f"must have one slope, or those of the {found.shape[0]} channels of what "
                          f"it reads, not {len(slopes)}: apply it before flattening")

        def function(x):
            shape = (-1, *[1] * (x.dim() - 2))
            return torch.where(x >= 0, x, x * slopes.reshape(shape))

        return found.then(
            Applied(self.name, function, ("prelu", {"slopes": slopes.numpy()})))

    def run(self, node, module, *inputs):
        """See :meth:`Operator.run`."""
        return F.prelu(*inputs, module.weight)


register(PReLU())
