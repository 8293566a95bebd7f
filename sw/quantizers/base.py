"""What every quantizer offers: a straight-through float output, and the same as BitPlanes."""

import torch
from torch import nn

from ..bitplanes import BitPlanes

__all__ = ["ActivationQuantizer", "WeightQuantizer", "as_kernel", "check_bits", "check_choice",
           "check_weight", "straight_through"]


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, quantized, slope):
        ctx.save_for_backward(slope)
        return quantized.to(x.dtype)

    @staticmethod
    def backward(ctx, *grads):
        (slope,) = ctx.saved_tensors
        return grads[0] * slope, None, None


def straight_through(x, quantized, slope):
    """A tensor of value ``quantized`` whose gradient to ``x`` is ``slope`` times the upstream
    one."""
    return _StraightThrough.apply(x, quantized.detach(), slope.detach().to(x.dtype))


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
    """A linear weight ``(outputs, inputs)`` as a 1 x 1 kernel; a convolution's weight as it is."""
    return weight.reshape(*weight.shape, 1, 1) if weight.dim() == 2 else weight


def check_weight(weight):
    """Raises ValueError if a weight is empty or not finite."""
    if not weight.numel():
        raise ValueError(f"weight must not be empty, but has shape {tuple(weight.shape)}")
    wrong = ~torch.isfinite(weight.detach())
    if wrong.any():
        raise ValueError(f"weight must be finite, not {weight.detach()[wrong][0].item()!r}")


class WeightQuantizer(nn.Module):
    """Base of weight quantizers: a subclass says how to split a weight, and its gradient.

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
        kernel : float64 tensor, shape ``(outputs, inputs, height, width)``

        Returns
        -------
        bits : bool tensor, shape ``(k, outputs, inputs, height, width)``
        scales : float64 tensor, shape ``(k, 1 or outputs, groups)``
        """
        raise NotImplementedError

    def slope(self, kernel, scales):
        """Straight-through gradient factor, of the kernel's shape."""
        raise NotImplementedError

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
        return BitPlanes(bits.numpy(), scales.numpy(), grouping=self.grouping)

    def forward(self, weight):
        """The quantized weight, of the weight's shape and dtype."""
        kernel = as_kernel(weight.detach()).double()
        bits, scales = self.split(kernel)
        planes = BitPlanes(bits.numpy(), scales.numpy(), grouping=self.grouping)
        quantized = torch.from_numpy(planes.reconstruct()).reshape(weight.shape)
        return straight_through(weight, quantized,
                                self.slope(kernel, scales).reshape(weight.shape))


class ActivationQuantizer(nn.Module):
    """Base of activation quantizers: codes are ranks ``0 .. 2 ** bits - 1``, which rise with what
    they encode; their values need not.

    Attributes
    ----------
    bits : int
        Bits of a code.
    pad_code : int
        Code that stands outside a feature map: in training, in the snapped model, in the machine.
    decay : float
        Weight decay that a trainer should give this quantizer's own parameters.
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
    decay = 0.0
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

    def decode(self, codes, dtype=torch.float32):
        """Values of codes."""
        values = torch.from_numpy(self.codebook().reconstruct()).to(dtype)
        # Several times faster than values[codes], and it is done for every activation in training.
        return values.index_select(0, codes.flatten()).reshape(codes.shape)

    def pad_value(self):
        """Value of the padding, a float."""
        return float(self.codebook().reconstruct()[self.pad_code])
