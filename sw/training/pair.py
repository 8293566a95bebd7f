"""A quantized network and the float one it was copied from, followed on the same images."""

import functools

import torch
from torch import nn

__all__ = ["MIN_IMAGES", "CalibrationError", "NetworkPair"]

MIN_IMAGES = 32
"""Fewer images say too little of what a layer reads."""


class CalibrationError(ValueError):
    """Images, a float network or options with which a model cannot be calibrated."""


class _Reached(Exception):
    """Ends a forward pass at the module of interest, and carries what it read."""


class NetworkPair:
    """Both networks, and the images that are sent through them.

    Parameters
    ----------
    model, reference : torch.nn.Module
        The quantized network and the float one, with modules of the same names.
    batches : iterable or callable
        See :func:`sw.training.calibrate.calibrate_`.
    """

    def __init__(self, model, reference, batches):
        self.model, self.reference, self.batches = model, reference, batches
        self.shape: tuple | None = None

    def pair(self, name):
        """The module of a name in both."""
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
