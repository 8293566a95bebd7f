"""What is asked of a model's modules before anything is made of them."""

import torch
from torch import nn
from torch.nn.utils import parametrize

from ..quantizers.base import check_weight
from .operator import Refused

__all__ = ["check_input", "check_layer", "check_norm", "why_not"]

_NOT_MONOTONE = "it falls somewhere, and only functions that rise can be found by thresholds"
_FUNCTIONS = {
    **dict.fromkeys(("gelu", "silu", "hardswish", "mish"), _NOT_MONOTONE),
    **dict.fromkeys(("matmul", "mm", "bmm", "addmm", "einsum"),
                    "a weight must be that of a convolution or a linear layer"),
    **dict.fromkeys(("layer_norm", "group_norm", "instance_norm"),
                    "it depends on the image at hand; use a batch norm"),
    "max_pool2d_with_indices": "indices of a maximum are not kept",
}


def why_not(module, function):
    """Why a module or function is no operator; empty if there is no more to say than that."""
    return _FUNCTIONS.get(function.rstrip("_"), "")


def check_input(name):
    """A hook that refuses what a layer cannot read, in words of ours instead of torch's."""
    def check(module, inputs):
        if not inputs or not isinstance(inputs[0], torch.Tensor):
            return
        shape = tuple(inputs[0].shape)
        if isinstance(module, nn.Linear) and shape[-1] != module.in_features:
            wanted = f"{module.in_features} inputs, not a map or vector of {shape[1:]!r}"
        elif isinstance(module, (nn.Conv1d, nn.Conv2d)) and (
                len(shape) != module.weight.dim() or shape[1] != module.in_channels):
            wanted = f"a map of {module.in_channels} channels, not one of {shape[1:]!r}"
        elif (isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d))
              and shape[1] != module.num_features):
            wanted = f"the {module.num_features} channels of its input, not {shape[1]}"
        else:
            return
        raise Refused(f"Layer {name!r} must read {wanted}")

    return check


def check_layer(layer):
    """Checks that a float layer can be taken over by its quantized one, or a quantized one snapped.

    Raises
    ------
    ValueError
        If its parameters are not its own, or not finite; the sentence starts with what is wrong,
        not with the layer.
    """
    if parametrize.is_parametrized(layer):
        which = next(iter(layer.parametrizations))
        raise ValueError(f"{which} must be a parameter, not parametrized; call torch.nn.utils."
                         f"parametrize.remove_parametrizations(layer, {which!r}) first")
    for which in ("weight", "bias"):
        if which not in layer._parameters:
            remedy = (f"torch.nn.utils.prune.remove(layer, {which!r})"
                      if hasattr(layer, f"{which}_mask") else "the remover of what computes it")
            raise ValueError(f"{which} must be a parameter, not computed by a hook; call {remedy} "
                             "first")
    _check_tensor("weight", layer.weight)
    if layer._forward_hooks or layer._forward_pre_hooks:
        raise ValueError("layer must have no forward hooks, which its quantized one would not have")
    check_weight(layer.weight)
    if layer.bias is not None:
        _check_tensor("bias", layer.bias)
        _check_finite("bias", layer.bias)


def check_norm(norm):
    """Checks the numbers of a batch norm.

    Raises
    ------
    ValueError
        If one is not finite, or a variance is negative.
    """
    for which in ("weight", "bias", "running_mean", "running_var"):
        values = getattr(norm, which)
        if values is not None:
            _check_tensor(which, values)
            _check_finite(which, values)
    if norm.running_var is None:
        return
    wrong = norm.running_var[norm.running_var < 0]
    if len(wrong):
        raise ValueError(f"running_var must be at least 0, not {wrong[0].item()!r}")


def _check_tensor(which, values):
    if isinstance(values, nn.UninitializedParameter):
        raise ValueError(f"{which} must be initialized; run a first batch through the model")
    if values.device.type != "cpu":
        raise ValueError(f"{which} must be on the CPU, not on {str(values.device)!r}")
    if not values.dtype.is_floating_point:
        raise ValueError(f"{which} must be of floating point, not {values.dtype}")


def _check_finite(which, values):
    wrong = values.detach()[~torch.isfinite(values.detach())]
    if len(wrong):
        raise ValueError(f"{which} must be finite, not {wrong[0].item()!r}")
