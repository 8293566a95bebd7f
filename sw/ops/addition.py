"""Addition: the terms of both in one sum; a shortcut is a term of its own."""

import dataclasses

from .batch_norm import Affine
from .function import Applied
from .operator import Operator, Refused, register
from .values import identity

__all__ = ["Addition"]


class Addition(Operator):
    """``+`` and ``torch.add`` of two values of one shape."""

    name = "addition"
    aten = ("add",)
    kind = "sum"

    def read(self, call):
        """See :meth:`Operator.read`."""
        one, other = call.value("self"), call.value("other")
        if call["alpha"] not in (None, 1):
            raise Refused(f"alpha must be 1, not {call['alpha']!r}")
        if one.shape != other.shape:
            raise Refused("must add values of one shape, not of "
                          f"{one.shape[1:]!r} and {other.shape[1:]!r}")
        return (one.name, other.name), {}, {}

    def positive(self, node, *inputs):
        """See :meth:`Operator.positive`."""
        return all(inputs)

    def run(self, node, module, *inputs):
        """See :meth:`Operator.run`."""
        return inputs[0] + inputs[1]

    def lower(self, node, module, fuser, *inputs):
        """See :meth:`Operator.lower`: what ends in a ReLU comes first, and is clamped before the
        other is added."""
        sums = [identity(node.name, value) for value in inputs]
        name = next((each.name for each in sums if each.name != node.name), node.name)
        one, other = map(_linear, sums)
        if other[1] or other[0].clamped:
            one, other = other, one
        if other[1] or other[0].clamped:
            raise Refused("must not add two values that both end in a ReLU")
        first, *rest = other[0].terms
        first = dataclasses.replace(first, relu=one[1])
        return dataclasses.replace(one[0], name=name, terms=(*one[0].terms, first, *rest), tail=())


def _linear(found):
    """A sum with its batch norms in its terms, and whether a ReLU follows."""
    terms, rectified = found.terms, False
    for module in found.tail:
        if isinstance(module, Affine) and not rectified and not found.clamped:
            gain, shift = module.gain.numpy(), module.shift.numpy()
            terms = tuple(dataclasses.replace(term, gain=term.gain * gain, bias=term.bias * gain)
                          for term in terms)
            first = dataclasses.replace(terms[0], bias=terms[0].bias + shift)
            terms = (first, *terms[1:])
        elif isinstance(module, Applied) and module.name == "relu" and not found.clamped:
            rectified = True
        else:
            raise Refused("must not add what a function or a batch norm has made of a clamped sum: "
                          "quantize it first")
    return dataclasses.replace(found, terms=terms, tail=()), rectified


register(Addition())
