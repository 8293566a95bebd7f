"""What every quantizer offers: a straight-through float output, and the same as BitPlanes.

Forward passes are torch alone: they compute values from codes on the device of their input, never
planes, and never look at a number on the host, so that they compile, export and batch. Planes are
built when a network is snapped.
"""

import torch
from torch import nn

from ..bitplanes import BitPlanes
from .straight_through import straight_through, working

__all__ = ["ActivationQuantizer", "WeightQuantizer", "as_kernel", "check_bits", "check_choice",
           "check_weight", "plane_values", "tap_scales"]


def check_bits(name, bits, low=1, high=8):
    """Returns ``bits`` if it is an integer from ``low`` to ``high``, else raises ValueError."""
    if not isinstance(bits, int) or isinstance(bits, bool) or not low <= bits <= high:
        raise ValueError(f"{name} bits must be an integer from {low} to {high}, not {bits!r}")
    return bits


def check_choice(name, value, choices):
    """Returns ``value`` if it is one of ``choices``, else raises ValueError."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, not {value!r}")
    return value


def as_kernel(weight):
    """A weight as ``(outputs, inputs, height, width)``: a linear one has a kernel of 1 x 1, that of
    a convolution of signals one of a single line.

    Raises
    ------
    ValueError
        If it is not of floats, or of none of these layers.
    """
    if not weight.is_floating_point():
        raise ValueError(f"weight must be of floating point, not {weight.dtype}")
    if weight.dim() == 4:
        return weight
    if weight.dim() not in (2, 3):
        raise ValueError("weight must have 2 dimensions (linear), 3 or 4 (convolution), not shape "
                         f"{tuple(weight.shape)}")
    return weight[..., None, None] if weight.dim() == 2 else weight.unsqueeze(2)


def check_weight(weight):
    """Raises ValueError if a weight is empty or not finite."""
    if not weight.numel():
        raise ValueError(f"weight must not be empty, but has shape {tuple(weight.shape)}")
    wrong = ~torch.isfinite(weight.detach())
    if wrong.any():
        raise ValueError(f"weight must be finite, not {weight.detach()[wrong][0].item()!r}")


def plane_values(bits, scales, grouping="layer"):
    """Values that planes stand for: a tensor of the scales' dtype, shape ``(outputs, inputs,
    height, width)``.

    Parameters
    ----------
    bits, scales, grouping
        As :meth:`WeightQuantizer.split` gives them.
    """
    taps = tap_scales(scales, grouping, bits.shape[3:]).unsqueeze(2)
    return torch.where(bits, taps, -taps).sum(dim=0)


def tap_scales(scales, grouping, kernel):
    """Scales ``(.., groups)`` spread over the taps of a kernel: ``(.., height, width)``, or sizes
    of 1 where all taps share one."""
    height, width = kernel
    shape = {"layer": (1, 1), "row": (height, 1), "pixel": (height, width)}[grouping]
    return scales.unflatten(-1, shape)


class WeightQuantizer(nn.Module):
    """Base of weight quantizers. A subclass says how to :meth:`split` a weight, and its gradient
    (:meth:`slope`); one whose values come cheaper from codes says :meth:`quantize` as well.

    Attributes
    ----------
    grouping : str
        How scales map to kernel taps, one of :data:`sw.bitplanes.GROUPINGS`.
    levels : int
        Number of values that a weight can take within its channel and group.
    post_training : bool
        Whether the weight comes from calibration data, by :meth:`solve`, instead of training.
    bias_correction : bool
        Whether calibration then corrects the mean of the layer's output, too.
    """

    grouping = "layer"
    post_training = False
    bias_correction = False
    levels: int

    def split(self, kernel):
        """Planes and scales of a weight.

        Parameters
        ----------
        kernel : float tensor, shape ``(outputs, inputs, height, width)``
            In float64 where a network is snapped.

        Returns
        -------
        bits : bool tensor, shape ``(k, outputs, inputs, height, width)``
        scales : float tensor, shape ``(k, 1 or outputs, groups)``
        """
        raise NotImplementedError

    def slope(self, kernel, scales):
        """Straight-through gradient factor, of the kernel's shape."""
        raise NotImplementedError

    def quantize(self, kernel):
        """Values of a weight, and its gradient factor.

        Parameters
        ----------
        kernel : float32 or float64 tensor, shape ``(outputs, inputs, height, width)``
            Without gradient.

        Returns
        -------
        values : float tensor, of the kernel's shape
            Those of the planes of :meth:`split`, to rounding.
        slope : tensor, of the kernel's shape, or None
            None: 1 everywhere.
        """
        bits, scales = self.split(kernel)
        return plane_values(bits, scales, self.grouping), self.slope(kernel, scales)

    def solve(self, weight, sums):
        """The weight that a layer is to have, where :attr:`post_training` is set.

        Parameters
        ----------
        weight : float tensor, shape ``(outputs, inputs, ..)``
            The trained weight.
        sums : sw.quantizers.gram.GramSums
            What calibration data say of the layer's inputs.

        Returns
        -------
        float tensor, of the weight's shape and dtype
            Values that the quantizer leaves as they are.
        """
        raise NotImplementedError

    def planes(self, weight) -> BitPlanes:
        """The quantized weight as :class:`~sw.bitplanes.BitPlanes`; a linear weight as 1 x 1
        kernel.

        Raises
        ------
        ValueError
            If the weight is empty or not finite.
        """
        check_weight(weight)
        bits, scales = self.split(as_kernel(weight.detach()).double())
        return BitPlanes(bits.cpu().numpy(), scales.cpu().numpy(), grouping=self.grouping)

    def forward(self, weight):
        """The quantized weight, of the weight's shape and dtype."""
        values, slope = self.quantize(working(as_kernel(weight)))
        return straight_through(weight, values.reshape(weight.shape),
                                None if slope is None else slope.reshape(weight.shape))


