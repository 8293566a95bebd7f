"""PACT and PACT+: unsigned activations clipped at a trained level (arXiv 1805.06085, 1807.06964).

``y = round(clip(x, 0, alpha) * n / alpha) * alpha / n`` with ``n = 2 ** bits - 1``. The gradient
takes the rounding for the identity, so that alpha learns from what it clips; PACT+ gives it its
share of the rounding error inside, too.
"""

import torch
from torch import nn

from .base import ActivationQuantizer, check_bits
from .planes import unsigned_codebook
from .straight_through import shown, straight_through, working

__all__ = ["PactActivation"]

_SMALLEST_CLIP = 2.0 ** -10


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
    clip_decay : float
        Weight decay on alpha, 0 or more, see :class:`ActivationQuantizer`; the trainer applies it.
    plus : bool
        Whether gradients are those of PACT+.

    Attributes
    ----------
    alpha : scalar parameter
        Clipping level. Should training drive it below ``2 ** -10``, that is what clips.
    """

    def __init__(self, bits=2, alpha=4.0, clip_decay=1e-3, *, plus=False):
        super().__init__()
        self.bits = check_bits("PactActivation", bits)
        if not 0 < alpha < float("inf"):
            raise ValueError(f"PactActivation alpha must be positive and finite, not {alpha!r}")
        if not 0 <= clip_decay < float("inf"):
            raise ValueError("PactActivation clip_decay must be 0 or more and finite, "
                             f"not {clip_decay!r}")
        self.alpha = nn.Parameter(torch.tensor(float(alpha)))
        self.clip_decay = float(clip_decay)
        self.plus = bool(plus)

    def extra_repr(self):
        """Parameters, for ``repr``."""
        plus = ", plus=True" if self.plus else ""
        return f"bits={self.bits}, alpha={shown(self.alpha)}{plus}"

    def _clip(self):
        # An optimizer may step alpha past zero; the code must stay defined and rising.
        return self.alpha.detach().clamp_min(_SMALLEST_CLIP)

    def codebook(self):
        """See :meth:`ActivationQuantizer.codebook`."""
        return unsigned_codebook(self.bits, float(self._clip().double()) / (2 ** self.bits - 1))

    def levels(self):
        """See :meth:`ActivationQuantizer.levels`."""
        codes = torch.arange(2 ** self.bits, device=self.alpha.device)
        return codes * (working(self._clip()) / (2 ** self.bits - 1))

    def pad_value(self):
        """Value of the padding, 0 where it is code 0."""
        return super().pad_value() if self.pad_code else 0.0

    def _ranks(self, values, clip):
        top = 2 ** self.bits - 1
        return torch.minimum(values.clamp_min(0), clip).mul_(top).div_(clip).round_()

    def encode(self, x):
        """Codes; a value halfway between two goes to the even one."""
        values = working(x)
        return self._ranks(values, self._clip().to(values.dtype)).long()

    def forward(self, x):
        """Quantized activation with gradients to x and alpha."""
        values = working(x)
        clip = self._clip().to(values.dtype)
        quantized = self._ranks(values, clip) * (clip / (2 ** self.bits - 1))
        to_alpha = values >= clip
        inside = ((values > 0) if self.plus else (values >= 0)) & ~to_alpha
        if self.plus:
            to_alpha = torch.where(inside, (quantized - values) / clip, to_alpha.to(values.dtype))
        return straight_through(x, quantized, inside, self.alpha, to_alpha)
