"""What a network may be made of: the table that ``quantize_``, training and the compiler ask.

The limits of one layer are in :mod:`sw.ops.limits`.
"""

from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from ..quantizers.base import check_weight
from .layers import QuantConv2d, QuantLinear, check_options

__all__ = ["ACTIVATIONS", "LAYERS", "NORMS", "POOLS", "SUPPORTED", "check_layer", "check_norm",
           "reason", "role"]

LAYERS: dict[type, Any] = {nn.Conv2d: QuantConv2d, nn.Linear: QuantLinear}
"""Layers with a weight, and what ``quantize_`` makes of them."""

ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.Hardtanh)
"""Activations that a scheme's activation quantizer replaces."""

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)

PASSING = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d)
"""Modules that do nothing once a network is trained."""

POOLS = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d)
"""Quantized for torch only: a maximum of codes is a code, an average is a sum that the sums of the
layer behind it could absorb, but the machine has neither."""

SUPPORTED = ("Conv2d, Linear, BatchNorm1d, BatchNorm2d, activations replaced by quantize_ "
             f"({', '.join(each.__name__ for each in ACTIVATIONS)}), Flatten, Dropout, Identity")
"""What a network may be made of, for messages."""

_ROLES: dict[type, str] = {**dict.fromkeys(LAYERS, "matrix"), **dict.fromkeys(NORMS, "elementwise"),
          **dict.fromkeys(ACTIVATIONS, "quantizer"), **dict.fromkeys(PASSING, "passing"),
          nn.Flatten: "flatten"}

_AS_MODULE = "it must be a module, such as torch.nn.ReLU, for quantize_ to replace"
_FLATTEN = "it must flatten all but the batch, as torch.flatten(x, 1) does"
_FUNCTIONS = {
    "relu": _AS_MODULE, "relu_": _AS_MODULE, "relu6": _AS_MODULE, "hardtanh": _AS_MODULE,
    "clamp": _AS_MODULE, "flatten": _FLATTEN, "view": _FLATTEN, "reshape": _FLATTEN,
    "max_pool2d": "max pooling is not supported yet",
    "avg_pool2d": "average pooling is not supported yet",
    "adaptive_avg_pool2d": "average pooling is not supported yet",
    "mean": "averages are not supported yet",
    "conv2d": "it must be a module, torch.nn.Conv2d",
    "linear": "it must be a module, torch.nn.Linear",
    "batch_norm": "it must be a module, such as torch.nn.BatchNorm2d",
}


def _base(module):
    """The supported class whose forward pass a module has, or None."""
    # parametrize puts a class of its own below the layer's, with the same forward pass.
    return next((kind for kind in _ROLES if isinstance(module, kind)
                 and type(module).forward is kind.forward), None)


def role(module):
    """What a module is to the machine.

    Returns
    -------
    str or None
        ``matrix``, ``elementwise``, ``quantizer`` (or an activation that becomes one),
        ``passing``, ``flatten``; None for what it cannot run.
    """
    own = getattr(module, "graph_role", None)
    if own is not None:
        return own if own in ("matrix", "elementwise", "quantizer") else None
    found = _ROLES.get(_base(module))
    if found == "flatten" and (module.start_dim, module.end_dim) not in ((1, -1), (1, 3)):
        return None
    if found == "elementwise" and module.running_var is None:
        return None
    return found


def reason(module=None, function=""):
    """Why the machine cannot run a module, or a function by its name; None if there is no more to
    say than that."""
    if module is None:
        return _FUNCTIONS.get(function.rstrip("0123456789").rstrip("_"), _FUNCTIONS.get(function))
    if isinstance(module, nn.MaxPool2d):
        return "max pooling is not supported yet"
    if isinstance(module, (nn.AvgPool2d, nn.AdaptiveAvgPool2d)):
        return "average pooling is not supported yet"
    if isinstance(module, nn.Flatten):
        return _FLATTEN
    if isinstance(module, NORMS) and _base(module):
        return "it must keep running statistics"
    for kind in _ROLES:
        if isinstance(module, kind):
            return f"its forward pass is not that of {kind.__name__}"
    if type(module).__module__ == nn.ReLU.__module__:
        return f"activations must be {', '.join(each.__name__ for each in ACTIVATIONS)}"
    return None


def check_layer(layer):
    """Checks that a float layer can be taken over by its quantized one, or a quantized one snapped.

    Raises
    ------
    ValueError
        If its parameters are not its own, or not finite, or an option is beyond the machine; the
        sentence starts with what is wrong, not with the layer.
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
    check_options(layer)


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
