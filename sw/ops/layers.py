"""Quantized convolutions and linear layer: torch layers whose weights pass through a quantizer."""

import torch
import torch.nn.functional as F
from torch import nn

__all__ = ["QuantConv1d", "QuantConv2d", "QuantLinear", "padded"]


def padded(x, edges, values):
    """A map or signal with a frame.

    Parameters
    ----------
    x : tensor, shape ``(n, channels, [height,] width)``
    edges : tuple of int
        ``(top, bottom, left, right)``, or ``(left, right)`` of signals.
    values : list of tuple of int and (float or tensor of shape ``()``)
        Channels, and the value of the frame around them, until all channels have one.
    """
    if not any(edges):
        return x
    # Torch wants the last axis first.
    frame = (*edges[2:], *edges[:2])
    numbers = {value for _, value in values if not isinstance(value, torch.Tensor)}
    if len(values) == 1 or numbers == {0.0} and all(isinstance(each, float) for _, each in values):
        return _framed(x, frame, values[0][1])
    parts = x.split([channels for channels, _ in values], dim=1)
    return torch.cat([_framed(part, frame, value)
                      for part, (_, value) in zip(parts, values, strict=True)], dim=1)


def _framed(x, frame, value):
    if not isinstance(value, torch.Tensor):
        return F.pad(x, frame, value=value)
    # The value may be known to the device alone: a number for ``pad`` would have to come from it.
    inside = F.pad(torch.ones_like(x[:1, :1], dtype=torch.bool), frame, value=False)
    return torch.where(inside, F.pad(x, frame), value.to(x.dtype))


class _QuantConv:
    """A convolution padded with the padding code of what its input comes from.

    The quantizers of its input belong to the network, whose graph says at every call which they
    are: a layer that remembered them would go on padding with one that has been replaced.

    Parameters
    ----------
    *args, **kwargs
        Of the torch layer.
    weight_quantizer : WeightQuantizer
    edges : tuple of int, optional
        Padding on every side, ``(top, bottom, left, right)`` or ``(left, right)``, instead of that
        of the torch layer.
    """

    def __init__(self, *args, weight_quantizer, edges=None, **kwargs):
        super().__init__(*args, **kwargs)
        self.edges = (tuple(each for pad in self.padding for each in (pad, pad)) if edges is None
                      else tuple(edges))
        self.weight_quantizer = weight_quantizer

    def frame(self, x, sources=()):
        """Input with padding, as the layer sees it.

        Parameters
        ----------
        x : tensor, shape ``(n, channels, [height,] width)``
        sources : sequence of tuple of int and ActivationQuantizer or None
            Channels and quantizer of every part of the input; without a quantizer, or without
            sources, padding is zero.
        """
        values = [(channels, 0.0 if source is None else source.pad_value())
                  for channels, source in sources]
        return padded(x, self.edges, values or [(x.shape[1], 0.0)])

    @classmethod
    def from_float(cls, layer, weight_quantizer, edges=None):
        """The quantized layer that takes over a float layer's parameters."""
        new = cls(layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride,
                  layer.padding, layer.dilation, layer.groups, layer.bias is not None,
                  weight_quantizer=weight_quantizer, edges=edges, device="meta")
        new.weight, new.bias = layer.weight, layer.bias
        return new


class QuantConv2d(_QuantConv, nn.Conv2d):
    """Convolution of maps with a quantized weight; see :class:`_QuantConv` for its parameters."""

    def forward(self, x, *sources):
        """Convolves quantized values; x must be what its sources put out."""
        return F.conv2d(self.frame(x, sources), self.weight_quantizer(self.weight), self.bias,
                        self.stride, 0, self.dilation, self.groups)


class QuantConv1d(_QuantConv, nn.Conv1d):
    """Convolution of signals with a quantized weight; see :class:`_QuantConv` for its parameters.
    """

    def forward(self, x, *sources):
        """Convolves quantized values; x must be what its sources put out."""
        return F.conv1d(self.frame(x, sources), self.weight_quantizer(self.weight), self.bias,
                        self.stride, 0, self.dilation, self.groups)


class QuantLinear(nn.Linear):
    """Linear layer with a quantized weight.

    Parameters
    ----------
    *args, **kwargs
        Of :class:`torch.nn.Linear`.
    weight_quantizer : WeightQuantizer
    """

    edges = ()

    def __init__(self, *args, weight_quantizer, **kwargs):
        super().__init__(*args, **kwargs)
        self.weight_quantizer = weight_quantizer

    @classmethod
    def from_float(cls, layer, weight_quantizer, edges=None):
        """The quantized layer that takes over a float layer's parameters."""
        new = cls(layer.in_features, layer.out_features, layer.bias is not None,
                  weight_quantizer=weight_quantizer, device="meta")
        new.weight, new.bias = layer.weight, layer.bias
        return new

    def forward(self, x, *sources):
        """Multiplies quantized values; nothing is padded, whatever the sources."""
        return F.linear(x, self.weight_quantizer(self.weight), self.bias)
