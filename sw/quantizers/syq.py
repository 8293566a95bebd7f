"""SYQ: symmetric code books with a trained scale per kernel position (arXiv 1807.00301).

A weight is ``alpha_i * code``: codes are -1 and 1, or -1, 0 and 1; a layer has one alpha, one per
kernel row, or one per pixel of the kernel, which all input and output channels share.
"""

from dataclasses import dataclass

import torch
from torch import nn

from ..bitplanes import group_count
from .base import WeightQuantizer, as_kernel, check_choice, check_weight, tap_scales
from .config import SchemeConfig
from .planes import even_planes, midtread_planes
from .registry import register_scheme
from .straight_through import keep_nan, straight_through, working
from .uniform import fixed_point, unit_interval

__all__ = ["SyqConfig", "SyqWeight", "subgroup_means", "syq_codes"]


def syq_codes(kernel, weights="ternary", eta=0.05):
    """Codes of a weight: int64, of its shape.

    Parameters
    ----------
    kernel : float tensor
    weights : str
        ``"binary"``: the sign; an exact zero counts as positive. ``"ternary"``: 0 below
        ``eta * max |w|``, the sign from there on; an exact zero is 0.
    eta : float
    """
    return _codes(kernel, weights, _threshold(kernel, eta)).long()


def _threshold(kernel, eta):
    return eta * kernel.abs().amax(dim=())


def _codes(kernel, weights, threshold):
    """Codes as floats."""
    if weights == "binary":
        return torch.where(kernel >= 0, 1.0, -1.0).to(kernel.dtype)
    return kernel.sign() * (kernel.abs() >= threshold)


def subgroup_means(kernel, subgroup):
    """``mean |w|`` of every subgroup of a kernel ``(outputs, inputs, height, width)``: float64."""
    axes = {"pixel": (0, 1), "row": (0, 1, 3), "layer": (0, 1, 2, 3)}[subgroup]
    return kernel.detach().double().abs().mean(dim=axes).flatten()


class SyqWeight(WeightQuantizer):
    """Binary or ternary codes times a trained scale per subgroup.

    With upstream gradient g, alpha gets ``sum g * code`` over its subgroup; a weight gets
    ``alpha * g`` above the threshold ``eta * max |w|`` (0 for binary weights), and g up to it.

    Parameters
    ----------
    weight : float tensor, shape ``(outputs, inputs)`` or ``(outputs, inputs, height, width)``
        What the scales start from: ``mean |w|`` of every subgroup.
    subgroup : str
        ``"pixel"``, ``"row"`` or ``"layer"``.
    weights : str
        ``"binary"`` or ``"ternary"``.
    eta : float
        Threshold of ternary weights in units of ``max |w|``, 0 to 1; binary ones have none.

    Attributes
    ----------
    alpha : parameter, shape ``(groups,)``

    Raises
    ------
    ValueError
        If an option is out of its range, or the kernel has a single pixel or row and is to be
        grouped by it.
    """

    def __init__(self, weight, subgroup="pixel", weights="ternary", eta=0.05):
        super().__init__()
        check_weight(weight)
        self.grouping = check_choice("SyqWeight subgroup", subgroup, ("pixel", "row", "layer"))
        self.weights = check_choice("SyqWeight weights", weights, ("binary", "ternary"))
        if not 0 <= eta <= 1:
            raise ValueError(f"SyqWeight eta must be from 0 to 1, not {eta!r}")
        self.eta = float(eta) if weights == "ternary" else 0.0
        self.levels = 2 if weights == "binary" else 3
        kernel = as_kernel(weight)
        if subgroup != "layer" and group_count(subgroup, kernel.shape[2:]) == 1:
            raise ValueError(f"SyqWeight subgroup must be 'layer' for a kernel with a single "
                             f"{subgroup}, not {subgroup!r}")
        self.alpha = nn.Parameter(subgroup_means(kernel, subgroup).to(weight.dtype))

    def extra_repr(self):
        """Parameters, for ``repr``."""
        return f"subgroup={self.grouping!r}, weights={self.weights!r}, eta={self.eta!r}"

    def split(self, kernel):
        """See :meth:`WeightQuantizer.split`."""
        alpha = self.alpha.detach().double().unsqueeze(0)
        codes = syq_codes(kernel, self.weights, self.eta)
        if self.weights == "binary":
            return even_planes((codes + 1) // 2, 1, alpha)
        return midtread_planes(codes, 1, alpha)

    def slope(self, kernel, scales=None):
        """See :meth:`WeightQuantizer.slope`."""
        taps = tap_scales(self.alpha.detach(), self.grouping, kernel.shape[2:])
        above = kernel.abs() > _threshold(kernel, self.eta)
        return torch.where(above, taps.to(kernel.dtype), 1.0)

    def forward(self, weight):
        """The quantized weight, with gradients to the weight and to alpha."""
        kernel = working(as_kernel(weight))
        taps = tap_scales(self.alpha, self.grouping, kernel.shape[2:])
        codes = keep_nan(kernel, _codes(kernel, self.weights, _threshold(kernel, self.eta)))
        return straight_through(
            weight, (codes * taps.detach().to(kernel.dtype)).reshape(weight.shape),
            self.slope(kernel).reshape(weight.shape), taps, codes.reshape(weight.shape))


@dataclass(frozen=True, kw_only=True)
class SyqConfig(SchemeConfig):
    """SYQ weights and activations of a fixed grid.

    Parameters
    ----------
    subgroup : str
        Of :class:`SyqWeight`; layers whose kernel is a single pixel or row, linear ones above all,
        have one scale anyway.
    weights, eta
        Of :class:`SyqWeight`.
    activation_bits : int
        1 to 8.
    fraction_bits : int or None
        Of fixed-point activations, as in the paper; None: steps of ``1 / (2 ** activation_bits -
        1)`` over [0, 1], as in the authors' public code.
    signed_activations : bool
        Two's complement, for networks whose activations go below 0; needs ``fraction_bits``.
    """

    subgroup: str = "pixel"
    weights: str = "ternary"
    eta: float = 0.05
    activation_bits: int = 4
    fraction_bits: int | None = None
    signed_activations: bool = False

    def weight_quantizer(self, weight):
        """See :meth:`SchemeConfig.weight_quantizer`."""
        one = group_count(self.subgroup, as_kernel(weight).shape[2:]) == 1
        return SyqWeight(weight, "layer" if one else self.subgroup, self.weights, self.eta)

    def activation_quantizer(self):
        """See :meth:`SchemeConfig.activation_quantizer`."""
        if self.fraction_bits is not None:
            return fixed_point(self.activation_bits, self.fraction_bits, self.signed_activations)
        if self.signed_activations:
            raise ValueError("SyqConfig fraction_bits must be given for signed activations, "
                             "not None")
        return unit_interval(self.activation_bits)


# Fixed point up to 1.5 and to 1.875: there lies most of what batch norm and ReLU let through.
register_scheme("syq-pixel-w1a2", SyqConfig(weights="binary", activation_bits=2, fraction_bits=1))
register_scheme("syq-pixel-wta4", SyqConfig(subgroup="pixel", fraction_bits=3))
register_scheme("syq-row-wta4", SyqConfig(subgroup="row", fraction_bits=3))
register_scheme("syq-layer-wta4", SyqConfig(subgroup="layer", fraction_bits=3))
