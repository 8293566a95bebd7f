"""Snapping: a quantized model on the machine's integer grid, evaluated exactly in torch."""

import copy

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ..bitplanes import BitPlanes, group_index
from ..graph.trace import FrontendError, stages
from ..ops.grid import LOSS_LIMIT, SnapError, to_integers
from ..ops.layers import QuantConv2d, QuantLinear
from ..quantizers.base import ActivationQuantizer, as_kernel
from .check import check_values

__all__ = ["Affine", "SnapError", "SnappedActivation", "SnappedLayer", "SnappedModel", "snap"]


class SnappedLayer(nn.Module):
    """A matrix layer on the machine's grid, evaluated in float64 without any rounding.

    Parameters
    ----------
    name : str
        For messages.
    weights : BitPlanes
        Weight planes, ``(k, outputs, inputs, height, width)``; their offset must be 0.
    codebook : BitPlanes
        Planes of the input's codes.
    pad_code : int
        Code outside the map.
    bias : float64 array, shape ``(outputs,)``, or None
    stride, padding : tuple of int
        Vertical, horizontal.
    linear : bool
        Whether input and output are vectors.
    encoder : ActivationQuantizer, optional
        Encodes raw input first.
    scale_bits, acc_bits : int
        Signed widths of a scale and of an accumulator.
    per_channel : bool
        Whether every channel has a grid of its own: where the values become codes.

    Attributes
    ----------
    scales : int64 array, shape ``(outputs, groups, activation planes, weight planes)``
        Weight of one mismatch, in units of ``2 ** -frac_bits``.
    biases, low, high : int64 array, shape ``(outputs,)``
        Integer bias; bounds of the accumulator, and of every partial sum of it.
    frac_bits : int, or int64 array of shape ``(outputs,)``
    errors : float64 array, shape ``(outputs,)``
        See :class:`sw.ops.grid.Integers`.

    Raises
    ------
    SnapError
        If the layer cannot be held in these widths.
    """

    graph_role = "matrix"
    constant: torch.Tensor
    kernels: torch.Tensor
    signs: torch.Tensor

    def __init__(self, name, weights: BitPlanes, codebook: BitPlanes, *, pad_code=0, bias=None,
                 stride=(1, 1), padding=(0, 0), linear=False, encoder=None, scale_bits=16,
                 acc_bits=32, per_channel=False):
        super().__init__()
        if weights.offset:
            raise SnapError(f"Layer {name!r} weights must have offset 0, not {weights.offset!r}")
        bias = np.zeros(weights.shape[0]) if bias is None else np.asarray(bias, dtype=np.float64)
        self.name, self.weights, self.codebook = name, weights, codebook
        self.pad_code, self.stride, self.padding = pad_code, tuple(stride), tuple(padding)
        self.linear, self.encoder = linear, encoder
        integers = to_integers(name, weights, codebook, bias, scale_bits, acc_bits,
                               per_channel=per_channel)
        self.frac_bits, self.scales, self.biases = (integers.frac_bits, integers.scales,
                                                    integers.biases)
        self.low, self.high, self.errors = integers.low, integers.high, integers.errors
        self._build()

    def _build(self):
        outputs, inputs, *kernel = self.weights.shape
        in_group = np.bincount(group_index(self.weights.grouping, kernel).ravel()) * inputs
        # value = 2^-f * (biases + sum S * (K - D) / 2): D is what the convolution of signs gives.
        grid = np.broadcast_to(np.ldexp(1.0, -(np.asarray(self.frac_bits) + 1)), outputs)
        constant = 2 * self.biases + (self.scales * in_group[:, None, None]).sum(axis=(1, 2, 3))
        taps = self.scales[:, group_index(self.weights.grouping, kernel)]
        signs = 2 * self.weights.planes.astype(np.int64) - 1
        kernels = -np.einsum("mhwij,jmchw->michw", taps, signs)
        self.register_buffer("constant", torch.from_numpy(constant * grid))
        self.register_buffer("kernels", torch.from_numpy(
            kernels * grid[:, None, None, None, None]).flatten(1, 2))
        self.register_buffer("signs", torch.from_numpy(2.0 * self.codebook.planes - 1.0).T)

    def forward(self, codes):
        """Values, float64: of codes ``(n, inputs, height, width)`` or, if linear, ``(n,
        inputs)``."""
        if self.encoder is not None:
            codes = self.encoder.encode(codes)
        if self.linear:
            codes = codes[:, :, None, None]
        vertical, horizontal = self.padding
        codes = F.pad(codes, (horizontal, horizontal, vertical, vertical), value=self.pad_code)
        planes = self.signs[codes].movedim(-1, 1).flatten(1, 2)
        # Sums of integers times one power of two a channel, below 2 ** 53: exact in any order.
        values = F.conv2d(planes, self.kernels, stride=self.stride)
        values = values + self.constant.reshape(-1, 1, 1)
        return values[:, :, 0, 0] if self.linear else values


class Affine(nn.Module):
    """A batch norm in evaluation as a separate multiplication and addition per channel, in float64.

    Parameters
    ----------
    gain, shift : float64 tensor, shape ``(channels,)``
    """

    graph_role = "elementwise"
    gain: torch.Tensor
    shift: torch.Tensor

    def __init__(self, gain, shift):
        super().__init__()
        self.register_buffer("gain", gain)
        self.register_buffer("shift", shift)

    @classmethod
    def from_batch_norm(cls, norm):
        """The affine map of a batch norm's stored statistics."""
        deviation = torch.sqrt(norm.running_var.double() + norm.eps)
        gain = torch.ones_like(deviation) if norm.weight is None else norm.weight.detach().double()
        shift = torch.zeros_like(gain) if norm.bias is None else norm.bias.detach().double()
        gain = gain / deviation
        return cls(gain, shift - norm.running_mean.double() * gain)

    def forward(self, x):
        """``x * gain + shift`` along axis 1."""
        shape = (-1, *[1] * (x.dim() - 2))
        # Two operations: a fused one would round differently from one tensor shape to another.
        return x * self.gain.reshape(shape) + self.shift.reshape(shape)


class SnappedActivation(nn.Module):
    """An activation quantizer that hands on codes.

    Parameters
    ----------
    quantizer : ActivationQuantizer
        Evaluated in float64.
    """

    graph_role = "quantizer"

    def __init__(self, quantizer):
        super().__init__()
        self.quantizer = quantizer

    def forward(self, x):
        """Codes, int64."""
        return self.quantizer.encode(x)


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
