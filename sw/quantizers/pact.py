"""PACT: unsigned activations clipped at a trained level (arXiv 1805.06085)."""

import torch
from torch import nn

from .base import ActivationQuantizer, check_bits
from .planes import unsigned_codebook

__all__ = ["PactActivation"]

_SMALLEST_CLIP = 2.0 ** -10


class _Pact(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, alpha, quantized, clip):
        ctx.save_for_backward(x >= clip, (x >= 0) & (x < clip))
        return quantized.to(x.dtype)

    @staticmethod
    def backward(ctx, *grads):
        above, inside = ctx.saved_tensors
        return grads[0] * inside, (grads[0] * above).sum(), None, None


class PactActivation(ActivationQuantizer):
    """``round(clip(x, 0, alpha) * n / alpha) * alpha / n`` with ``n = 2 ** bits - 1``, half to
    even.

    The gradient to x passes where ``0 <= x < alpha``; where ``x >= alpha`` it goes to alpha.

    Parameters
    ----------
    bits : int
        Bits of a code, 1 to 8.
    alpha : float
        Initial clipping level, positive.
    decay : float
        Weight decay on alpha.
    """

    def __init__(self, bits=2, alpha=8.0, decay=2e-4):
        super().__init__()
        self.bits = check_bits("PactActivation", bits)
        if not 0 < alpha < float("inf"):
            raise ValueError(f"PactActivation alpha must be positive and finite, not {alpha!r}")
        self.alpha = nn.Parameter(torch.tensor(float(alpha)))
        self.decay = float(decay)

    def extra_repr(self):
        """Parameters, for ``repr``."""
        return f"bits={self.bits}, alpha={float(self.alpha.detach()):.4g}"

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
        quantized = self.decode(self.encode(x.detach()), x.dtype)
        return _Pact.apply(x, self.alpha, quantized, self._clip().to(x.dtype))
