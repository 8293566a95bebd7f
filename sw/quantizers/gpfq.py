"""GPFQ: greedy path-following quantization, after training (arXiv 2201.11113).

The weights of a neuron are quantized one after the other; each takes the level that best makes up
for the error which those before it left in the neuron's output on calibration data. With H and G of
:class:`~sw.quantizers.gram.GramSums` the rounding argument of weight t is

``z_t = (sum_(j <= t) G_tj w_j - sum_(j < t) H_tj q_j) / H_tt``,

the projection of the path-following recursion without its sample-sized state.
"""

from dataclasses import dataclass

import numpy as np
import torch

from .alphabet import Alphabet
from .base import WeightQuantizer
from .clipped import ClippedActivation
from .config import SchemeConfig
from .registry import register_scheme
from .straight_through import readable, shown

__all__ = ["GpfqConfig", "GpfqWeight", "gpfq", "radius"]

_BLOCK = 64


def radius(weight, percentile=1.0):
    """Mean over neurons of a quantile of ``|w|``, a float.

    Parameters
    ----------
    weight : float tensor, shape ``(neurons, inputs)``
    percentile : float
        0 to 1; 1 is the largest.
    """
    return float(_radius(weight.detach().double(), percentile))


def _radius(weight, percentile):
    magnitudes = weight.abs()
    if percentile == 1:
        return magnitudes.amax(dim=1).mean()
    # Interpolated between the two nearest: ``torch.quantile`` takes no large tensors.
    ordered, place = magnitudes.sort(dim=1).values, percentile * (magnitudes.shape[1] - 1)
    low = int(place)
    high = min(low + 1, magnitudes.shape[1] - 1)
    return torch.lerp(ordered[:, low], ordered[:, high], place - low).mean()


def gpfq(weight, gram, cross, alphabet, step, generator=None):
    """Quantizes neurons so that ``Xt q`` follows ``X w`` on calibration data.

    The result is that of the recursion over samples (section 4.1), weights in their natural order.
    An input that is 0 in all samples has the argument 0.

    Parameters
    ----------
    weight : float tensor, shape ``(neurons, inputs)``
        Neurons of one group follow each other.
    gram, cross : float64 tensor, shape ``(inputs, inputs)`` or ``(groups, inputs, inputs)``
        ``Xt.T @ Xt`` and ``Xt.T @ X`` of analog inputs X and quantized inputs Xt.
    alphabet : Alphabet
    step : float
    generator : numpy.random.Generator, optional
        Rounds stochastically.

    Returns
    -------
    float64 tensor, shape ``(neurons, inputs)``

    Raises
    ------
    ValueError
        If shapes do not fit each other.
    """
    inputs = weight.shape[1]
    groups = [each.reshape(-1, *each.shape[-2:]) for each in (gram, cross)]
    if any(each.shape != (len(groups[0]), inputs, inputs) for each in groups):
        raise ValueError(f"gpfq gram and cross must have shape (groups, {inputs}, {inputs}), "
                         f"not {tuple(gram.shape)} and {tuple(cross.shape)}")
    if len(weight) % len(groups[0]):
        raise ValueError(f"gpfq weight must have a multiple of {len(groups[0])} neurons, one part "
                         f"a group, not {len(weight)}")
    parts = weight.detach().double().chunk(len(groups[0]))
    return torch.cat([
        torch.from_numpy(_follow(part.numpy(), h.numpy(), g.numpy(), alphabet, step, generator))
        for part, h, g in zip(parts, *groups, strict=True)])


def _follow(weight, gram, cross, alphabet, step, generator):
    w = np.ascontiguousarray(weight.T)
    q = np.empty_like(w)
    norms = gram.diagonal()
    norms = np.where(norms > 0, norms, 1.0)
    for start in range(0, len(w), _BLOCK):
        # What the blocks before leave to this one is two matrix products; within it, rows wait for
        # each other.
        stop = start + _BLOCK
        block = cross[start:stop, :start] @ w[:start] - gram[start:stop, :start] @ q[:start]
        block += np.tril(cross[start:stop, start:stop]) @ w[start:stop]
        for t, left in enumerate(block, start):
            z = (left - gram[t, start:t] @ q[start:t]) / norms[t]
            draw = 0.5 if generator is None else generator.random(len(z))
            q[t] = alphabet.round(z, step, draw)
    return q.T


