"""PACT and PACT+: unsigned activations clipped at a trained level (arXiv 1805.06085, 1807.06964).

``y = round(clip(x, 0, alpha) * n / alpha) * alpha / n`` with ``n = 2 ** bits - 1``. The gradient
takes the rounding for the identity, so that alpha learns from what it clips; PACT+ gives it its
share of the rounding error inside, too.
"""

import torch
from torch import nn

from .base import ActivationQuantizer, check_bits
from .planes import unsigned_codebook

__all__ = ["PactActivation"]

_SMALLEST_CLIP = 2.0 ** -10


class _Pact(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, alpha, quantized, inside, to_alpha):
        ctx.save_for_backward(inside, to_alpha)
        return quantized

    @staticmethod
    def backward(ctx, *grads):
        inside, to_alpha = ctx.saved_tensors
        return grads[0] * inside, (grads[0] * to_alpha).sum(), None, None, None


class PactActivation(ActivationQuantizer):
    """Codes 0 to ``2 ** bits - 1`` in steps of ``alpha / n``; a value halfway goes to the even one.

    With an upstream gradient g, x gets g where ``0 <= x < alpha`` and alpha the sum of g where
    ``x >= alpha``: at ``x == alpha`` the gradient is alpha's alone, as the step of ``clip`` to the
    right of it. With ``plus``, x gets g where ``0 < x < alpha``, and there alpha gets
    ``g * (y - x) / alpha`` besides, the derivative of ``alpha * round(x * n / alpha) / n`` with a
    straight-through rounding.

    Parameters
    ----------
    bits : int
        Bits of a code, 1 to 8.
    alpha : float
        Initial clipping level, positive.
    decay : float
        Weight decay on alpha, 0 or more; the trainer applies it.
    plus : bool
        Whether gradients are those of PACT+.

    Attributes
    ----------
    alpha : scalar parameter
        Clipping level. Should training drive it below ``2 ** -10``, that is what clips.
    """

    def __init__(self, bits=2, alpha=8.0, decay=2e-4, *, plus=False):
        super().__init__()
        self.bits = check_bits("PactActivation", bits)
        if not 0 < alpha < float("inf"):
            raise ValueError(f"PactActivation alpha must be positive and finite, not {alpha!r}")
        if not 0 <= decay < float("inf"):
            raise ValueError(f"PactActivation decay must be 0 or more and finite, not {decay!r}")
        self.alpha = nn.Parameter(torch.tensor(float(alpha)))
        self.decay = float(decay)
        self.plus = bool(plus)

    def extra_repr(self):
        """Parameters, for ``repr``."""
        plus = ", plus=True" if self.plus else ""
        return f"bits={self.bits}, alpha={float(self.alpha.detach()):.4g}{plus}"

    def _clip(self):
        # An optimizer may step alpha past zero; the code must stay defined and rising.
        return self.alpha.detach().clamp_min(_SMALLEST_CLIP)

    def codebook(self):
        """See :meth:`ActivationQuantizer.codebook`."""
        return unsigned_codebook(self.bits, float(self._clip().double()) / (2 ** self.bits - 1))

    def encode(self, x):
        """Codes; a value halfway between two goes to the even one."""
        clip = self._clip().to(x.dtype)
        top = 2 ** self.bits - 1
        return (torch.minimum(x.clamp_min(0), clip) * top / clip).round().long()

    def forward(self, x):
        """Quantized activation with gradients to x and alpha."""
        values, clip = x.detach(), self._clip().to(x.dtype)
        quantized = self.decode(self.encode(values), x.dtype)
        to_alpha = values >= clip
        inside = ((values > 0) if self.plus else (values >= 0)) & ~to_alpha
        if self.plus:
            to_alpha = torch.where(inside, (quantized - values) / clip, to_alpha.to(x.dtype))
        return _Pact.apply(x, self.alpha, quantized, inside, to_alpha)
