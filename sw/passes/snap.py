"""Snapping: a quantized model on the machine's integer grid, evaluated exactly in torch."""

import numpy as np
import torch
from torch import nn

from ..graph.graph import INPUT
from ..graph.network import Pool
from ..ops.batch_norm import Affine
from ..ops.grid import LOSS_LIMIT, SnapError
from ..ops.limits import MAX_CODE_BITS
from ..ops.snapped import SnappedActivation, SnappedLayer
from .fuse import fuse
from .rescale import FarCodes, rescale, shifts
from .staircase import accumulator_function

__all__ = ["Affine", "SnapError", "SnappedActivation", "SnappedLayer", "SnappedModel", "snap",
           "snapped_layer", "with_activation"]


class SnappedModel(nn.Module):
    """A network on the machine's grid: between layers it hands on codes, at its end float64 values.

    Parameters
    ----------
    fusion : sw.passes.fuse.Fusion
    layers : list of sw.ops.snapped.SnappedLayer

    Attributes
    ----------
    encoder : ActivationQuantizer
        Of the input.
    report : list of dict
        What snapping cost each layer: ``name``; ``frac_bits``, an integer or a list with one of
        every channel; ``error``, the largest rounding error of a scale in parts of the largest
        scale of its channel; ``lossy``, the channels in which that is above ``limit``.
    quantized : bool
        True.
    """

    quantized = True

    def __init__(self, fusion, layers):
        super().__init__()
        self.fusion = fusion
        self.encoder, self.gain, self.shift = fusion.encoder
        self.layers = nn.ModuleList(layers)
        self.report = [_precision(layer) for layer in layers]
        self.eval()

    def train(self, mode=True):
        """Stays in evaluation mode: nothing in here can be trained."""
        return super().train(False)

    @torch.no_grad()
    def encode(self, x):
        """Codes of real images: int64, shape ``(n, channels, height, width)``."""
        x = torch.as_tensor(x).double()
        x = x.reshape(len(x), *self.fusion.input.shape)
        if self.gain is not None:
            x = Affine(torch.from_numpy(self.gain), torch.from_numpy(self.shift))(x)
        return self.encoder.encode(x)

    @torch.no_grad()
    def run(self, x):
        """Maps of codes by layer, input included, and the last layer's accumulators in real units,
        of real images."""
        maps = {INPUT: self.encode(x)}
        for layer in self.layers:
            values = layer(maps)
            if layer.activation is None:
                return maps, values
            codes = layer.activation(values)
            maps[layer.name] = _pooled(layer.fused.pool, codes)
        raise AssertionError("a network without a last layer")

    @torch.no_grad()
    def forward(self, x):
        """The network's result for real images, float64."""
        values = self.run(x)[1] + self.layers[-1].after.reshape(-1, 1, 1)
        return torch.from_numpy(self.fusion.head.apply(values.numpy()))

    @torch.no_grad()
    def trace(self, x):
        """Results of every layer as integers.

        Parameters
        ----------
        x : float array or tensor, shape ``(n, *in_shape)``
            Real images.

        Returns
        -------
        dict of str to int64 array, shape ``(n, outputs, height, width)``
            By layer: the codes after its activation and pool; of the last layer the accumulators,
            in units of ``2 ** -frac_bits``. Vectors have height = width = 1.
        """
        maps, values = self.run(x)
        results = {name: codes.numpy() for name, codes in maps.items() if name != INPUT}
        return {**results, self.layers[-1].name: self.layers[-1].integer(values).numpy()}


    def text(self):
        """One line a layer: its grid and what it cost, for people."""
        lines = []
        for layer, cost in zip(self.layers, self.report):
            bits = np.asarray(layer.integers.frac_bits)
            lines.append(f"{layer.name}: {bits.min()} to {bits.max()} fraction bits, scales off by "
                         f"up to {cost['error']:.3g} of the largest, {len(cost['lossy'])} of "
                         f"{len(layer.grid)} channels lossy")
        return "\n".join([*lines, ""])


def _pooled(pool, codes):
    if pool is None:
        return codes
    kind, (height, width), (down, right), (top, bottom, left, right_pad) = pool
    # Outside is code 0, which neither a maximum nor a sum sees.
    framed = nn.functional.pad(codes, (left, right_pad, top, bottom))
    windows = framed.unfold(2, height, down).unfold(3, width, right).flatten(4)
    return windows.amax(dim=4) if kind == "max" else windows.sum(dim=4)


def snap(model, scale_bits=16, acc_bits=32, count_bits=16):
    """Puts a quantized model on the machine's integer grid.

    Parameters
    ----------
    model : sw.graph.model.GraphModel
        What ``quantize_`` returned, trained; it is not changed.
    scale_bits, acc_bits : int
        Signed widths of a scale and of an accumulator of the machine.
    count_bits : int
        Bits of a count of the machine: matters to activations of more than 4 bits.

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
    fusion = fuse(model)
    return SnappedModel(fusion, [snapped_layer(fused, scale_bits, acc_bits, count_bits)
                                 for fused in fusion.layers])


def with_activation(layer):
    """The layer, whose codes are those of its quantizer."""
    if layer.fused.quantizer is not None:
        layer.activation = SnappedActivation(layer, layer.fused.quantizer)
    return layer


def snapped_layer(fused, scale_bits=16, acc_bits=32, count_bits=16):
    """One layer on the grid, with what makes its codes; parameters as of :func:`snap`."""
    layer = with_activation(SnappedLayer(fused, scale_bits, acc_bits))
    if fused.quantizer is None or fused.quantizer.bits <= MAX_CODE_BITS:
        return layer
    try:
        return _rescaled(layer, scale_bits, acc_bits, count_bits)
    except FarCodes as far:
        layer = with_activation(SnappedLayer(fused, scale_bits, acc_bits, far.offsets))
        return _rescaled(layer, scale_bits, acc_bits, count_bits)


def _rescaled(layer, scale_bits, acc_bits, count_bits):
    """The layer with codes by multiplication, on the finest grid that has them."""
    refused = None
    for shift, width in shifts(layer, count_bits):
        tried = layer
        if width is not None:
            try:
                tried = with_activation(SnappedLayer(layer.fused, scale_bits, min(acc_bits, width),
                                                     layer.offsets))
            except SnapError as error:
                # What is missing are not the machine's accumulators.
                raise refused or error from None
        try:
            tried.activation = rescale(tried, accumulator_function(tried),
                                       layer.fused.quantizer.bits, shift, scale_bits, acc_bits)
            return tried
        except SnapError as error:
            refused = error
    raise refused


def pool_of(fused):
    """The pool of a fused layer as the network has it, or None."""
    return None if fused.pool is None else Pool(*fused.pool)


def _precision(layer):
    errors = layer.integers.errors
    lossy = np.flatnonzero(errors > LOSS_LIMIT)
    return {"name": layer.name, "frac_bits": np.asarray(layer.integers.frac_bits).tolist(),
            "error": float(errors.max()), "limit": LOSS_LIMIT, "lossy": lossy.tolist()}
