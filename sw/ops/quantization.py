"""Quantization of values: where a sum becomes codes, a layer ends."""

from .operator import Operator, register

__all__ = ["Quantize"]


class Quantize(Operator):
    """An activation quantizer at work; :mod:`sw.passes.quantize` puts it into a graph.

    Its attribute ``codes`` says which one: ``"pixels"`` of the input, with ``bits`` and ``step``;
    ``"normed"``, of an input behind a batch norm, with ``bits``;
    ``"scheme"``, that of the scheme; ``"signed"``, that of the scheme for values of both signs.
    """

    name = "quantize"
    kind = "quantize"

    def positive(self, node, *inputs):
        """See :meth:`Operator.positive`."""
        return node["positive"]

    def lower(self, node, module, fuser, *inputs):
        """See :meth:`Operator.lower`."""
        return fuser.quantized(node, module, inputs[0])


register(Quantize())
