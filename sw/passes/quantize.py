"""quantize_: turns a float torch model into a quantized one, in place."""

from typing import Any

from torch import nn

from ..graph.trace import SUPPORTED, FrontendError, describe, is_flatten, is_passing, trace
from ..ops.layers import QuantConv2d, QuantLinear
from ..quantizers import get_scheme
from ..quantizers.base import check_weight
from ..quantizers.pixels import PixelQuantizer
from ..quantizers.sawb import SawbWeight

__all__ = ["ACTIVATION_TYPES", "quantize_"]

ACTIVATION_TYPES = (nn.ReLU, nn.ReLU6, nn.Hardtanh)
"""Activations that a scheme's activation quantizer replaces."""

_LAYERS: dict[type, Any] = {nn.Conv2d: QuantConv2d, nn.Linear: QuantLinear}

_POOLS = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d)
"""A layer behind one of these still reads the quantized activation before it: a maximum of codes is
a code, an average is a sum that the layer's own sums can absorb."""


def quantize_(model, scheme, *, input_bits=8, input_step=1 / 255, filter_fn=None):
    """Replaces convolutions, linear layers and activations by a scheme's quantized ones, in place.

    The first layer gets a pixel quantizer in front of it; the weights of the network's first and
    last layer, left out or not, follow ``SchemeConfig.edge_bits``. Weights are taken over as they
    are; the model then wants :func:`sw.training.train.fit` (at least one batch in training mode,
    which sets activation scales).

    Parameters
    ----------
    model : torch.nn.Module
        A model that torch.fx can trace, with at least one layer inside it.
    scheme : str or SchemeConfig
        A registered scheme's name, or a configuration of your own.
    input_bits, input_step : int, float
        Bits of a pixel, and the value of one step of it.
    filter_fn : callable, optional
        ``filter_fn(module, name) -> bool``; modules for which it is false stay as they are.

    Returns
    -------
    torch.nn.Module
        The model itself.

    Raises
    ------
    FrontendError
        If a layer reads something that is not quantized, a module is used twice, or the model
        cannot be traced; the model is then unchanged.
    ValueError
        If the scheme is unknown, a weight is empty or not finite, or a layer has options the
        machine does not have.
    """
    scheme = get_scheme(scheme)
    chosen = filter_fn or (lambda module, name: True)
    layers, matrices, replaced, sources = [], {}, {}, {}
    for node in trace(model).nodes:
        if node.op != "call_module":
            continue
        name, module = node.target, model.get_submodule(node.target)
        if isinstance(module, tuple(_LAYERS)):
            layers.append(name)
        if not isinstance(module, (*_LAYERS, *ACTIVATION_TYPES)) or not chosen(module, name):
            continue
        if name in replaced or name in matrices:
            raise FrontendError(f"Module {describe(model, node)} is used twice; each use needs a "
                                "module of its own")
        if isinstance(module, ACTIVATION_TYPES):
            replaced[name] = scheme.activation_quantizer()
            continue
        matrices[name] = module
        source = sources[name] = _source(model, node)
        if source is not None and source not in replaced:
            raise FrontendError(_unquantized(model, node))
    for name, module in matrices.items():
        pixels = PixelQuantizer(input_bits, input_step) if sources[name] is None else None
        replaced[name] = _quantized_layer(name, module, scheme, name in (layers[0], layers[-1]),
                                          pixels)
    for name, module in replaced.items():
        parent, _, child = name.rpartition(".")
        module.train(model.training)
        setattr(model.get_submodule(parent), child, module)
    for name, source in sources.items():
        if source is not None:
            replaced[name].read_from(replaced[source])
    return model


def _quantized_layer(name, layer, scheme, edge, pixels):
    try:
        check_weight(layer.weight)
        weights = (SawbWeight(scheme.edge_bits) if edge and scheme.edge_bits is not None
                   else scheme.weight_quantizer(layer.weight.detach()))
        kind = next(kind for kind in _LAYERS if isinstance(layer, kind))
        return _LAYERS[kind].from_float(layer, weights, pixels)
    except ValueError as error:
        raise ValueError(f"Layer {name!r} cannot be quantized: {error}") from None


def _source(model, node):
    """Name of the module whose values a layer reads, or None for the network's input."""
    previous = node.args[0]
    while previous.op != "placeholder":
        pools = (previous.op == "call_module"
                 and isinstance(model.get_submodule(previous.target), _POOLS))
        if not (pools or is_flatten(model, previous) or is_passing(model, previous)):
            if (previous.op == "call_module"
                    and isinstance(model.get_submodule(previous.target), ACTIVATION_TYPES)):
                return previous.target
            raise FrontendError(_unquantized(model, node, previous))
        previous = previous.args[0]
    return None


def _unquantized(model, node, previous=None):
    read = f"reads {describe(model, previous)}" if previous is not None else "reads a filtered one"
    return (f"Layer {describe(model, node)} must read the input or a quantized activation "
            f"({', '.join(each.__name__ for each in ACTIVATION_TYPES)}), but {read}; "
            f"supported: {SUPPORTED}")
