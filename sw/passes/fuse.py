"""Fusing: a quantized network's graph as the machine's layers, each a sum of terms.

Every operator says itself what it makes of symbolic values (``Operator.lower``); here layers are
collected.
"""

import contextlib
import copy
import math
from dataclasses import dataclass, replace

import numpy as np
from torch import nn

from ..graph.errors import FrontendError
from ..graph.graph import INPUT
from ..graph.model import GraphModel
from ..head import STEPS, Head
from ..ops.batch_norm import Affine
from ..ops.function import Applied
from ..ops.grid import SnapError
from ..ops.operator import Refused, as_map
from ..ops.registry import OPERATORS, supported
from ..ops.values import Fused, Map, Part, Raw, Sum, identity, stored
from ..quantizers.pixels import PixelQuantizer
from ..quantizers.planes import unsigned_codebook

__all__ = ["Fuser", "Fusion", "fuse"]


@dataclass(frozen=True, eq=False)
class Fusion:
    """Layers of a network, not yet snapped.

    Parameters
    ----------
    layers : list of sw.ops.values.Fused
        In order of execution; the last one has no quantizer.
    input : sw.ops.values.Part
        The network's input.
    encoder : tuple
        Quantizer of the input, in float64; gain and shift of a batch norm before it, by channel, or
        None twice.
    head : Head
        What the host makes of the last layer's values, not counting constants behind a clamp.
    in_shape : tuple of int
        Of the graph's input.
    """

    layers: list
    input: Part
    encoder: tuple
    head: Head
    in_shape: tuple

    def text(self):
        """One line a layer and term, for people."""
        lines = []
        for layer in self.layers:
            outputs, height, width = layer.sum.shape
            ends = layer.activation or "result"
            pool = f", {layer.pool[0]} pool {layer.pool[1]}" if layer.pool else ""
            lines.append(f"{layer.name}: ({outputs}, {height}, {width}) -> {ends}{pool}")
            for term in layer.sum.terms:
                kernel = " x ".join(map(str, term.weights.shape[2:]))
                lines.append(
                    f"  {'relu, then ' if term.relu else ''}{kernel} over {term.part.source}, "
                    f"stride {term.stride}, padding {term.padding}, {term.blocks} blocks, "
                    f"{term.part.codebook.count} x {term.weights.count} planes")
        return "\n".join([*lines, ""])


def fuse(network):
    """Layers of a quantized network.

    Parameters
    ----------
    network : sw.graph.model.GraphModel
        Not changed.

    Returns
    -------
    Fusion

    Raises
    ------
    FrontendError
        If the network is not quantized, or an operator has no meaning to the machine where it
        stands.
    SnapError
        If a weight or an activation has no planes yet, or cannot have them.
    """
    if not isinstance(network, nn.Module):
        raise FrontendError(f"Model must be a torch.nn.Module, not {network!r}")
    if not isinstance(network, GraphModel) or not any(
            node.op == "quantize" for node in network.graph.nodes):
        raise FrontendError(f"Model {type(network).__name__} must be quantized: pass it through "
                            "quantize_ first, and use what that returns")
    network = copy.deepcopy(network).eval().double()
    graph = network.graph
    fuser = Fuser(graph)
    values = {INPUT: Raw(as_map(graph.in_shape))}
    for node in graph.nodes:
        with _named(node):
            values[node.name] = OPERATORS[node.op].lower(
                node, network.module(node), fuser, *(values[name] for name in node.inputs))
    with _named(graph[graph.output]):
        return fuser.finish(values[graph.output])


@contextlib.contextmanager
def _named(node):
    """Puts the name of a node before what is refused."""
    try:
        yield
    except Refused as error:
        raise FrontendError(f"Node {node.name!r} ({node.op}) {error}; "
                            f"supported: {supported()}") from None
    except FrontendError:
        raise
    except ValueError as error:
        what = "Activation" if node.op == "quantize" else "Layer"
        raise SnapError(f"{what} {node.name!r} cannot be snapped: {error}") from None


