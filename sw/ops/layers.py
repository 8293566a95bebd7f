"""Quantized convolution and linear layer: torch layers whose weights pass through a quantizer."""

import torch.nn.functional as F
from torch import nn

from ..quantizers import ActivationQuantizer

__all__ = ["QuantConv2d", "QuantLinear", "check_options"]


def check_options(layer):
    """Raises ValueError if a convolution has options that the machine does not have."""
    if not isinstance(layer, nn.Conv2d):
        return
    if layer.groups != 1:
        raise ValueError(f"Conv2d groups must be 1, not {layer.groups!r}")
    if layer.dilation != (1, 1):
        raise ValueError(f"Conv2d dilation must be 1, not {layer.dilation!r}")
    if layer.padding_mode != "zeros" or isinstance(layer.padding, str):
        shown = layer.padding if isinstance(layer.padding, str) else layer.padding_mode
        raise ValueError(f"Conv2d padding must be numbers in mode 'zeros', not {shown!r}")


class _Quantized:
    """What both layers share: a weight quantizer, and the quantizer their input comes from.

    Attributes
    ----------
    weight_quantizer : WeightQuantizer
    input_quantizer : ActivationQuantizer or None
        Applied by the layer itself; only a network's first layer has one.
    """

    graph_role = "matrix"
    _source: ActivationQuantizer | None

    def _attach(self, weight_quantizer, input_quantizer):
        self.weight_quantizer = weight_quantizer
        self.input_quantizer = input_quantizer
        # Not registered: the quantizer belongs to the network, the layer only pads with its code.
        self.__dict__["_source"] = None

    def read_from(self, quantizer):
        """Says which activation quantizer of the network this layer's input comes from."""
        self.__dict__["_source"] = quantizer

    @property
    def source(self):
        """The activation quantizer of this layer's input.

        Raises
        ------
        ValueError
            If the layer was neither given one nor linked to one by ``quantize_``.
        """
        source = self.input_quantizer if self.input_quantizer is not None else self._source
        if source is None:
            raise ValueError(f"{type(self).__name__} must have an input quantizer or be linked to "
                             "one by quantize_, not stand alone")
        return source

    def quantized_input(self, x):
        """The layer's input after its own input quantizer, if it has one."""
        return x if self.input_quantizer is None else self.input_quantizer(x)


class QuantConv2d(_Quantized, nn.Conv2d):
    """Convolution with a quantized weight, padded with its input quantizer's padding code.

    Parameters
    ----------
    *args, **kwargs
        Of :class:`torch.nn.Conv2d`; groups and dilation must be 1, padding zeros by numbers.
    weight_quantizer : WeightQuantizer
    input_quantizer : ActivationQuantizer, optional
        For a network's first layer.

    Raises
    ------
    ValueError
        If an argument is outside what the machine can run.
    """

    def __init__(self, *args, weight_quantizer, input_quantizer=None, **kwargs):
        super().__init__(*args, **kwargs)
        check_options(self)
        self._attach(weight_quantizer, input_quantizer)

    @classmethod
    def from_float(cls, layer, weight_quantizer, input_quantizer=None):
        """The quantized layer that takes over a float layer's parameters."""
        new = cls(layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride,
                  layer.padding, layer.dilation, layer.groups, layer.bias is not None,
                  layer.padding_mode, weight_quantizer=weight_quantizer,
                  input_quantizer=input_quantizer)
        new.weight, new.bias = layer.weight, layer.bias
        return new

    def forward(self, x):
        """Convolves quantized values; x must be what :attr:`source` puts out (or raw pixels)."""
        x = self.quantized_input(x)
        vertical, horizontal = map(int, self.padding)
        if vertical or horizontal:
            x = F.pad(x, (horizontal, horizontal, vertical, vertical),
                      value=self.source.pad_value())
        return F.conv2d(x, self.weight_quantizer(self.weight), self.bias, self.stride)


class QuantLinear(_Quantized, nn.Linear):
    """Linear layer with a quantized weight.

    Parameters
    ----------
    *args, **kwargs
        Of :class:`torch.nn.Linear`.
    weight_quantizer : WeightQuantizer
    input_quantizer : ActivationQuantizer, optional
        For a network's first layer.
    """

    def __init__(self, *args, weight_quantizer, input_quantizer=None, **kwargs):
        super().__init__(*args, **kwargs)
        self._attach(weight_quantizer, input_quantizer)

    @classmethod
    def from_float(cls, layer, weight_quantizer, input_quantizer=None):
        """The quantized layer that takes over a float layer's parameters."""
        new = cls(layer.in_features, layer.out_features, layer.bias is not None,
                  weight_quantizer=weight_quantizer, input_quantizer=input_quantizer)
        new.weight, new.bias = layer.weight, layer.bias
        return new

    def forward(self, x):
        """Multiplies quantized values; x must be what :attr:`source` puts out (or raw pixels)."""
        return F.linear(self.quantized_input(x), self.weight_quantizer(self.weight), self.bias)
