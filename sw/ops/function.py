"""Monotone elementwise functions: the search of a staircase makes all of them free.

Each of them is one :class:`Function`; one that has attributes of its own says how to read them.
"""

import math

import torch
from torch import nn

from .operator import Operator
from .values import Sum, identity

__all__ = ["Applied", "Function", "clamped", "scalar"]


class Applied(nn.Module):
    """A function of float64 values with its attributes, in a snapped network.

    Parameters
    ----------
    name : str
        Of the operator.
    function : callable
        From a float64 tensor, channels on axis 1, to one.
    step : tuple of str and dict, or None
        The same at the network's end, a step of :class:`sw.head.Head`; None: there is none.
    """

    def __init__(self, name, function, step):
        super().__init__()
        self.name, self.function, self.step = name, function, step

    def forward(self, x):
        """The function of x."""
        return self.function(x)


class Function(Operator):
    """A monotone function without tensors.

    Parameters
    ----------
    name : str
    function : callable
        ``function(x, **attributes)``; rises with x, in float64 as in float32, and gives equal
        numbers for equal numbers wherever they stand in a tensor: see :func:`scalar`.
    aten : tuple of str
        Torch functions that it stands for.
    modules : tuple of type
    attributes : tuple of str
        Arguments of the torch function that become attributes of the same name.
    positive : callable, optional
        ``positive(attributes)``: whether its values are 0 or more whatever it reads; never, without
        it.
    check : callable, optional
        ``check(attributes)`` raises :class:`Refused`.
    step : callable, optional
        ``step(attributes)``: the function as a step of :class:`sw.head.Head`, which the host
        computes at the network's end; without it no network can end in it.
    """

    kind = "function"

    def __init__(self, name, function, *, aten, modules=(), attributes=(), positive=None,
                 check=None, step=None):
        self.name, self.function, self.aten, self.modules = name, function, aten, modules
        self.attributes, self._positive, self.check = attributes, positive, check
        self._step = step

    def read(self, call):
        """See :meth:`Operator.read`."""
        attributes = {name: call[name] for name in self.attributes}
        if self.check is not None:
            self.check(attributes)
        return (call.value("self").name,), attributes, {}

    def positive(self, node, *inputs):
        """See :meth:`Operator.positive`."""
        return self._positive is not None and self._positive(node.attributes)

    def run(self, node, module, *inputs):
        """See :meth:`Operator.run`."""
        return self.function(*inputs, **node.attributes)

    def lower(self, node, module, fuser, *inputs):
        """See :meth:`Operator.lower`: it goes into the staircase, or to the host."""
        found: Sum = identity(node.name, *inputs)
        step = None if self._step is None else self._step(node.attributes)
        exact = Applied(self.name, lambda x: self.function(x, **node.attributes), step)
        return found.then(exact)


def clamped(low, high):
    """The step of a host that clamps; None, and what no number is beyond, are no bound."""
    return "clamp", {"min": None if low == -math.inf else low,
                     "max": None if high == math.inf else high}


def scalar(vectorized, exact):
    """A function that torch computes by vectors, and the same in float64 number by number.

    Vector code rounds differently from what handles the odd elements at a tensor's end; a staircase
    needs one answer for one number.

    Parameters
    ----------
    vectorized : callable
        For float32 tensors, with gradients.
    exact : callable
        From a float to a float.
    """
    def function(x, **attributes):
        if x.dtype != torch.float64 or x.requires_grad:
            return vectorized(x, **attributes)
        numbers, places = torch.unique(x, return_inverse=True)
        found = [exact(number, **attributes) for number in numbers.tolist()]
        return torch.tensor(found, dtype=torch.float64)[places]

    return function
