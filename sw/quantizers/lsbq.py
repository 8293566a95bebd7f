"""LSBQ: least-squares binary quantization of weights and activations (arXiv 2001.02786)."""

from dataclasses import dataclass

import torch

from ..bitplanes import BitPlanes
from .base import ActivationQuantizer, WeightQuantizer, check_choice
from .config import SchemeConfig
from .least_squares import METHODS, residual_signs, residuals, solve_scales
from .planes import binary_planes
from .registry import look_up, register_scheme
from .straight_through import in_backward, keep_nan, readable, straight_through, working

__all__ = ["AVERAGES", "LsbqActivation", "LsbqConfig", "LsbqWeight"]

AVERAGES = ("off", "eval_only", "train_and_eval")
"""When an activation uses the moving average of its scales instead of every sample's own ones."""


def _passed(x, scales):
    """Values of x at these scales, and the gradient factor.

    The authors' straight-through rule: scales are constants, and d sgn(z) / dz is 1 for |z| <= 1,
    whatever the scale.
    """
    values = slope = None
    for scale, (residual, signed) in zip(scales, residuals(x, scales), strict=True):
        share = scale * (residual.abs() <= 1)
        values = signed if values is None else values + signed
        slope = share if slope is None else slope + share * (1 - slope)
    return values, slope


class LsbqWeight(WeightQuantizer):
    """Least-squares planes of a weight, one set of scales per output channel.

    Parameters
    ----------
    method : str
        One of :data:`sw.quantizers.least_squares.METHODS`.
    """

    def __init__(self, method="ls1"):
        super().__init__()
        self.levels = look_up(METHODS, method, "LsbqWeight method").levels
        self.method = method

    def extra_repr(self):
        """Parameters, for ``repr``."""
        return f"method={self.method!r}"

    def split(self, kernel):
        """See :meth:`WeightQuantizer.split`."""
        scales = solve_scales(kernel.flatten(1), self.method)
        return residual_signs(kernel, scales[..., None, None, None]), scales.unsqueeze(2)

    def quantize(self, kernel):
        """See :meth:`WeightQuantizer.quantize`."""
        scales = solve_scales(kernel.flatten(1), self.method).to(kernel.dtype)
        return _passed(kernel, scales[..., None, None, None])


