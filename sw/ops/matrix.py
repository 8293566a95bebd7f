"""What convolutions and linear layers share: parameters in, terms out."""

import numpy as np
from torch import nn

from ..bitplanes import BitPlanes
from .layers import QuantConv1d, QuantConv2d, QuantLinear
from .operator import Operator, Refused, as_map
from .support import check_layer
from .values import Map, Sum, SumTerm

__all__ = ["Matrix", "sliced"]

_QUANTIZED: dict = {nn.Conv2d: QuantConv2d, nn.Conv1d: QuantConv1d, nn.Linear: QuantLinear}


class Matrix(Operator):
    """An operator with a weight.

    A quantized node has the attributes ``weights``, ``"inner"`` or ``"edge"`` of a network, and
    ``pads``: for every part of its input the channels and the quantizer with whose padding code it
    pads, ``""`` for true zeros.
    """

    kind = "matrix"

    def parameters(self, call):
        """Weight and bias, by name."""
        found = {"weight": call.parameter("weight")}
        bias = call.parameter("bias", optional=True)
        return found if bias is None else {**found, "bias": bias}

    def edges(self, node):
        """Padding on every side, as :func:`sw.ops.layers.padded` takes it."""
        return node.attributes.get("padding", ())

    def quantized(self, node, module, weight_quantizer):
        """The quantized module that takes over a float one."""
        kind = next(kind for kind in _QUANTIZED if isinstance(module, kind))
        return _QUANTIZED[kind].from_float(module, weight_quantizer, self.edges(node))

    def codes(self, value):
        """What a layer reads, which must be a map.

        Raises
        ------
        Refused
            If it is not quantized.
        """
        if not isinstance(value, Map):
            raise Refused("must read codes: quantize what it reads")
        return value

    def planes(self, module):
        """Planes of a quantized layer's weight: ``(k, outputs, inputs / groups, height, width)``.

        Raises
        ------
        Refused
            If the layer is not quantized.
        ValueError
            If a number is none.
        """
        quantizer = getattr(module, "weight_quantizer", None)
        if quantizer is None:
            raise Refused("must be quantized: pass the model through quantize_ first")
        check_layer(module)
        weight = module.weight.unsqueeze(2) if module.weight.dim() == 3 else module.weight
        return quantizer.planes(weight)

    def terms(self, node, module, value, weights, **options):
        """The sum of one term a part of what is read.

        Parameters
        ----------
        node : sw.graph.graph.Node
        module : torch.nn.Module
            In float64.
        value : sw.ops.values.Map
        weights : list of BitPlanes
            One a part.
        **options
            Of :class:`sw.ops.values.SumTerm`; of every part.
        """
        outputs = module.weight.shape[0]
        bias = np.zeros(outputs) if module.bias is None else module.bias.detach().numpy()
        pads, shape = node.attributes.get("pads", ()), as_map(node.shape)
        terms = []
        for index, (part, planes) in enumerate(zip(value.parts, weights, strict=True)):
            zeros = _padded_with_zeros(part, options, index < len(pads) and not pads[index][1])
            area = part.spread[0] * part.spread[1]
            terms.append(SumTerm(
                part, _spread(planes, part.spread), np.full(outputs, 1 / area),
                bias if not index else np.zeros(outputs), zeros=zeros,
                **_strides(options, part, planes)))
        return Sum(node.name, tuple(terms), shape)


def _padded_with_zeros(part, options, wanted):
    """Whether a frame must be true zeros because the padding code is none."""
    if not any(options.get("padding", ())):
        return False
    if part.pad_code is None:
        return True
    return wanted and float(part.codebook.reconstruct()[part.pad_code]) != 0


def _strides(options, part, weights):
    """Options over codes of which a window makes one value; a kernel of the map's size needs no
    stride."""
    spread, framed = part.spread, any(options.get("padding", ()))
    if spread != (1, 1) and (framed or options.get("dilation", (1, 1)) != (1, 1)):
        raise Refused("must have neither padding nor dilation over an average of codes of uneven "
                      "levels")
    stride = options.get("stride", (1, 1))
    return {**options, "stride": tuple(
        step * size if taps * size < edge or framed else 1 for step, size, taps, edge
        in zip(stride, spread, weights.shape[2:], part.shape[1:]))}


def _spread(weights, spread):
    """A kernel in which every tap is repeated over a window."""
    if spread == (1, 1):
        return weights
    height, width = spread
    planes = weights.planes.repeat(height, axis=3).repeat(width, axis=4)
    scales = weights.scales
    if weights.grouping == "row":
        scales = scales.repeat(height, axis=2)
    elif weights.grouping == "pixel":
        taps = scales.reshape(*scales.shape[:2], *weights.planes.shape[3:])
        scales = taps.repeat(height, axis=2).repeat(width, axis=3).reshape(*scales.shape[:2], -1)
    return BitPlanes(planes, scales, grouping=weights.grouping)


def sliced(weights, start, stop):
    """The planes of some inputs."""
    return BitPlanes(weights.planes[:, :, start:stop], weights.scales, grouping=weights.grouping)
