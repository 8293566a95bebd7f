"""SymmetricActivation: even levels around zero, for values of both signs in a scheme whose own
activations have none below zero."""

import torch
from torch import nn

from ..bitplanes import BitPlanes
from .base import ActivationQuantizer, check_bits
from .planes import binary_planes
from .straight_through import readable, shown, straight_through, working

__all__ = ["SymmetricActivation"]

_SMALLEST_CLIP = 2.0 ** -10


class SymmetricActivation(ActivationQuantizer):
    """``2 ** bits`` even levels from ``-alpha`` to ``alpha``, zero not among them; a value halfway
    between two goes to the upper one.

    The clipping level alpha starts at three times the mean magnitude of the first batch, and is
    trained as PACT's: it gets the gradients of what it clips, with their sign.

    Parameters
    ----------
    bits : int
        Bits of a code, 1 to 8.
    clip_decay : float
        As of :class:`~sw.quantizers.pact.PactActivation`.

    Attributes
    ----------
    alpha : scalar parameter
        0 until the first batch in training, or calibration.
    """

    signed = True
    absorbs = ()

    def __init__(self, bits=2, clip_decay=1e-3):
        super().__init__()
        self.bits = check_bits("SymmetricActivation", bits)
        self.alpha = nn.Parameter(torch.tensor(0.0))
        self.clip_decay = float(clip_decay)
        self.pad_code = 2 ** (bits - 1) - 1

    def extra_repr(self):
        """Parameters, for ``repr``."""
        return f"bits={self.bits}, alpha={shown(self.alpha)}"

    def _clip(self):
        if readable(self.alpha) and not float(self.alpha.detach()):
            raise ValueError("SymmetricActivation has no clipping level; run a batch in training "
                             "mode")
        return self.alpha.detach().clamp_min(_SMALLEST_CLIP)

    def codebook(self):
        """See :meth:`ActivationQuantizer.codebook`."""
        step = float(self._clip().double()) / (2 ** self.bits - 1)
        scales = step * 2.0 ** torch.arange(self.bits - 1, -1, -1, dtype=torch.float64)
        return BitPlanes(binary_planes(self.bits), scales.reshape(-1, 1, 1).numpy())

    def levels(self):
        """See :meth:`ActivationQuantizer.levels`."""
        top = 2 ** self.bits - 1
        codes = torch.arange(top + 1, device=self.alpha.device)
        return (2 * codes - top) * (working(self._clip()) / top)

    def _ranks(self, values, clip):
        top = 2 ** self.bits - 1
        return (values / clip).add_(1).mul_(top / 2).add_(0.5).floor_().clamp(0, top)

    def encode(self, x):
        """Codes; a value halfway between two goes to the upper one."""
        values = working(x)
        return self._ranks(values, self._clip().to(values.dtype)).long()

    def calibrate(self, values):
        """See :meth:`ActivationQuantizer.calibrate`."""
        sizes = [(batch.abs().double().sum(), batch.numel()) for batch in values()]
        self._start(sum(total for total, _ in sizes) / sum(count for _, count in sizes))

    def _start(self, mean):
        with torch.no_grad():
            self.alpha.fill_(max(3 * float(mean), _SMALLEST_CLIP))

    def _start_unset(self, values):
        """Starts alpha if nothing has; where that cannot be seen, by numbers alone."""
        if readable(self.alpha) and float(self.alpha.detach()):
            return
        start = (3 * values.abs().mean()).clamp_min(_SMALLEST_CLIP).to(self.alpha.dtype)
        with torch.no_grad():
            self.alpha.copy_(torch.where(self.alpha == 0, start, self.alpha))

    def forward(self, x):
        """Quantized activation with gradients to x and alpha."""
        values = working(x)
        if self.training:
            self._start_unset(values)
        clip, top = self._clip().to(values.dtype), 2 ** self.bits - 1
        quantized = self._ranks(values, clip).mul_(2).sub_(top).mul_(clip / top)
        inside = values.abs() < clip
        return straight_through(x, quantized, inside, self.alpha, values.sign() * ~inside)
