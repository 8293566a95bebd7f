"""Calibration: quantizes a trained network from images alone, layer by layer.

The float network (the analog path) and the quantized one are both followed. In forward order, an
activation quantizer gets its scales from what it reads, and a layer its weight from what both
networks feed it; everything before is quantized by then, so each step makes up for the errors of
those before it. Batch norms keep the statistics of the float network.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from ..graph.model import GraphModel
from ..ops.layers import padded
from ..ops.registry import OPERATORS
from ..quantizers.gram import GramSums
from .pair import MIN_IMAGES, CalibrationError, NetworkPair

__all__ = ["HOLD", "MIN_IMAGES", "CalibrationError", "calibrate_", "is_post_training"]

HOLD = 1 << 32
"""Bytes of values that calibration holds unless told otherwise."""


def is_post_training(model):
    """Whether a model has quantizers that are calibrated instead of trained."""
    return any(getattr(module, "post_training", False) for module in model.modules())


@torch.no_grad()
def calibrate_(model, reference, batches, *, patch_share=1.0, seed=0, hold=HOLD,
               progress: Callable[[int, int, float], None] | None = None):
    """Calibrates the post-training quantizers of a model, in place; others stay as they are.

    Every node of both networks runs once for an image, whose values wait for the layers behind
    them to be solved. Where these would take more memory than ``hold``, it does not grow with the
    number of images: they are streamed anew for every layer. The result is the same. Where
    its quantizer asks for it, a layer's bias is corrected so that its outputs keep their mean; one
    without bias moves the running mean of the batch norm behind it instead, and one without either
    stays as it is.

    Parameters
    ----------
    model : sw.graph.model.GraphModel
        What ``quantize_`` returned; left in evaluation mode.
    reference : torch.nn.Module
        The float network it was copied from, with modules of the same names; left in evaluation
        mode. Its weights are what is quantized, so a second calibration starts afresh.
    batches : iterable or callable
        Float tensors of images, samples first: something that can be iterated again and again, or a
        function that gives a fresh iterator.
    patch_share : float
        Share of a convolution's output pixels, drawn for every image, whose patches are looked at.
    seed : int
        Of that draw.
    hold : int
        Bytes of values that may wait; 0: none.
    progress : callable, optional
        Called after every layer with the layers done, the layers there are, and the relative
        squared error of the last.

    Returns
    -------
    dict of str to float
        By layer: squared error of its outputs on these images, before their mean is corrected,
        relative to their square.

    Raises
    ------
    CalibrationError
        If the images are fewer than :data:`MIN_IMAGES`, of the wrong shape or not finite, if the
        reference does not fit, or there is nothing to calibrate.
    """
    if not 0 < patch_share <= 1:
        raise CalibrationError("Calibration patch share must be above 0 and at most 1, "
                               f"not {patch_share!r}")
    if not is_post_training(model):
        raise CalibrationError("Model must have quantizers that are calibrated after training, "
                               "and has none")
    if not isinstance(model, GraphModel):
        raise CalibrationError("Model must be what quantize_ returned, not "
                               f"{type(model).__name__}")
    layers = {node.name: _norm_behind(model, node) for node in model.graph.nodes
              if _is_solved(model.module(node))}
    networks = NetworkPair(model.eval(), reference.eval(), batches, hold)
    networks.check({model.graph[name].module: norm for name, norm in layers.items()})
    errors: dict[str, float] = {}
    for node in model.graph.nodes:
        if node.name in layers:
            errors[node.name] = _solve(networks, node, layers[node.name], patch_share, seed)
            if progress is not None:
                progress(len(errors), len(layers), errors[node.name])
        elif getattr(model.module(node), "post_training", False):
            name = node.name
            model.module(node).calibrate(lambda name=name: networks.quantized_inputs(name))
    return errors


def _is_solved(module):
    quantizer = getattr(module, "weight_quantizer", None)
    return quantizer is not None and quantizer.post_training


def _norm_behind(model, node):
    """Module of the batch norm that alone reads a layer's output, or None."""
    while True:
        readers = model.graph.readers(node.name)
        if len(readers) != 1 or model.graph.output == node.name:
            return None
        (node,) = readers
        if OPERATORS[node.op].kind != "passing":
            return node.module if node.op == "batch_norm" else None


def _solve(networks, node, norm, patch_share, seed):
    """Gives a layer its quantized weight and corrected mean; returns the relative squared error."""
    layer, twin = networks.pair(node.module)
    groups = node.attributes.get("groups", 1)
    weight = twin.weight.flatten(1).double()
    sums, energy = GramSums(weight.shape[1], groups), 0.0
    generator = torch.Generator().manual_seed(seed)
    for analog, quantized in networks.inputs(node.name):
        analog, quantized = _samples(node, layer, analog, quantized, networks.model.sources(node),
                                     patch_share, generator)
        sums.add(analog, quantized)
        rows = analog.double().unflatten(1, (groups, -1)).transpose(0, 1)
        energy += float((rows @ weight.unflatten(0, (groups, -1)).mT).square().sum())
    try:
        solved = layer.weight_quantizer.solve(twin.weight, sums)
    except ValueError as error:
        raise CalibrationError(f"Layer {node.name!r} cannot be calibrated: {error}") from None
    layer.weight.copy_(solved)
    solved = solved.flatten(1)
    if layer.weight_quantizer.bias_correction:
        lost = sums.mean_error(weight, solved)
        if layer.bias is not None:
            layer.bias.copy_(twin.bias + lost)
        elif norm is not None:
            mine, theirs = networks.pair(norm)
            mine.running_mean.copy_(theirs.running_mean - lost)
    return sums.squared_error(weight, solved, energy) / (energy or 1.0)


def _samples(node, layer, analog, quantized, sources, patch_share, generator):
    """What one output value sums: rows of a linear layer's input, patches of a convolution's."""
    if isinstance(layer, nn.Linear):
        return analog, quantized
    analog = padded(analog, layer.edges, [(analog.shape[1], 0.0)])
    pair = tuple(_patches(node, each) for each in (analog, layer.frame(quantized, sources)))
    if patch_share < 1:
        count, pixels, _ = pair[0].shape
        drawn = torch.rand(count, pixels, generator=generator)
        drawn = drawn.topk(math.ceil(patch_share * pixels), dim=1).indices
        pair = tuple(each.take_along_dim(drawn.unsqueeze(2), dim=1) for each in pair)
    return tuple(each.flatten(0, 1) for each in pair)


def _patches(node, x):
    """Rows of a padded input, channels outermost: shape ``(n, pixels, inputs)``."""
    if x.dim() == 3:
        x = x.unsqueeze(2)
    kernel, stride, dilation = ((1,) * (2 - len(node[key])) + tuple(node[key])
                                for key in ("kernel", "stride", "dilation"))
    return F.unfold(x, kernel, dilation=dilation, stride=stride).mT
