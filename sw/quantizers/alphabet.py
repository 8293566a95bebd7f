"""Alphabet: the equispaced levels of GPFQ, and the rules that round to them (arXiv 2201.11113)."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from .base import check_bits
from .planes import even_planes, midtread_planes

__all__ = ["Alphabet"]

_MOST_PLANES = 8


@dataclass(frozen=True)
class Alphabet:
    """Equispaced levels, and the rules that round to them.

    Parameters
    ----------
    bits : int
        With ``K = 2 ** (bits - 1)``, the 2 K + 1 levels ``k * step``, ``|k| <= K``.
    midrise : bool
        The 2 K levels ``(k + 1 / 2) * step``, ``-K <= k < K`` instead: no zero, one plane less (not
        in the paper).
    sparsity : {None, "soft", "hard"}
        What happens to small arguments, see :meth:`round`. Hard adds the threshold to all levels
        but zero, on both sides: ``0, +-(threshold + k * step)``, ``0 <= k <= K``.
    threshold : float
        Positive with a sparsity, else 0.

    Raises
    ------
    ValueError
        If an option is none of these, or the levels take more than 8 planes.
    """

    bits: int
    midrise: bool = False
    sparsity: str | None = None
    threshold: float = 0.0

    def __post_init__(self):
        if self.sparsity not in (None, "soft", "hard"):
            raise ValueError("Alphabet sparsity must be None, 'soft' or 'hard', "
                             f"not {self.sparsity!r}")
        if self.midrise and self.sparsity:
            raise ValueError("Alphabet sparsity must be None with midrise levels, which have no "
                             f"zero, not {self.sparsity!r}")
        if not (0 < self.threshold < np.inf if self.sparsity else self.threshold == 0):
            demand = "positive and finite" if self.sparsity else "0"
            raise ValueError(f"Alphabet threshold must be {demand} with sparsity "
                             f"{self.sparsity!r}, not {self.threshold!r}")
        check_bits("Alphabet", self.bits, high=_MOST_PLANES - self._extra)

    @cached_property
    def half(self):
        """K."""
        return 2 ** (self.bits - 1)

    @property
    def levels(self):
        """Number of levels."""
        return 2 * self.half + self._extra

    @property
    def _extra(self):
        # Levels beyond 2 K, and planes beyond the bits: the same for each of the three kinds.
        return 0 if self.midrise else 3 if self.sparsity == "hard" else 1

    def step(self, reach):
        """Step with which the levels go up to ``reach`` (midrise levels: half a step less far).

        Raises
        ------
        ValueError
            If a hard threshold leaves no room for a step; a reach of 0 has the step 0.
        """
        if self.sparsity != "hard" or not reach:
            return reach / self.half
        if reach <= self.threshold:
            raise ValueError(f"Alphabet threshold must be below the largest level {reach:.6g}, "
                             f"not {self.threshold!r}")
        return (reach - self.threshold) / self.half

    def round(self, z, step, draw=0.5):
        """The paper's Q: values that the levels give to rounding arguments.

        Plain: ``step * clip(floor(z / step + 1 / 2), -K, K)``, ties up. Soft first shrinks the
        argument to ``sgn(z) * max(|z| - threshold, 0)``; hard does so too, and then moves what is
        left beyond the threshold back out by it.

        Parameters
        ----------
        z : float64 array
        step : float
            0 or more.
        draw : float or float64 array
            A uniform draw from 0 to 1 in place of 1 / 2 rounds stochastically: up with the
            probability of the fraction.
        """
        if self.sparsity:
            z = np.sign(z) * np.maximum(np.abs(z) - self.threshold, 0.0)
        values = self._index(z, step or 1.0, draw) * step
        if self.midrise:
            values += step / 2
        if self.sparsity == "hard":
            values += np.sign(z) * self.threshold
        return values

    def codes(self, values, step):
        """Index of the nearest level, in floats: k, or with hard sparsity ``sgn(k) * (k + 1)``.

        Values of levels give their own codes, whatever the rules of :meth:`round`.

        Parameters
        ----------
        values : float tensor
        step : float, or float tensor of shape ``()``
        """
        step = torch.as_tensor(step, dtype=values.dtype, device=values.device)
        step = torch.where(step == 0, 1.0, step)
        if self.sparsity != "hard":
            return self._index(values, step)
        above = values.abs() - self.threshold
        rank = self._index(above, step).clamp_min(0) + 1
        return values.sign() * torch.where(above < -self.threshold / 2, 0.0, rank)

    def values(self, codes, step):
        """Values of codes, in floats.

        Parameters
        ----------
        codes : float tensor
        step : float tensor, shape ``()``
        """
        if self.sparsity == "hard":
            sign = codes.sign()
            return sign * self.threshold + (codes - sign) * step
        return (codes + 0.5 if self.midrise else codes) * step

    def planes(self, codes, step):
        """Planes and scales of codes, as :meth:`WeightQuantizer.split` hands them on.

        Midrise levels take ``bits`` planes, midtread ones ``bits + 1``. A hard threshold takes two
        more of half its size, which agree on the sign, and cancel at zero.
        """
        codes, step = codes.long(), torch.as_tensor(step, dtype=torch.float64)
        if self.midrise:
            return even_planes(codes + self.half, self.bits, step * (self.half - 0.5))
        if self.sparsity != "hard":
            return midtread_planes(codes, self.bits, step)
        bits, scales = midtread_planes(codes - codes.sign(), self.bits, step)
        pair = torch.full((2, 1, 1), self.threshold / 2, dtype=torch.float64)
        return torch.cat([torch.stack([codes > 0, codes >= 0]), bits]), torch.cat([pair, scales])

    def _index(self, z, step, draw=0.5):
        floor = torch.floor if isinstance(z, torch.Tensor) else np.floor
        index = floor(z / step + (draw - 0.5 * self.midrise))
        return index.clip(-self.half, self.half - self.midrise)
