"""Operators on the machine's integer grid, evaluated exactly in torch."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ..bitplanes import BitPlanes, group_index
from .grid import SnapError, to_integers

__all__ = ["Affine", "SnappedActivation", "SnappedLayer"]


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
