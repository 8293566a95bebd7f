"""Calibration: quantizes a trained network from images alone, layer by layer.

The float network (the analog path) and the quantized one are both followed. In forward order, an
activation quantizer gets its scales from what it reads, and a layer its weight from what both
networks feed it; everything before is quantized by then, so each step makes up for the errors of
those before it. Batch norms keep the statistics of the float network.
"""

import functools
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from ..graph.trace import is_passing, trace
from ..quantizers.gram import GramSums

__all__ = ["MIN_IMAGES", "CalibrationError", "calibrate_", "is_post_training"]

MIN_IMAGES = 32
"""Fewer images say too little of what a layer reads."""


class CalibrationError(ValueError):
    """Images, a float network or options with which a model cannot be calibrated."""


def is_post_training(model):
    """Whether a model has quantizers that are calibrated instead of trained."""
    return any(getattr(module, "post_training", False) for module in model.modules())


@torch.no_grad()
def calibrate_(model, reference, batches, *, patch_share=1.0, seed=0,
               progress: Callable[[int, int, float], None] | None = None):
    """Calibrates the post-training quantizers of a model, in place; others stay as they are.

    Memory does not grow with the number of images: they are streamed anew for every layer. Where
    its quantizer asks for it, a layer's bias is corrected so that its outputs keep their mean; one
    without bias moves the running mean of the batch norm behind it instead, and one without either
    stays as it is.

    Parameters
    ----------
    model : torch.nn.Module
        A model that passed through ``quantize_``; left in evaluation mode.
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
    nodes = [node for node in trace(model).nodes if node.op == "call_module"]
    layers = {node.target: _norm_behind(model, node) for node in nodes
              if _is_solved(model.get_submodule(node.target))}
    networks = _Networks(model.eval(), reference.eval(), batches)
    networks.check(layers)
    errors: dict[str, float] = {}
    for name in (node.target for node in nodes):
        module = model.get_submodule(name)
        if name in layers:
            errors[name] = _solve(networks, name, layers[name], patch_share, seed)
            if progress is not None:
                progress(len(errors), len(layers), errors[name])
        elif getattr(module, "post_training", False):
            module.calibrate(lambda name=name: networks.quantized_inputs(name))
    return errors


def _is_solved(module):
    quantizer = getattr(module, "weight_quantizer", None)
    return quantizer is not None and quantizer.post_training


def _norm_behind(model, node):
    """Name of the batch norm that alone reads a layer's output, or None."""
    users = list(node.users)
    while len(users) == 1 and is_passing(model, users[0]):
        users = list(users[0].users)
    if len(users) != 1 or users[0].op != "call_module":
        return None
    norm = model.get_submodule(users[0].target)
    found = isinstance(norm, (nn.BatchNorm1d, nn.BatchNorm2d)) and norm.track_running_stats
    return users[0].target if found else None


def _solve(networks, name, norm, patch_share, seed):
    """Gives a layer its quantized weight and corrected mean; returns the relative squared error."""
    layer, twin = networks.pair(name)
    weight = twin.weight.flatten(1).double()
    sums, energy = GramSums(weight.shape[1]), 0.0
    generator = torch.Generator().manual_seed(seed)
    for analog, quantized in networks.inputs(name):
        analog, quantized = _samples(layer, analog, quantized, patch_share, generator)
        sums.add(analog, quantized)
        energy += float((analog.double() @ weight.T).square().sum())
    try:
        solved = layer.weight_quantizer.solve(twin.weight, sums)
    except ValueError as error:
        raise CalibrationError(f"Layer {name!r} cannot be calibrated: {error}") from None
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


def _samples(layer, analog, quantized, patch_share, generator):
    """What one output value sums: rows of a linear layer's input, patches of a convolution's."""
    if isinstance(layer, nn.Linear):
        return analog, quantized
    pair = (_patches(layer, analog, 0.0), _patches(layer, quantized, layer.source.pad_value()))
    if patch_share < 1:
        count, pixels, _ = pair[0].shape
        drawn = torch.rand(count, pixels, generator=generator)
        drawn = drawn.topk(math.ceil(patch_share * pixels), dim=1).indices
        pair = tuple(each.take_along_dim(drawn.unsqueeze(2), dim=1) for each in pair)
    return tuple(each.flatten(0, 1) for each in pair)


