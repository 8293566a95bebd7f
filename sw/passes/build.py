"""From a quantized graph and tensors to a network that can be trained."""

from ..graph.errors import FrontendError
from ..graph.model import GraphModel, build_modules
from ..ops.max_pool import CodeOrder
from ..ops.registry import OPERATORS
from ..ops.support import check_layer
from ..quantizers import ActivationQuantizer
from ..quantizers.pixels import NormedPixels, PixelQuantizer
from ..quantizers.sawb import SawbWeight
from .assign import scheme_of_node

__all__ = ["build"]


def build(graph, state, scheme):
    """The network of a quantized graph.

    Parameters
    ----------
    graph : sw.graph.graph.Graph
        With quantizers, see :func:`sw.passes.quantize.quantize_graph`.
    state : dict of str to tensor
        Parameters and buffers by name, of the layers and norms at least.
    scheme : SchemeConfig or SchemeMap

    Raises
    ------
    FrontendError
        If a tensor is none that its operator can take.
    ValueError
        If a weight cannot be quantized; the message names the layer.
    """
    modules = build_modules(graph, state)
    for node in graph.nodes:
        if node.op == "quantize":
            modules[node.module] = _quantizer(node, scheme)
        elif "order" in node.attributes:
            modules[node.module] = CodeOrder()
        elif "weights" in node.attributes:
            modules[node.module] = _layer(node, modules[node.module], scheme)
    network = GraphModel(graph, modules)
    for node in graph.nodes:
        for attribute in ("pads", "order"):
            for _channels, name in node.attributes.get(attribute, ()):
                if name and not isinstance(modules.get(name), ActivationQuantizer):
                    raise FrontendError(f"Node {node.name!r} {attribute} must name quantizers of "
                                        f"the graph, not {name!r}")
    return network


def _quantizer(node, scheme):
    if node["codes"] == "pixels":
        return PixelQuantizer(node["bits"], node["step"])
    if node["codes"] == "normed":
        normed = NormedPixels(node["bits"])
        normed.post_training = scheme.post_training
        return normed
    scheme = scheme_of_node(scheme, node)
    if node["codes"] == "signed":
        return scheme.signed_quantizer()
    if node["codes"] != "scheme":
        raise FrontendError(f"Node {node.name!r} codes must be pixels, normed, signed or scheme, "
                            f"not {node['codes']!r}")
    return scheme.activation_quantizer()


def _layer(node, layer, scheme):
    if node["weights"] not in ("edge", "inner"):
        raise FrontendError(f"Node {node.name!r} weights must be edge or inner, not "
                            f"{node['weights']!r}")
    scheme = scheme_of_node(scheme, node)
    try:
        check_layer(layer)
        weight = layer.weight.detach()
        weight = weight.unsqueeze(2) if weight.dim() == 3 else weight
        edge = node["weights"] == "edge" and scheme.edge_bits is not None
        weights = SawbWeight(scheme.edge_bits) if edge else scheme.weight_quantizer(weight)
        return OPERATORS[node.op].quantized(node, layer, weights)
    except ValueError as error:
        raise ValueError(f"Layer {node.name!r} cannot be quantized: {error}") from None
