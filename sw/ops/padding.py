"""Padding with zeros before a convolution, which takes it over."""

from torch import nn

from .layers import padded
from .operator import Operator, Refused, register

__all__ = ["Padding"]


class Padding(Operator):
    """``torch.nn.ZeroPad2d`` and ``torch.nn.functional.pad`` with a constant of 0."""

    name = "padding"
    aten = ("pad", "constant_pad_nd")
    kind = "padding"
    modules = (nn.ZeroPad2d,)

    def read(self, call):
        """See :meth:`Operator.read`."""
        source = call.value("self")
        if call["mode"] not in (None, "constant") or call["value"] not in (None, 0):
            raise Refused(f"must pad with the constant 0, not {call['mode'] or 'constant'!r} "
                          f"{call['value']!r}")
        axes = len(source.shape) - 2
        pads = tuple(call["pad"])
        if axes not in (1, 2) or any(pads[2 * axes:]) or any(pad < 0 for pad in pads):
            raise Refused(f"must pad the axes of a map by 0 or more, not by {pads!r}")
        pads = (pads + (0, 0) * axes)[:2 * axes]
        # Torch begins with the last axis.
        return (source.name,), {"padding": (*pads[2:], *pads[:2])}, {}

    def run(self, node, module, *inputs):
        """See :meth:`Operator.run`."""
        return padded(inputs[0], node["padding"], [(inputs[0].shape[1], 0.0)])

    def lower(self, node, module, fuser, *inputs):
        """See :meth:`Operator.lower`."""
        raise Refused("must be read by nothing but convolutions")


register(Padding())