def _patches(layer, x, pad_value):
    vertical, horizontal = layer.padding
    x = F.pad(x, (horizontal, horizontal, vertical, vertical), value=pad_value)
    return F.unfold(x, layer.kernel_size, stride=layer.stride).mT


class _Reached(Exception):
    """Ends a forward pass at the module of interest, and carries what it read."""


class _Networks:
    """Both networks, and the images that are sent through them."""

    def __init__(self, model, reference, batches):
        self.model, self.reference, self.batches = model, reference, batches
        self.shape: tuple | None = None

    def pair(self, name):
        return self.model.get_submodule(name), self.reference.get_submodule(name)

    def check(self, layers):
        """Raises CalibrationError unless the reference has layers and their norms, and the images
        fit it."""
        mine, theirs = self.model.state_dict(), self.reference.state_dict()
        if any(hasattr(module, "weight_quantizer") for module in self.reference.modules()):
            raise CalibrationError("Reference must be the float network, not a quantized one")
        needed = [f"{name}.weight" for name in layers]
        needed += [f"{norm}.running_mean" for norm in layers.values() if norm is not None]
        for key in needed:
            found = tuple(theirs[key].shape) if key in theirs else None
            if found != tuple(mine[key].shape):
                raise CalibrationError(f"Reference must have a tensor {key!r} of shape "
                                       f"{tuple(mine[key].shape)}, not {found}")
        hooks = [module.register_forward_pre_hook(functools.partial(_check_input, name))
                 for name, module in self.reference.named_modules()
                 if isinstance(module, (nn.Conv2d, nn.Linear))]
        try:
            self.reference(next(self.images()))
        finally:
            for hook in hooks:
                hook.remove()

    def images(self):
        """One pass over all images."""
        count = 0
        for images in self.batches() if callable(self.batches) else self.batches:
            if not isinstance(images, torch.Tensor) or not images.is_floating_point():
                kind = images.dtype if isinstance(images, torch.Tensor) else type(images).__name__
                raise CalibrationError(f"Calibration images must be float tensors, not {kind}")
            self.shape = self.shape or tuple(images.shape[1:])
            if tuple(images.shape[1:]) != self.shape:
                raise CalibrationError(f"Calibration images must all have shape {self.shape}, "
                                       f"not {tuple(images.shape[1:])}")
            if not torch.isfinite(images).all():
                wrong = images[~torch.isfinite(images)][0].item()
                raise CalibrationError(f"Calibration images must be finite, not {wrong!r}")
            count += len(images)
            yield images
        if count < MIN_IMAGES:
            raise CalibrationError(f"Calibration images must be at least {MIN_IMAGES} in every "
                                   f"pass over them, not {count}")

    def quantized_inputs(self, name):
        """What a module of the quantized network reads, batch by batch."""
        for images in self.images():
            yield _input_of(self.model, name, images)

    def inputs(self, name):
        """What a layer reads in the float and in the quantized network, batch by batch."""
        layer = self.model.get_submodule(name)
        for images in self.images():
            quantized = layer.quantized_input(_input_of(self.model, name, images))
            # What rounding the network's own input costs is no error of a layer before this one.
            first = layer.input_quantizer is not None
            yield quantized if first else _input_of(self.reference, name, images), quantized


def _check_input(name, layer, inputs):
    shape = tuple(inputs[0].shape)
    if isinstance(layer, nn.Conv2d):
        fits, wanted = len(shape) == 4, f"(n, {layer.in_channels}, height, width)"
        fits = fits and shape[1] == layer.in_channels
    else:
        fits, wanted = shape[1:] == (layer.in_features,), f"(n, {layer.in_features})"
    if not fits:
        raise CalibrationError(f"Layer {name!r} must read calibration data of shape {wanted}, "
                               f"not {shape}")


def _input_of(network, name, images):
    """What a module reads when a network is given images; the rest of it does not run."""
    def stop(_module, inputs):
        raise _Reached(inputs[0])

    hook = network.get_submodule(name).register_forward_pre_hook(stop)
    try:
        network(images)
    except _Reached as reached:
        values = reached.args[0]
    finally:
        hook.remove()
    if not torch.isfinite(values).all():
        raise CalibrationError(f"Module {name!r} must read finite values in calibration")
    return values
