"""A layer on the machine's integer grid, evaluated exactly in torch."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from .batch_norm import Affine
from .grid import to_integers
from .grid_term import GridTerm

__all__ = ["SnappedActivation", "SnappedLayer", "SnappedTerm"]


class SnappedTerm(nn.Module):
    """One term of a layer; sums of integers times a power of two per channel, so exact.

    Parameters
    ----------
    term : sw.ops.values.SumTerm
    scales : int64 array, shape ``(outputs, groups, activation planes, weight planes)``
        Weight of one mismatch.
    border : int64 array, shape ``(outputs, height, width)``, or None
        What a tap outside the map adds.
    grid : float64 array, shape ``(outputs,)``
        Value of one unit of the accumulator.
    """

    constant: torch.Tensor
    kernels: torch.Tensor
    signs: torch.Tensor
    inside: torch.Tensor | None

    def __init__(self, term, scales, border, grid):
        super().__init__()
        self.term, self.scales, self.border = term, scales, border
        taps = GridTerm(term.weights, term.part.codebook).taps
        inputs = term.weights.shape[1]
        # mismatches = (K - D) / 2: D is what the convolution of signs gives.
        grid = grid / 2
        by_tap = scales[:, taps]
        constant = by_tap.sum(axis=(3, 4)) * inputs
        signs = 2 * term.weights.planes.astype(np.int64) - 1
        kernels = -np.einsum("mhwij,jmchw->mcihw", by_tap, signs)
        inside = None
        if border is not None:
            inside = torch.from_numpy((constant - 2 * border) * grid[:, None, None]).unsqueeze(1)
            constant = 2 * border
        self.register_buffer("inside", inside)
        self.register_buffer("constant", torch.from_numpy(constant.sum(axis=(1, 2)) * grid))
        self.register_buffer("kernels", torch.from_numpy(
            kernels * grid[:, None, None, None, None]).flatten(1, 2))
        self.register_buffer("signs", torch.from_numpy(2.0 * term.part.codebook.planes - 1.0).T)

    def forward(self, codes):
        """What the term adds to codes ``(n, channels, height, width)``: float64."""
        term = self.term
        top, bottom, left, right = term.padding
        frame = (left, right, top, bottom)
        options = {"stride": term.stride, "dilation": term.dilation}
        if self.inside is None:
            codes = F.pad(codes, frame, value=term.part.pad_code or 0)
        planes = self.signs[codes].movedim(-1, 2).flatten(1, 2)
        constant = self.constant.reshape(-1, 1, 1)
        if self.inside is not None:
            # A frame of zeros is neither sign, so taps outside are in no sum.
            planes = F.pad(planes, frame)
            here = F.pad(torch.ones(1, 1, *codes.shape[2:], dtype=torch.float64), frame)
            constant = constant + F.conv2d(here, self.inside, **options)
        return F.conv2d(planes, self.kernels, groups=term.blocks, **options) + constant


class SnappedLayer(nn.Module):
    """A layer on the machine's grid: terms, what maps their sum, and what becomes of it.

    Parameters
    ----------
    fused : sw.ops.values.Fused
    scale_bits, acc_bits : int
        Signed widths of a scale and of an accumulator.
    offsets : float64 array, shape ``(outputs,)``, optional
        See :func:`sw.ops.grid.to_integers`.

    Attributes
    ----------
    integers : sw.ops.grid.Integers
    spare : int
        Bits of scales and accumulators that are left to the compiler.
    activation : SnappedActivation, RescaledActivation or None
        From accumulators to codes.

    Raises
    ------
    SnapError
        If the layer cannot be held in these widths.
    """

    def __init__(self, fused, scale_bits=16, acc_bits=32, offsets=None):
        super().__init__()
        self.fused, self.name, self.offsets = fused, fused.name, offsets
        terms = fused.sum.terms
        # Weights of block-diagonal terms take two planes of half a scale on the machine, and
        # then all scales of the layer are doubled.
        self.spare = spare = int(any(term.blocks > 1 for term in terms))
        self.integers = to_integers(
            fused.name, [GridTerm(term.weights, term.part.codebook, term.gain, term.zeros,
                                  term.relu) for term in terms],
            [term.bias for term in terms], scale_bits - spare, acc_bits - spare,
            per_channel=fused.quantizer is not None, offsets=offsets)
        outputs = len(self.integers.biases)
        self.grid = np.full(outputs, np.ldexp(1.0, -np.asarray(self.integers.frac_bits)))
        self.register_buffer("bias", torch.from_numpy(self.integers.biases * self.grid))
        self.register_buffer("after", torch.from_numpy(self.integers.after * self.grid))
        self.terms = nn.ModuleList(
            SnappedTerm(term, scales, border, self.grid) for term, scales, border
            in zip(terms, self.integers.scales, self.integers.borders, strict=True))
        self.tail = nn.ModuleList(fused.sum.tail)
        self.activation = None

    @property
    def sign(self):
        """-1 for channels whose accumulators are negated so that codes rise: int64."""
        sign = np.ones(len(self.integers.biases), dtype=np.int64)
        if not self.fused.sum.clamped and self.fused.quantizer is not None:
            for module in self.tail:
                if isinstance(module, Affine):
                    sign *= np.where(module.gain.numpy() < 0, -1, 1)
        return sign

    def forward(self, maps):
        """Accumulators in real units, float64 ``(n, outputs, height, width)``, of maps by name."""
        total = self.bias.reshape(-1, 1, 1)
        for snapped in self.terms:
            if snapped.term.relu:
                total = total.clamp_min(0)
            total = total + snapped(maps[snapped.term.part.source])
        return total

    def mapped(self, values):
        """What the elementwise tail makes of accumulators in real units."""
        values = values + self.after.reshape(-1, *[1] * (values.dim() - 2))
        for module in self.tail:
            values = module(values)
        return values

    def integer(self, values):
        """Accumulators in real units as the machine's integers: int64."""
        shape = (-1, *[1] * (values.dim() - 2))
        return (values / torch.from_numpy(self.grid).reshape(shape)).long()


class SnappedActivation(nn.Module):
    """An activation quantizer that hands on codes.

    Parameters
    ----------
    layer : SnappedLayer
        Whose tail comes first.
    quantizer : ActivationQuantizer
        Evaluated in float64.
    """

    def __init__(self, layer, quantizer):
        super().__init__()
        # Not registered: the layer holds this.
        self.__dict__["_layer"] = layer
        self.quantizer = quantizer

    def forward(self, values):
        """Codes, int64, of accumulators in real units."""
        return self.quantizer.encode(self._layer.mapped(values))
