"""Whether the machine can run a network, asked before it is trained as well as before it is
compiled."""

import math
import operator
from collections.abc import Mapping, Set
from dataclasses import dataclass

from torch import nn

from ..bitplanes import BitPlanes
from ..graph.trace import FrontendError, stages
from ..ops.limits import MAX_LINEAR_MAP, broken_code_limit, broken_limit, out_map
from ..ops.support import check_layer, check_norm
from ..quantizers import ActivationQuantizer

__all__ = ["Geometry", "check_code", "check_network", "check_values", "first_map", "geometry",
           "is_linear"]


_OTHER_NORM = {True: nn.BatchNorm2d, False: nn.BatchNorm1d}
"""Batch norms that torch refuses behind a linear layer, and behind a convolution."""


@dataclass(frozen=True)
class Geometry:
    """One stage as a convolution: a linear layer over a map has the map's size as kernel and
    stride.

    Parameters
    ----------
    kernel, stride, padding : tuple of int
        Vertical, horizontal.
    in_shape, out_shape : tuple of int
        Channels, height, width.
    """

    kernel: tuple
    stride: tuple
    padding: tuple
    in_shape: tuple
    out_shape: tuple


def check_network(model, in_shape=None):
    """Refuses what the machine cannot run, by name.

    Parameters
    ----------
    model : torch.nn.Module
        A float, quantized or snapped model.
    in_shape : tuple of int, optional
        ``(channels, height, width)`` of one image, or ``(inputs,)`` of one vector. Without it
        whatever depends on the size of a map is not looked at.

    Raises
    ------
    FrontendError
        If a node, a number or a size is beyond the format, whatever the machine.
    """
    found = stages(model)
    check_values(model, found)
    shape = None if in_shape is None else first_map(found[0], in_shape)
    for stage in found:
        if shape is not None:
            shape = geometry(stage, shape).out_shape
        if isinstance(stage.quantizer, ActivationQuantizer):
            check_code(stage.quantizer_name, stage.quantizer)


def check_code(name, quantizer):
    """Refuses an activation quantizer with codes that no machine stores.

    Raises
    ------
    FrontendError
        By the activation's name.
    """
    broken = broken_code_limit(quantizer.bits)
    if broken:
        raise FrontendError(f"Activation {name!r} {broken}")


def check_values(model, found, action="quantized"):
    """Refuses layers and batch norms whose numbers or options cannot be taken over.

    Parameters
    ----------
    model : torch.nn.Module
        A float or quantized model.
    found : list of sw.graph.trace.Stage
        Its stages.
    action : str
        What is to be done with them, for messages.

    Raises
    ------
    FrontendError
        By the module's name.
    """
    names = {id(module): name for name, module in model.named_modules()}
    for stage in found:
        outputs = _size(stage.layer)[0]
        for module, check in ((stage.layer, check_layer), *((norm, check_norm)
                                                            for norm in stage.tail)):
            if not isinstance(module, (nn.Conv2d, nn.Linear, nn.BatchNorm1d, nn.BatchNorm2d)):
                continue
            name = names[id(module)]
            try:
                check(module)
            except ValueError as error:
                raise FrontendError(f"Layer {name!r} cannot be {action}: {error}") from None
            if isinstance(module, _OTHER_NORM[is_linear(stage.layer)]):
                raise FrontendError(f"Batch norm {name!r} must not be a {type(module).__name__} "
                                    f"behind layer {stage.name!r} "
                                    f"({type(stage.layer).__name__})")
            if module is not stage.layer and module.num_features != outputs:
                raise FrontendError(f"Batch norm {name!r} must have the {outputs} channels of "
                                    f"layer {stage.name!r}, not {module.num_features}")


def first_map(stage, in_shape):
    """Channels, height and width of the map that the first stage reads.

    Raises
    ------
    FrontendError
        If the input shape is not one.
    """
    try:
        if isinstance(in_shape, (Mapping, Set)):
            raise TypeError
        shape = tuple(operator.index(size) for size in in_shape)
        wrong = len(shape) not in (1, 3) or min(shape) < 1 or any(
            isinstance(size, bool) for size in in_shape)
    except TypeError:
        wrong = True
    if wrong:
        raise FrontendError("Input shape must be (channels, height, width) or (inputs,) of "
                            f"positive integers, not {in_shape!r}")
    shape = shape if len(shape) == 3 else (*shape, 1, 1)
    return (math.prod(shape), 1, 1) if stage.flattened else shape


def is_linear(layer):
    """Whether a float, quantized or snapped layer is a linear one."""
    return isinstance(layer, nn.Linear) or getattr(layer, "linear", False)


def _size(layer):
    """Outputs, inputs and kernel of a float, quantized or snapped layer."""
    planes = getattr(layer, "weights", None)
    if isinstance(planes, BitPlanes):
        outputs, inputs, *kernel = planes.shape
        return outputs, inputs, tuple(kernel)
    if isinstance(layer, nn.Linear):
        return layer.out_features, layer.in_features, (1, 1)
    return layer.out_channels, layer.in_channels, layer.kernel_size


def geometry(stage, shape, *, weight_planes=1, activation_planes=1):
    """One stage over its input map.

    Parameters
    ----------
    stage : sw.graph.trace.Stage
    shape : tuple of int
        Channels, height and width of the map it reads.
    weight_planes, activation_planes : int
        As far as known.

    Returns
    -------
    Geometry

    Raises
    ------
    FrontendError
        If the stage does not fit its input, or a limit of the format.
    """
    layer, name = stage.layer, stage.name
    outputs, inputs, kernel = _size(layer)
    if is_linear(layer):
        _check_linear(stage, inputs, shape)
        kernel, stride, padding = shape[1:], shape[1:], (0, 0)
    elif stage.flattened:
        raise FrontendError(f"Layer {name!r} must read a map, not a flattened one")
    else:
        stride, padding = tuple(layer.stride), tuple(layer.padding)
        if inputs != shape[0]:
            raise FrontendError(f"Layer {name!r} must have {shape[0]} input channels, not {inputs}")
    broken = broken_limit(kernel=kernel, stride=stride, padding=padding, in_map=shape[1:],
                          weight_planes=weight_planes, activation_planes=activation_planes)
    if broken:
        raise FrontendError(f"Layer {name!r} {broken}")
    return Geometry(kernel, stride, padding, shape,
                    (outputs, *out_map(shape[1:], kernel, stride, padding)))


def _check_linear(stage, inputs, shape):
    channels, height, width = shape
    if inputs != channels * height * width:
        raise FrontendError(f"Layer {stage.name!r} must have {channels * height * width} inputs "
                            f"for a map of {shape!r}, not {inputs}")
    if (height, width) != (1, 1) and not stage.flattened:
        raise FrontendError(f"Layer {stage.name!r} must read a flattened map, not one of {shape!r}")
    if max(height, width) > MAX_LINEAR_MAP:
        raise FrontendError(f"Layer {stage.name!r} must read a map of at most {MAX_LINEAR_MAP} x "
                            f"{MAX_LINEAR_MAP}, not {height} x {width}; feed a network of linear "
                            "layers vectors")