class ActivationQuantizer(nn.Module):
    """Base of activation quantizers: codes are ranks ``0 .. 2 ** bits - 1``, which rise with what
    they encode; their values need not.

    Attributes
    ----------
    bits : int
        Bits of a code.
    pad_code : int
        Code that stands outside a feature map: in training, in the snapped model, in the machine.
    clip_decay : float
        Weight decay of this quantizer's own parameters, its clipping level: that of gradient
        descent, ``clip_decay / 2 * alpha ** 2`` in the loss. An optimizer that scales gradients
        would take its strength away.
    post_training : bool
        Whether :meth:`calibrate` takes the place of training.
    signed : bool
        Whether there are values below 0.
    rising : bool
        Whether values rise with codes. Where they do not, the maximum of codes is not that of
        their values.
    absorbs : tuple of str
        Functions (operators of :mod:`sw.ops`) that it takes the place of where they stand right
        before it. An unsigned quantizer clips at 0 itself, so a ReLU there changes nothing.
    """

    graph_role = "quantizer"
    signed = False
    rising = True
    absorbs: tuple = ("relu",)
    clip_decay = 0.0
    post_training = False
    pad_code = 0
    bits: int

    def codebook(self) -> BitPlanes:
        """Planes ``(k, 2 ** k)`` and scales of every code, plane 0 the most significant bit. The
        offset is the sum of the scales for unsigned codes, 0 for symmetric ones, half a step below
        0 for two's complement."""
        raise NotImplementedError

    def encode(self, x):
        """Codes of a float tensor: int64, the same shape. Rises with x; ties as the paper says."""
        raise NotImplementedError

    def calibrate(self, values):
        """Sets scales from calibration data, where :attr:`post_training` is set.

        Parameters
        ----------
        values : callable
            Every call gives a fresh iterator over batches of what the quantizer reads.
        """
        raise NotImplementedError

    def levels(self):
        """Values of all codes, in the order of the codes: a float tensor. Looks at no number on the
        host where a subclass says it in torch."""
        return torch.from_numpy(self.codebook().reconstruct())

    def decode(self, codes, dtype=torch.float32):
        """Values of codes."""
        values = self.levels().to(dtype)
        return values.index_select(0, codes.flatten()).reshape(codes.shape)

    def pad_value(self):
        """Value of the padding: a float, or a tensor of shape ``()`` where it is trained."""
        return self.levels()[self.pad_code]
