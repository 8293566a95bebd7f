"""Snapping: a quantized model on the machine's integer grid, evaluated exactly in torch."""

import copy

import numpy as np
import torch
from torch import nn

from ..graph.trace import FrontendError, stages
from ..ops.grid import LOSS_LIMIT, SnapError
from ..ops.layers import QuantConv2d, QuantLinear
from ..ops.snapped import Affine, SnappedActivation, SnappedLayer
from ..quantizers.base import ActivationQuantizer, as_kernel
from .check import check_values

__all__ = ["Affine", "SnapError", "SnappedActivation", "SnappedLayer", "SnappedModel", "snap"]


class SnappedModel(nn.Module):
    """A network on the machine's grid: between layers it hands on codes, at its end float64 values.

    Parameters
    ----------
    model : torch.nn.Module
        Made of snapped layers, affine maps and activations; see :func:`snap`.

    Attributes
    ----------
    stages : list of sw.graph.trace.Stage
    report : list of dict
        What snapping cost each layer: ``name``; ``frac_bits``, an integer or a list with one of
        every channel; ``error``, the largest rounding error of a scale in parts of the largest
        scale of its channel; ``lossy``, the channels in which that is above ``limit``.
    """

    def __init__(self, model):
        super().__init__()
        self.model = model
        self.stages = stages(model)
        _check_quantized(self.stages, (SnappedLayer, SnappedActivation))
        self.report = [_precision(stage.layer) for stage in self.stages]
        self.eval()

    def train(self, mode=True):
        """Stays in evaluation mode: nothing in here can be trained."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, x):
        """Logits of real images, float64."""
        return self.model(torch.as_tensor(x).double())

    @torch.no_grad()
    def trace(self, x):
        """Results of every layer as integers.

        Parameters
        ----------
        x : float array or tensor, shape ``(n, channels, height, width)`` or ``(n, inputs)``
            Real images.

        Returns
        -------
        dict of str to int64 array, shape ``(n, outputs, height, width)``
            By the name of the convolution or linear layer: the codes after its activation; of the
            last layer the accumulators, in units of ``2 ** -frac_bits``. Vectors have height =
            width = 1.
        """
        results, hooks = {}, []
        for stage in self.stages:
            module = stage.layer
            if stage.quantizer_name is not None:
                module = self.model.get_submodule(stage.quantizer_name)

            def keep(_module, _inputs, output, stage=stage):
                if stage.quantizer is None:
                    output = (output * 2.0 ** stage.layer.frac_bits).long()
                output = output[:, :, None, None] if output.dim() == 2 else output
                results[stage.name] = output.numpy().astype(np.int64)

            hooks.append(module.register_forward_hook(keep))
        try:
            self(x)
        finally:
            for hook in hooks:
                hook.remove()
        return results


def snap(model, scale_bits=16, acc_bits=32):
    """Puts a quantized model on the machine's integer grid.

    Parameters
    ----------
    model : torch.nn.Module
        A model that passed through ``quantize_`` and training; it is not changed.
    scale_bits, acc_bits : int
        Signed widths of a scale and of an accumulator of the machine.

    Returns
    -------
    SnappedModel

    Raises
    ------
    SnapError
        If a layer does not fit these widths.
    FrontendError
        If the model is not quantized, or holds something the machine cannot run.
    """
    if isinstance(model, SnappedModel):
        return model
    found = stages(model)
    _check_quantized(found, (QuantConv2d, QuantLinear, ActivationQuantizer))
    check_values(model, found, "snapped")
    coded = {stage.name: stage.quantizer is not None for stage in found}
    model = copy.deepcopy(model).eval().double()
    layers = []
    for name, module in list(model.named_modules()):
        if name in coded:
            new = _snapped(name, module, scale_bits, acc_bits, coded[name])
            layers.append((name, new))
        elif isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)) and module.track_running_stats:
            layers.append((name, Affine.from_batch_norm(module)))
        elif isinstance(module, ActivationQuantizer) and not name.endswith(".input_quantizer"):
            layers.append((name, SnappedActivation(module)))
    for name, new in layers:
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, new)
    return SnappedModel(model)


def _check_quantized(found, kinds):
    for stage in found:
        for name, module in ((stage.name, stage.layer), (stage.quantizer_name, stage.quantizer)):
            if module is not None and not isinstance(module, kinds):
                raise FrontendError(f"Node {name!r} ({type(module).__name__}) must be quantized: "
                                    "pass the model through quantize_ first")


def _precision(layer):
    lossy = np.flatnonzero(layer.errors > LOSS_LIMIT)
    return {"name": layer.name, "frac_bits": np.asarray(layer.frac_bits).tolist(),
            "error": float(layer.errors.max()), "limit": LOSS_LIMIT, "lossy": lossy.tolist()}


def _snapped(name, layer, scale_bits, acc_bits, per_channel):
    try:
        source, weights = layer.source, layer.weight_quantizer.planes(as_kernel(layer.weight))
        codebook = source.codebook()
    except ValueError as error:
        raise SnapError(f"Layer {name!r} cannot be snapped: {error}") from None
    linear = isinstance(layer, QuantLinear)
    shape = {} if linear else {"stride": layer.stride, "padding": layer.padding}
    bias = None if layer.bias is None else layer.bias.detach().numpy()
    return SnappedLayer(name, weights, codebook, pad_code=source.pad_code, bias=bias,
                        linear=linear, encoder=layer.input_quantizer, scale_bits=scale_bits,
                        acc_bits=acc_bits, per_channel=per_channel, **shape)
