"""Front end: from a torch model, through torch.fx, to the intermediate representation."""

import numpy as np

from ..graph.network import CodeFormat, MatrixLayer, Network, Requantize
from ..graph.trace import FrontendError
from .check import first_map, geometry, is_linear
from .snap import snap
from .staircase import StaircaseError, accumulator_function, search

__all__ = ["FrontendError", "lower"]


def lower(model, in_shape, *, name="network", info=None, scale_bits=16, acc_bits=32):
    """Lowers a quantized or snapped model to a :class:`sw.graph.network.Network`.

    Parameters
    ----------
    model : torch.nn.Module
        A :class:`sw.passes.snap.SnappedModel`, or a quantized model, which is snapped first.
    in_shape : tuple of int
        ``(channels, height, width)`` of one image, or ``(inputs,)`` of one vector.
    name : str
        The network's name.
    info : dict, optional
        Plain data to keep with it.
    scale_bits, acc_bits : int
        Of the machine; used if the model is not snapped yet.

    Raises
    ------
    FrontendError
        If the model holds something that the machine cannot run: the message names it.
    """
    model = snap(model, scale_bits, acc_bits)
    shape = first_map(model.stages[0], in_shape)
    first = model.stages[0].layer
    if first.encoder is None:
        raise FrontendError(f"Layer {model.stages[0].name!r} must have an input quantizer, as the "
                            "first layer of a network")
    layers, in_format = [], _format(first.codebook, first.pad_code)
    for position, stage in enumerate(model.stages):
        if position and stage.layer.encoder is not None:
            raise FrontendError(f"Layer {stage.name!r} must not have an input quantizer of its "
                                f"own: it reads layer {stage.source!r}")
        layers.append(_matrix_layer(stage, shape))
        shape = layers[-1].out_shape
    return Network(name, tuple(layers), layers[0].in_shape, in_format,
                   float(first.encoder.step), dict(info or {}))


def _format(codebook, pad_code):
    return CodeFormat(np.ascontiguousarray(codebook.planes.T), int(pad_code))


def _matrix_layer(stage, shape):
    layer, bits = stage.layer, stage.layer.weights.planes
    form = geometry(stage, shape, weight_planes=len(bits), activation_planes=layer.codebook.count)
    grouping = "layer" if is_linear(layer) else layer.weights.grouping
    outputs = len(layer.biases)
    sign = _sign(stage, outputs)
    return MatrixLayer(
        name=stage.name, source=stage.source,
        weights=np.ascontiguousarray(bits.reshape(len(bits), outputs, shape[0], *form.kernel)),
        scales=layer.scales * sign[:, None, None, None], biases=layer.biases * sign,
        frac_bits=layer.frac_bits, grouping=grouping, stride=form.stride, padding=form.padding,
        in_shape=shape, out_shape=form.out_shape,
        input_format=_format(layer.codebook, layer.pad_code),
        requantize=_requantize(stage, sign), sign=sign.astype(np.int8))


def _sign(stage, outputs):
    sign = np.ones(outputs, dtype=np.int64)
    for module in stage.tail:
        sign *= np.where(module.gain.numpy() < 0, -1, 1)
    return sign


def _requantize(stage, sign):
    if stage.quantizer is None:
        return None
    layer, quantizer = stage.layer, stage.quantizer.quantizer
    codebook = quantizer.codebook()
    low = np.where(sign < 0, -layer.high, layer.low)
    high = np.where(sign < 0, -layer.low, layer.high)
    function = accumulator_function(stage.tail, stage.quantizer, layer.frac_bits, sign)
    try:
        thresholds = search(function, low, high, 2 ** codebook.count)
    except StaircaseError as error:
        raise FrontendError(f"Layer {stage.name!r} cannot be re-quantized: {error}") from None
    return Requantize(thresholds, _format(codebook, quantizer.pad_code))