class LsbqActivation(ActivationQuantizer):
    """Signed least-squares planes of an activation.

    Every sample has its own best scales. Their mean over a batch goes into a moving average, which
    makes one set of scales for the layer; ``averages`` says when it is used. ``train_and_eval``:
    always, from the first batch on. ``eval_only``: in training a sample's own scales are. ``off``:
    they are in evaluation, too. No machine has scales that depend on the sample, so a layer with
    ``off`` has no code book and cannot be snapped.

    The quantizer is the nonlinearity of the paper's block: batch norm, quantizer, convolution. So a
    ReLU right before it gives way to it; of values that are never negative, one plane would be
    constant. Every other function before it keeps its meaning, and so does a ReLU elsewhere.

    Only ``ternary`` has a level for zero. A feature map is padded with the code of numbers just
    below zero; with ``off``, in torch only, with zero itself.

    Parameters
    ----------
    method : str
        One of :data:`sw.quantizers.least_squares.METHODS`.
    clamp : float
        Activations are clipped to ``-clamp .. clamp`` first.
    momentum : float
        Share of the old average that stays with each batch, 0 to 1.
    averages : str
        One of :data:`AVERAGES`.

    Attributes
    ----------
    scales : tensor, shape ``(bits,)``
        The moving average.
    """

    signed = True
    scales: torch.Tensor
    batches: torch.Tensor

    def __init__(self, method="ls2", clamp=2.0, momentum=0.9, averages="train_and_eval"):
        super().__init__()
        self.bits = look_up(METHODS, method, "LsbqActivation method").planes
        if not 0 < clamp < float("inf"):
            raise ValueError(f"LsbqActivation clamp must be positive and finite, not {clamp!r}")
        if not 0 <= momentum <= 1:
            raise ValueError(f"LsbqActivation momentum must be from 0 to 1, not {momentum!r}")
        self.method = method
        # Each plane of a greedy method is the best one for what those before it leave: nothing
        # says that it is the smaller one.
        self.rising = not method.startswith("greedy") or self.bits == 1
        self.clamp = float(clamp)
        self.momentum = float(momentum)
        self.averages = check_choice("LsbqActivation averages", averages, AVERAGES)
        self.pad_code = 2 ** (self.bits - 1) - 1
        self.register_buffer("scales", torch.zeros(self.bits))
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))

    def extra_repr(self):
        """Parameters, for ``repr``."""
        return (f"method={self.method!r}, clamp={self.clamp}, momentum={self.momentum}, "
                f"averages={self.averages!r}")

    def _stored(self):
        if self.averages == "off":
            raise ValueError("LsbqActivation averages must be 'eval_only' or 'train_and_eval' for "
                             "a layer with one set of scales, not 'off'")
        if readable(self.batches) and not int(self.batches):
            raise ValueError("LsbqActivation has no stored scales; run a batch in training mode")
        return self.scales

    def codebook(self):
        """See :meth:`ActivationQuantizer.codebook`."""
        scales = self._stored().double().cpu().numpy().reshape(-1, 1, 1)
        return BitPlanes(binary_planes(self.bits), scales)

    def levels(self):
        """See :meth:`ActivationQuantizer.levels`."""
        scales = self._stored()
        codes = torch.arange(2 ** self.bits, device=scales.device)
        return sum((2 * (codes >> shift & 1) - 1) * scale
                   for shift, scale in zip(reversed(range(self.bits)), scales, strict=True))

    def pad_value(self):
        """Value of the padding: a tensor, or 0 where every sample has scales of its own."""
        return 0.0 if self.averages == "off" else super().pad_value()

    def encode(self, x):
        """Codes by the stored scales; a number at a threshold has the higher code."""
        bits = residual_signs(x.clamp(-self.clamp, self.clamp), self._stored().to(x.dtype))
        return _ranks(bits)

    def sample_scales(self, x):
        """Scales of every sample of a batch: float64, shape ``(bits, samples)``."""
        return solve_scales(x.flatten(1), self.method)

    def _observe(self, scales):
        mean = scales.mean(dim=1).to(self.scales.dtype)
        moved = self.momentum * self.scales + (1 - self.momentum) * mean
        self.scales.copy_(torch.where(self.batches > 0, moved, mean))
        self.batches += 1

    def forward(self, x):
        """Quantized activation; the gradient is that of the paper within the clip, 0 outside."""
        values = working(x)
        clipped = values.clamp(-self.clamp, self.clamp)
        own = self.averages == "off" or (self.averages == "eval_only" and self.training)
        observed = self.training and self.averages != "off" and not in_backward()
        if own or observed:
            scales = self.sample_scales(clipped)
            if observed:
                self._observe(scales)
        if own:
            scales = scales.to(clipped.dtype).reshape(self.bits, -1, *[1] * (x.dim() - 1))
        else:
            scales = self._stored().to(clipped.dtype)
        quantized, slope = _passed(clipped, scales)
        return straight_through(x, keep_nan(clipped, quantized),
                                slope * (values.abs() <= self.clamp))


def _ranks(bits):
    """The signs of one value read as a binary number: int64, the same shape."""
    code = torch.zeros_like(bits[0], dtype=torch.uint8)
    for bit in bits.view(torch.uint8):
        code = code * 2 + bit
    return code.long()


@dataclass(frozen=True, kw_only=True)
class LsbqConfig(SchemeConfig):
    """Least-squares weights and activations.

    Parameters
    ----------
    weights, activations : str
        Of :data:`sw.quantizers.least_squares.METHODS`.
    clamp, momentum, averages
        Of :class:`LsbqActivation`.
    """

    weights: str = "ls1"
    activations: str = "ls2"
    clamp: float = 2.0
    momentum: float = 0.9
    averages: str = "train_and_eval"

    def weight_quantizer(self, weight):
        """See :meth:`SchemeConfig.weight_quantizer`."""
        return LsbqWeight(self.weights)

    def activation_quantizer(self):
        """See :meth:`SchemeConfig.activation_quantizer`."""
        return LsbqActivation(self.activations, self.clamp, self.momentum, self.averages)


register_scheme("lsbq-w1a1", LsbqConfig(activations="ls1"))
register_scheme("lsbq-w1a2", LsbqConfig())
register_scheme("lsbq-w2a2", LsbqConfig(weights="ls2"))
register_scheme("lsbq-w1g3", LsbqConfig(activations="greedy-3"))
register_scheme("lsbq-wtat", LsbqConfig(weights="ternary", activations="ternary"))