class GpfqWeight(WeightQuantizer):
    """Levels of an :class:`~sw.quantizers.alphabet.Alphabet`, solved for from calibration data.

    Once solved, the layer's weight itself holds quantized values and the step is stored: rounding
    to the nearest level changes nothing any more. Before, it is plain rounding, with the step that
    the weight at hand asks for.

    Parameters
    ----------
    alphabet : Alphabet
    scalar : float
        C: the largest level is C times :func:`radius`. Positive.
    percentile : float
        Of :func:`radius`, above 0 and up to 1.
    seed : int or None
        Rounds stochastically in :meth:`solve`, with draws of this seed.
    bias_correction : bool
        See :class:`WeightQuantizer`.

    Attributes
    ----------
    step : tensor, shape ``()``
        0 until solved.
    """

    post_training = True
    step: torch.Tensor

    def __init__(self, alphabet, scalar=1.0, percentile=1.0, seed=None, bias_correction=True):
        super().__init__()
        if not 0 < scalar < float("inf"):
            raise ValueError(f"GpfqWeight scalar must be positive and finite, not {scalar!r}")
        if not 0 < percentile <= 1:
            raise ValueError("GpfqWeight percentile must be above 0 and at most 1, "
                             f"not {percentile!r}")
        self.alphabet, self.levels = alphabet, alphabet.levels
        self.scalar, self.percentile, self.seed = scalar, percentile, seed
        self.bias_correction = bias_correction
        self.register_buffer("step", torch.zeros(()))

    def extra_repr(self):
        """Parameters, for ``repr``."""
        return f"{self.alphabet}, step={shown(self.step)}"

    def _fresh_step(self, weight):
        reach = self.scalar * radius(weight.flatten(1), self.percentile)
        # As the buffer will hold it: what is solved for is then what is rounded to.
        return float(np.float32(self.alphabet.step(reach)))

    def solve(self, weight, sums):
        """See :meth:`WeightQuantizer.solve`; sets :attr:`step`."""
        step = self._fresh_step(weight)
        generator = None if self.seed is None else np.random.default_rng(self.seed)
        solved = gpfq(weight.flatten(1), sums.gram, sums.cross, self.alphabet, step, generator)
        self.step.fill_(step)
        # Rounded once more: what is stored is what forward gives, to the last bit.
        return self(solved.reshape(weight.shape).to(weight.dtype))

    def _step(self, kernel):
        """The stored step, or before there is one a fresh one: a tensor of the kernel's dtype."""
        stored = self.step.to(kernel.dtype)
        if readable(self.step) and readable(kernel):
            return stored if float(stored) else stored.new_tensor(self._fresh_step(kernel))
        reach = self.scalar * _radius(kernel.flatten(1), self.percentile)
        hard = self.alphabet.threshold if self.alphabet.sparsity == "hard" else 0.0
        return torch.where(stored > 0, stored, (reach - hard) / self.alphabet.half)

    def split(self, kernel):
        """See :meth:`WeightQuantizer.split`."""
        step = self._step(kernel)
        return self.alphabet.planes(self.alphabet.codes(kernel, step), step)

    def quantize(self, kernel):
        """See :meth:`WeightQuantizer.quantize`; the gradient passes everywhere."""
        step = self._step(kernel)
        return self.alphabet.values(self.alphabet.codes(kernel, step), step), None


@dataclass(frozen=True, kw_only=True)
class GpfqConfig(SchemeConfig):
    """GPFQ weights, and unsigned activations clipped for the least squared error.

    Parameters
    ----------
    weight_bits : int
        Bits of the :class:`~sw.quantizers.alphabet.Alphabet`.
    activation_bits : int
    midrise, sparsity, threshold
        Of :class:`~sw.quantizers.alphabet.Alphabet`.
    scalar, percentile, bias_correction
        Of :class:`GpfqWeight`.
    stochastic : bool
        Whether to round stochastically.
    seed : int
        Of stochastic rounding.
    """

    post_training = True

    weight_bits: int = 4
    activation_bits: int = 4
    midrise: bool = False
    sparsity: str | None = None
    threshold: float = 0.0
    scalar: float = 1.0
    percentile: float = 1.0
    bias_correction: bool = True
    stochastic: bool = False
    seed: int = 0

    def weight_quantizer(self, weight):
        """See :meth:`SchemeConfig.weight_quantizer`."""
        alphabet = Alphabet(self.weight_bits, self.midrise, self.sparsity, self.threshold)
        return GpfqWeight(alphabet, self.scalar, self.percentile,
                          self.seed if self.stochastic else None, self.bias_correction)

    def activation_quantizer(self):
        """See :meth:`SchemeConfig.activation_quantizer`."""
        return ClippedActivation(self.activation_bits)


register_scheme("gpfq-w4a4", GpfqConfig())
register_scheme("gpfq-w3a4", GpfqConfig(weight_bits=3))
