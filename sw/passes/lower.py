"""Front end: from a torch model, through torch.fx, to the intermediate representation."""

import math

import numpy as np

from xnorloom.hw.spec.descriptor import MAX_KERNEL, MAX_MAP, MAX_PLANES, MAX_STRIDE

from ..graph.network import CodeFormat, MatrixLayer, Network, Requantize
from ..graph.trace import FrontendError
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
    in_shape = tuple(int(each) for each in in_shape)
    if len(in_shape) not in (1, 3) or min(in_shape, default=0) < 1:
        raise FrontendError("Input shape must be (channels, height, width) or (inputs,), not "
                            f"{in_shape!r}")
    shape = in_shape if len(in_shape) == 3 else (*in_shape, 1, 1)
    if model.stages[0].flattened:
        shape = (math.prod(shape), 1, 1)
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
    layer = stage.layer
    bits, stride = layer.weights.planes, layer.stride
    grouping = layer.weights.grouping
    if layer.linear:
        bits, stride = _as_convolution(stage, bits, shape), shape[1:]
        grouping = "layer"
    elif stage.flattened:
        raise FrontendError(f"Layer {stage.name!r} must read a map, not a flattened one")
    _check_limits(stage, bits, stride, shape)
    (outputs, _, *kernel), padding = bits.shape[1:], layer.padding
    spatial = tuple((size + 2 * pad - taps) // step + 1 for size, pad, taps, step
                    in zip(shape[1:], padding, kernel, stride, strict=True))
    if min(spatial) < 1:
        raise FrontendError(f"Layer {stage.name!r} must have a kernel within its padded map, not "
                            f"{tuple(kernel)!r} over {shape[1:]!r}")
    sign = _sign(stage, outputs)
    return MatrixLayer(
        name=stage.name, source=stage.source, weights=bits,
        scales=layer.scales * sign[:, None, None, None], biases=layer.biases * sign,
        frac_bits=layer.frac_bits, grouping=grouping, stride=tuple(stride), padding=padding,
        in_shape=shape, out_shape=(outputs, *spatial),
        input_format=_format(layer.codebook, layer.pad_code),
        requantize=_requantize(stage, sign), sign=sign.astype(np.int8))


def _as_convolution(stage, bits, shape):
    """Linear weights ``(k, outputs, inputs, 1, 1)`` as a convolution's over a map of ``shape``."""
    channels, height, width = shape
    if bits.shape[2] != channels * height * width:
        raise FrontendError(f"Layer {stage.name!r} must have {channels * height * width} inputs "
                            f"for a map of {shape!r}, not {bits.shape[2]}")
    if (height, width) != (1, 1) and not stage.flattened:
        raise FrontendError(f"Layer {stage.name!r} must read a flattened map, not one of {shape!r}")
    if max(height, width) > MAX_KERNEL:
        raise FrontendError(f"Layer {stage.name!r} must read a map of at most {MAX_KERNEL} x "
                            f"{MAX_KERNEL}, not {height} x {width}; feed a network of linear "
                            "layers vectors")
    return np.ascontiguousarray(bits.reshape(*bits.shape[:2], channels, height, width))


def _check_limits(stage, bits, stride, shape):
    planes, _outputs, inputs, *kernel = bits.shape
    name = stage.name
    if inputs != shape[0]:
        raise FrontendError(f"Layer {name!r} must have {shape[0]} input channels, not {inputs}")
    limits = (("kernel", max(kernel), MAX_KERNEL), ("stride", max(stride), MAX_STRIDE),
              ("map", max(shape[1:]), MAX_MAP), ("weight planes", planes, MAX_PLANES),
              ("activation planes", stage.layer.codebook.count, MAX_PLANES))
    for what, value, limit in limits:
        if value > limit:
            raise FrontendError(f"Layer {name!r} {what} must be at most {limit}, not {value}")


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
