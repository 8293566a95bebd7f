"""LSBQ: least-squares binary quantization with one or two planes (arXiv 2001.02786).

A value is approximated by ``sum_i v_i s_i`` with ``v_1 >= .. >= v_k >= 0``; signs are the signs of
successive residuals (a residual of 0 counts as positive), scales minimize the squared error.
"""

from dataclasses import dataclass

import torch

from ..bitplanes import BitPlanes
from .base import ActivationQuantizer, WeightQuantizer, check_bits, straight_through
from .config import SchemeConfig
from .planes import binary_planes
from .registry import register_scheme

__all__ = ["LsbqActivation", "LsbqConfig", "LsbqWeight", "least_squares_scales", "residual_signs"]


def least_squares_scales(rows, bits):
    """Optimal scales of every row.

    Parameters
    ----------
    rows : float tensor, shape ``(rows, n)``, n >= 1
    bits : int
        1, or 2 for the optimum of two planes.

    Returns
    -------
    float64 tensor, shape ``(bits, rows)``, descending along the first axis.
    """
    magnitudes = rows.detach().abs()
    count = magnitudes.shape[1]
    if bits == 1 or count == 1:
        mean = magnitudes.double().mean(dim=1)
        return torch.stack([mean, torch.zeros_like(mean)][:bits])
    ordered = magnitudes.sort(dim=1).values.double()
    mean = ordered.mean(dim=1, keepdim=True)
    # Two-means clustering of the magnitudes. Centred prefix sums: the gain of a split over no split
    # is then a square, free of the cancellation that tight clusters suffer otherwise.
    prefix = (ordered - mean).cumsum(dim=1)[:, :-1]
    low_count = torch.arange(1, count, dtype=torch.float64)
    gain = prefix.square() / (low_count * (count - low_count))
    best = gain.argmax(dim=1, keepdim=True)
    low_sum = prefix.gather(1, best)
    low_mean = mean + low_sum / (best + 1)
    high_mean = mean - low_sum / (count - 1 - best)
    scales = torch.cat([high_mean + low_mean, high_mean - low_mean], dim=1) / 2
    constant = ordered[:, :1] == ordered[:, -1:]
    single = torch.cat([ordered[:, :1], torch.zeros_like(mean)], dim=1)
    return torch.where(constant, single, scales).clamp_min(0.0).T.contiguous()


def residual_signs(x, scales):
    """Signs of successive residuals as booleans, shape ``(k, *x.shape)``.

    ``scales`` has k entries that broadcast against x.
    """
    bits, residual = [], x
    for scale in scales:
        bit = residual >= 0
        bits.append(bit)
        residual = residual - torch.where(bit, scale, -scale)
    return torch.stack(bits)


def _slope(x, bits, scales):
    # Scales are constants and d sgn(z) / dz is 1 for |z| <= 1, whatever the scale (papers: 1.4).
    slope, residual = torch.zeros_like(x), x
    for bit, scale in zip(bits, scales, strict=True):
        slope = slope + scale * (residual.abs() <= 1) * (1 - slope)
        residual = residual - torch.where(bit, scale, -scale)
    return slope


class LsbqWeight(WeightQuantizer):
    """Least-squares planes of a weight, one set of scales per output channel.

    Parameters
    ----------
    bits : int
        Planes, 1 or 2.
    """

    def __init__(self, bits=1):
        super().__init__()
        self.bits = check_bits("LsbqWeight", bits, high=2)
        self.levels = 2 ** bits

    def split(self, kernel):
        """See :meth:`WeightQuantizer.split`."""
        scales = least_squares_scales(kernel.flatten(1), self.bits)
        return residual_signs(kernel, scales.reshape(*scales.shape, 1, 1, 1)), scales.unsqueeze(2)

    def slope(self, kernel, scales):
        """See :meth:`WeightQuantizer.slope`."""
        scales = scales.reshape(*scales.shape[:2], 1, 1, 1)
        return _slope(kernel, residual_signs(kernel, scales), scales)


