"""quantize_: turns a float torch model into a quantized one, in place."""

import numbers

from torch import nn

from ..graph.trace import FrontendError, describe, is_flatten, is_passing, trace
from ..ops.support import ACTIVATIONS, LAYERS, NORMS, POOLS, SUPPORTED, check_layer, check_norm
from ..ops.support import role as role_of
from ..quantizers import get_scheme
from ..quantizers.pixels import PixelQuantizer
from ..quantizers.sawb import SawbWeight
from .check import check_code, check_network

__all__ = ["quantize_"]


def quantize_(model, scheme, *, input_bits=8, input_step=1 / 255, filter_fn=None, in_shape=None,
              torch_only=False):
    """Replaces convolutions, linear layers and activations by a scheme's quantized ones, in place.

    The first layer gets a pixel quantizer in front of it; the weights of the network's first and
    last layer, left out or not, follow ``SchemeConfig.edge_bits``. Weights are taken over as they
    are; the model then wants :func:`sw.training.train.fit` (at least one batch in training mode,
    which sets activation scales).

    A network that no machine can run is refused, before anything is spent on its training.

    Parameters
    ----------
    model : torch.nn.Module
        A float model that torch.fx can trace, with at least one layer inside it.
    scheme : str or SchemeConfig
        A registered scheme's name, or a configuration of your own.
    input_bits, input_step : int, float
        Bits of a pixel, and the value of one step of it.
    filter_fn : callable, optional
        ``filter_fn(module, name) -> bool``; modules for which it is false stay as they are. A
        layer or an activation left out is for torch only.
    in_shape : tuple of int, optional
        ``(channels, height, width)`` of one image, or ``(inputs,)`` of one vector: then the sizes
        of all maps are checked, too.
    torch_only : bool
        Quantizes for torch alone, not for a machine: poolings and branches between a layer and the
        activation it reads, and codes of more bits than a machine stores, are then let through.

    Returns
    -------
    torch.nn.Module
        The model itself.

    Raises
    ------
    FrontendError
        If no machine can run the model; with ``torch_only`` if a layer reads something that is
        not quantized, a module is used twice, or the model cannot be traced. The model is then
        unchanged.
    ValueError
        If the scheme is unknown, a weight is empty or not finite, or a layer has options the
        machine does not have.
    """
    scheme = get_scheme(scheme)
    if isinstance(input_step, bool) or not isinstance(input_step, numbers.Real):
        raise ValueError(f"Input step must be a number, not {input_step!r}")
    if filter_fn is not None and not callable(filter_fn):
        raise ValueError(f"Filter filter_fn must be a function, not {filter_fn!r}")
    if isinstance(model, nn.Module):
        _check_float(model)
    graph = trace(model)
    if not torch_only:
        check_network(model, in_shape)
    chosen = filter_fn or (lambda module, name: True)
    layers, matrices, replaced, sources = [], {}, {}, {}
    for node in graph.nodes:
        if node.op != "call_module":
            continue
        name, module = node.target, model.get_submodule(node.target)
        role = role_of(module)
        if role == "matrix":
            layers.append(name)
        if role not in ("matrix", "quantizer"):
            continue
        if not chosen(module, name):
            if not torch_only:
                raise FrontendError(f"Module {describe(model, node)} must not be left out by "
                                    "filter_fn unless torch_only is true: the machine runs "
                                    "quantized layers only")
            continue
        if node.kwargs:
            raise FrontendError(f"Module {describe(model, node)} must be given its input by "
                                f"position, not as {next(iter(node.kwargs))!r}")
        if name in replaced or name in matrices:
            raise FrontendError(f"Module {describe(model, node)} is used twice; each use needs a "
                                "module of its own")
        if role == "quantizer":
            replaced[name] = scheme.activation_quantizer()
            if not torch_only:
                check_code(name, replaced[name])
            continue
        matrices[name] = module
        source = sources[name] = _source(model, node)
        if source is not None and source not in replaced:
            raise FrontendError(_unquantized(model, node))
    if not layers:
        raise FrontendError(f"Model {type(model).__name__} must hold a convolution or linear "
                            f"layer, and has none; supported: {SUPPORTED}")
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


def _check_float(model):
    for name, module in model.named_modules():
        if hasattr(module, "graph_role"):
            raise FrontendError(f"Model must be a float one, but module {name!r} "
                                f"({type(module).__name__}) is quantized already")
        if isinstance(module, NORMS) and module.running_var is not None:
            try:
                check_norm(module)
            except ValueError as error:
                raise FrontendError(f"Layer {name!r} cannot be quantized: {error}") from None


def _quantized_layer(name, layer, scheme, edge, pixels):
    try:
        check_layer(layer)
        weights = (SawbWeight(scheme.edge_bits) if edge and scheme.edge_bits is not None
                   else scheme.weight_quantizer(layer.weight.detach()))
        kind = next(kind for kind in LAYERS if isinstance(layer, kind))
        return LAYERS[kind].from_float(layer, weights, pixels)
    except ValueError as error:
        raise ValueError(f"Layer {name!r} cannot be quantized: {error}") from None


def _source(model, node):
    """Name of the module whose values a layer reads, or None for the network's input."""
    previous = node.all_input_nodes[0]
    while previous.op != "placeholder":
        module = model.get_submodule(previous.target) if previous.op == "call_module" else None
        if not (isinstance(module, POOLS) or is_flatten(model, previous)
                or is_passing(model, previous)):
            if module is not None and role_of(module) == "quantizer":
                return previous.target
            raise FrontendError(_unquantized(model, node, previous))
        previous = previous.all_input_nodes[0]
    return None


def _unquantized(model, node, previous=None):
    read = f"reads {describe(model, previous)}" if previous is not None else "reads a filtered one"
    return (f"Layer {describe(model, node)} must read the input or a quantized activation "
            f"({', '.join(each.__name__ for each in ACTIVATIONS)}), but {read}; "
            f"supported: {SUPPORTED}")