class Fuser:
    """Collects layers; operators call it.

    Parameters
    ----------
    graph : sw.graph.graph.Graph
    """

    def __init__(self, graph):
        self.graph, self.uses = graph, graph.uses()
        self.layers = []
        self.input = None
        self.encoder = None

    def quantized(self, node, module, value):
        """What becomes of a value that is quantized: a map of codes, and with it a layer."""
        if isinstance(value, Raw):
            self.encoder = module, value.gain, value.shift
            self.input = Part(INPUT, value.shape, stored(module.codebook()), module.pad_code)
            return Map((self.input,))
        found = identity(node.name, value)
        last = next((each.name for each in found.tail if isinstance(each, Applied)
                     and OPERATORS[each.name].kind == "last"), None)
        if last is not None:
            raise Refused(f"must not read {last}, which only the host computes, at the network's "
                          "end")
        return Map((self._layer(found, module, node.name),))

    def _layer(self, found, quantizer, activation, name=None):
        layer = Fused(name or found.name, found, quantizer, activation)
        if any(each.name == layer.name for each in self.layers) or layer.name == INPUT:
            raise Refused(f"must end a layer of another name than {layer.name!r}")
        self.layers.append(layer)
        return Part(layer.name, found.shape, stored(quantizer.codebook()), quantizer.pad_code)

    def pooled(self, node, value, kind, window, stride, padding, books=None):
        """A map whose codes are pooled as they leave their layer, or by a layer of their own.

        Parameters
        ----------
        node : sw.graph.graph.Node
        value : sw.ops.values.Map
        kind, window, stride, padding
            Of :class:`sw.graph.network.Pool`.
        books : list of BitPlanes, optional
            By part: the code book of the result; None: as it was.
        """
        parts = []
        for index, part in enumerate(value.parts):
            if part.spread != (1, 1):
                raise Refused("must not read an average of codes of uneven levels")
            alone = self._alone(node.inputs[0])
            place = next((place for place, layer in enumerate(self.layers)
                          if layer.name == part.source and layer.pool is None), None)
            if place is None or not alone:
                name = node.name if not index else f"{node.name}.{index}"
                part, place = self._copied(name, part), len(self.layers) - 1
            self.layers[place] = replace(self.layers[place],
                                         pool=(kind, window, stride, padding))
            size = [(edge + before + behind - taps) // step + 1 for edge, taps, step, before, behind
                    in zip(part.shape[1:], window, stride, padding[::2], padding[1::2])]
            part = replace(part, shape=(part.shape[0], *size))
            if books is not None:
                zero = float(books[index].reconstruct()[0]) == 0
                part = replace(part, codebook=books[index], pad_code=0 if zero else None)
            parts.append(part)
        return Map(tuple(parts), value.flattened)

    def _alone(self, name):
        """Whether nothing else reads what a pool reads."""
        while name != INPUT:
            if self.uses[name] > 1:
                return False
            node = self.graph[name]
            if node.op == "quantize":
                return True
            if len(node.inputs) > 1:
                return all(map(self._alone, node.inputs))
            (name,) = node.inputs
        return False

    def _copied(self, name, part):
        """The same codes as the result of a layer of their own."""
        bits = part.codebook.count
        codes = PixelQuantizer(bits, 1.0)
        counted = replace(part, codebook=stored(unsigned_codebook(bits, 1.0)))
        own = self._layer(identity(name, Map((counted,))), codes, "", name)
        return replace(own, codebook=part.codebook, pad_code=part.pad_code)

    def flattened(self, value):
        """A map read as a vector; the host flattens the input where that is all that reads it."""
        quantizer = next(node.name for node in self.graph.nodes if node.op == "quantize")
        plain = self.encoder is not None and self.encoder[1] is None
        if value.parts == (self.input,) and plain and self.uses[quantizer] == 1:
            self.input = replace(self.input, shape=(math.prod(self.input.shape), 1, 1))
            return Map((self.input,))
        return Map(value.parts, flattened=True)

    def finish(self, value):
        """The layers, when the network's result is known."""
        last: Sum = identity("result", value)
        if any(layer.name == last.name for layer in self.layers):
            raise FrontendError(f"Node {last.name!r} must have another name than a layer before it")
        self.layers.append(Fused(last.name, last, None))
        head = Head(tuple(map(_step, last.tail)), self.graph.shape(self.graph.output))
        return Fusion(self.layers, self.input, self.encoder, head, self.graph.in_shape)


def _step(module):
    """What the host does at the network's end."""
    found = (("affine", {"gain": module.gain.numpy(), "shift": module.shift.numpy()})
             if isinstance(module, Affine) else module.step)
    if found is None:
        raise FrontendError(f"Model must not end in {module.name!r}, which the host does not "
                            f"compute; it computes {', '.join(STEPS)}")
    name, given = found
    for value in given.values():
        numbers = np.asarray(0 if value is None else value, dtype=np.float64)
        if not np.isfinite(numbers).all():
            raise FrontendError(f"Model must end in finite numbers, not in {name!r} of "
                                f"{numbers[~np.isfinite(numbers)][0]}")
    return name, {key: tuple(value.tolist()) if isinstance(value, np.ndarray) else value
                  for key, value in given.items()}