class LsbqActivation(ActivationQuantizer):
    """Signed least-squares planes of an activation, one set of scales per layer.

    The scales are a moving average of the mean over samples of each sample's optimal scales. Once a
    first batch was seen in training, the stored average is what is used, in training and after it.
    There is no code for zero: the padding is :attr:`code_below_zero`, the level nearest it from
    below.

    Parameters
    ----------
    bits : int
        Planes, 1 or 2.
    clamp : float
        Activations are clipped to ``-clamp .. clamp`` first.
    momentum : float
        Share of the old average that stays with each batch, 0 to 1.
    batch_scales_in_training : bool
        Use each sample's own scales while training; the average is then for evaluation only.
    samples : int or None
        Look at so many samples of a batch only: finding scales means sorting, which costs more than
        the convolution. None: all.

    Attributes
    ----------
    scales : tensor, shape ``(bits,)``
        Stored scales, descending.
    code_below_zero : int
    """

    scales: torch.Tensor
    batches: torch.Tensor

    def __init__(self, bits=2, clamp=2.0, momentum=0.99, batch_scales_in_training=False,
                 samples=None):
        super().__init__()
        self.bits = check_bits("LsbqActivation", bits, high=2)
        if not clamp > 0:
            raise ValueError(f"LsbqActivation clamp must be positive, not {clamp!r}")
        if not 0 <= momentum <= 1:
            raise ValueError(f"LsbqActivation momentum must be from 0 to 1, not {momentum!r}")
        if samples is not None and (not isinstance(samples, int) or samples < 1):
            raise ValueError(f"LsbqActivation samples must be a positive integer or None, "
                             f"not {samples!r}")
        self.samples = None if batch_scales_in_training else samples
        self.clamp = float(clamp)
        self.momentum = float(momentum)
        self.pad_code = self.code_below_zero = 2 ** (bits - 1) - 1
        self.batch_scales_in_training = bool(batch_scales_in_training)
        self.register_buffer("scales", torch.zeros(bits))
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))

    def extra_repr(self):
        """Parameters, for ``repr``."""
        return f"bits={self.bits}, clamp={self.clamp}, momentum={self.momentum}"

    def _stored(self):
        if not int(self.batches):
            raise ValueError("LsbqActivation has no stored scales; run a batch in training mode")
        return self.scales

    def codebook(self):
        """See :meth:`ActivationQuantizer.codebook`."""
        scales = self._stored().double().numpy().reshape(-1, 1, 1)
        return BitPlanes(binary_planes(self.bits), scales)

    def encode(self, x):
        """Codes by the stored scales; x = +v1 goes to the outer level, x = -v1 to the inner one."""
        bits = residual_signs(x.clamp(-self.clamp, self.clamp), self._stored().to(x.dtype))
        return self._rank(bits)

    @staticmethod
    def _rank(bits):
        code = torch.zeros_like(bits[0], dtype=torch.int64)
        for bit in bits:
            code = code * 2 + bit
        return code

    def _observe(self, clipped):
        batch = least_squares_scales(clipped[:self.samples].flatten(1), self.bits)
        mean = batch.mean(dim=1).to(self.scales.dtype)
        if int(self.batches):
            mean = self.momentum * self.scales + (1 - self.momentum) * mean
        self.scales.copy_(mean)
        self.batches += 1
        return batch.to(clipped.dtype).reshape(self.bits, -1, *[1] * (clipped.dim() - 1))

    def forward(self, x):
        """Quantized activation, with the straight-through gradient of section 1.4 inside the
        clip."""
        clipped = x.detach().clamp(-self.clamp, self.clamp)
        batch = self._observe(clipped) if self.training else None
        if batch is not None and self.batch_scales_in_training:
            bits = residual_signs(clipped, batch)
            quantized = sum(torch.where(bit, v, -v) for bit, v in zip(bits, batch, strict=True))
            scales = batch
        else:
            scales = self._stored().to(x.dtype)
            bits = residual_signs(clipped, scales)
            quantized = self.decode(self._rank(bits), x.dtype)
        slope = _slope(clipped, bits, scales) * (x.detach().abs() <= self.clamp)
        return straight_through(x, quantized, slope)


@dataclass(frozen=True, kw_only=True)
class LsbqConfig(SchemeConfig):
    """Least-squares weights and activations.

    Parameters
    ----------
    weight_bits, activation_bits : int
        1 or 2.
    clamp, momentum, samples
        Of :class:`LsbqActivation`.
    """

    weight_bits: int = 1
    activation_bits: int = 2
    clamp: float = 2.0
    momentum: float = 0.9
    samples: int | None = 16

    def weight_quantizer(self, weight):
        """See :meth:`SchemeConfig.weight_quantizer`."""
        return LsbqWeight(self.weight_bits)

    def activation_quantizer(self):
        """See :meth:`SchemeConfig.activation_quantizer`."""
        return LsbqActivation(self.activation_bits, self.clamp, self.momentum,
                              samples=self.samples)


register_scheme("lsbq-w1a2", LsbqConfig())
