"""Golden checks: what a pass makes is held against what it was given, on random inputs."""

import copy
import math

import numpy as np
import torch

from ..graph.evaluate import evaluate
from ..graph.model import GraphModel, build_modules
from ..ops.batch_norm import Affine

__all__ = ["GoldenError", "check_codes", "check_float", "check_fused"]


class GoldenError(AssertionError):
    """A pass that changed the meaning of a network: a fault of this program, not of the model."""


def _images(in_shape, high, count=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, *in_shape, generator=generator, dtype=torch.float64) * high


@torch.no_grad()
def check_float(name, before, after, state):
    """Holds two float graphs of the same tensors against each other.

    Parameters
    ----------
    name : str
        Of the pass.
    before, after : sw.graph.graph.Graph
    state : dict of str to tensor

    Raises
    ------
    GoldenError
        If their results differ by more than rounding.
    """
    images = _images(before.in_shape, 1.0)
    wanted, found = (GraphModel(graph, build_modules(graph, _doubled(state))).eval()(images)
                     for graph in (before, after))
    _demand(name, "result", wanted, found)


def _doubled(state):
    return {key: torch.nn.Parameter(value.detach().double(), requires_grad=False)
            if isinstance(value, torch.nn.Parameter) else value.detach().double()
            if value.is_floating_point() else value for key, value in state.items()}


@torch.no_grad()
def check_fused(network, snapped):
    """Holds the layers against the trained graph: every value that is quantized, given the codes
    before it, up to the precision of the machine's grid.

    Parameters
    ----------
    network : sw.graph.model.GraphModel
        Not changed.
    snapped : sw.passes.snap.SnappedModel

    Raises
    ------
    GoldenError
        If a value is off by more than the scales' precision allows.
    """
    network = copy.deepcopy(network).eval().double()
    images = _images(network.graph.in_shape, _brightest(snapped))
    maps, last = snapped.run(images)
    layers = {layer.fused.activation: layer for layer in snapped.layers if layer.fused.activation}

    def replaced(node, value):
        layer = layers.get(node.name)
        if layer is None:
            return value
        codes = layer.activation(layer(maps)).reshape(value.shape)
        return layer.fused.quantizer.decode(codes, torch.float64)

    values = network.values(images, replaced=replaced)
    for name, layer in layers.items():
        read = values[network.graph[name].inputs[0]]
        found = layer.mapped(layer(maps))
        _demand("snap", layer.name, read, found.reshape(read.shape), *_tolerance(layer))
    result = torch.from_numpy(snapped.fusion.head.apply(
        (last + snapped.layers[-1].after.reshape(-1, 1, 1)).numpy()))
    _demand("snap", "result", values[network.graph.output], result,
            *_tolerance(snapped.layers[-1]))


def _brightest(snapped):
    """Largest value of the input; behind a batch norm it is not known."""
    pixels = snapped.encoder
    return 1.0 if snapped.gain is not None else pixels.step * (2 ** pixels.bits - 1)


def _tolerance(layer):
    """How far values may be off, in parts of the largest one, and at all: every scale is rounded,
    whatever it multiplies."""
    integers = layer.integers
    largest = np.max([np.abs(each).max(axis=(1, 2, 3)) for each in integers.scales], axis=0) + 1
    mismatches = sum(math.prod(snapped.term.weights.shape[1:]) * math.prod(scales.shape[2:])
                     for snapped, scales in zip(layer.terms, integers.scales, strict=True))
    gains = [np.abs(each.gain.numpy()) for each in layer.tail if isinstance(each, Affine)]
    off = integers.errors * largest * mismatches + 1
    return 2.0 ** -6, float((off * layer.grid * _product(gains)).max())


@torch.no_grad()
def check_codes(snapped, network):
    """Holds the integer network against the snapped one: every code and accumulator, exactly.

    Parameters
    ----------
    snapped : sw.passes.snap.SnappedModel
    network : sw.graph.network.Network

    Raises
    ------
    GoldenError
        By the layer that differs.
    """
    images = _images(snapped.fusion.input.shape, _brightest(snapped))
    wanted = snapped.trace(images)
    found = evaluate(network, network.encode(images.numpy()))
    for name, values in wanted.items():
        wrong = int((values != found[name]).sum())
        if wrong:
            raise GoldenError(f"Pass 'lower' changed {wrong} of {values.size} results of layer "
                              f"{name!r}")


def _product(gains):
    return np.prod(gains, axis=0) if gains else 1.0


def _demand(name, where, wanted, found, relative=1e-9, absolute=1e-12):
    off, allowed = float((wanted - found).abs().max()), relative * float(wanted.abs().max())
    if not off <= allowed + absolute:
        raise GoldenError(f"Pass {name!r} changed a value of {where!r} by {off:.3g}, more than "
                          f"{allowed + absolute:.3g}")
