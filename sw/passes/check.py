"""Whether the machine can run a network, asked before it is trained as well as before it is
compiled."""

import copy

import torch

from ..graph.errors import FrontendError
from ..graph.model import GraphModel
from ..ops.function import Applied
from ..ops.limits import (
    MAX_CODE_BITS,
    broken_code_limit,
    broken_limit,
    broken_pool_limit,
    broken_terms_limit,
)
from ..quantizers import ActivationQuantizer
from .fuse import fuse
from .rescale import line
from .snap import SnappedLayer, with_activation
from .staircase import accumulator_function

__all__ = ["check_network"]


def check_network(network):
    """Refuses what no machine can run, by name.

    Parameters
    ----------
    network : sw.graph.model.GraphModel
        A quantized network, trained or not.

    Raises
    ------
    FrontendError
        If a node, a number or a size is beyond the format, whatever the machine.
    SnapError
        If codes of more than 4 bits cannot be found by multiplication.
    """
    if isinstance(network, GraphModel):
        for name, module in network.named_modules():
            if isinstance(module, ActivationQuantizer):
                _demand("Activation", name, broken_code_limit(module.bits))
        network = _with_scales(network)
    for layer in fuse(network).layers:
        _demand("Layer", layer.name, broken_terms_limit(len(layer.sum.terms)))
        for term in layer.sum.terms:
            _demand("Layer", layer.name, broken_limit(
                kernel=term.weights.shape[2:], stride=term.stride, padding=term.padding,
                in_map=term.part.shape[1:], dilation=term.dilation,
                weight_planes=term.weights.count, activation_planes=term.part.codebook.count))
        if layer.quantizer is not None and layer.quantizer.bits > MAX_CODE_BITS:
            _demand("Activation", layer.activation, _curved(layer))
            snapped = with_activation(SnappedLayer(layer))
            line(snapped, accumulator_function(snapped), layer.quantizer.bits)
        if layer.pool is not None:
            _demand("Pool behind layer", layer.name, broken_pool_limit(*layer.pool[1:3]))


def _curved(layer):
    """End of a sentence about codes too wide for a staircase behind a function, or None."""
    name = next((each.name for each in layer.sum.tail if isinstance(each, Applied)
                 and (each.name != "relu" or layer.quantizer.signed)), None)
    return name and (f"must have at most {MAX_CODE_BITS} bits behind {name}, not "
                     f"{layer.quantizer.bits}: wider codes are found by multiplication")


def _demand(what, name, broken):
    if broken:
        raise FrontendError(f"{what} {name!r} {broken}")


def _with_scales(network):
    """A copy whose activations have scales, of noise: what there is to check does not depend on
    them."""
    twin = copy.deepcopy(network).train()
    kind = next((each.dtype for each in twin.parameters()), torch.float32)
    done = []
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            twin.values(torch.rand(4, *network.graph.in_shape, dtype=kind), keep=(),
                        replaced=lambda node, value: done.append(node) or value)
    except ValueError as error:
        name = network.graph.nodes[len(done)].name
        raise FrontendError(f"Layer {name!r} cannot be quantized: {error}") from None
    return twin.eval()
