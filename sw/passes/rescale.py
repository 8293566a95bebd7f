"""Codes of more than 4 bits: integers of a multiplication that stand for a tail."""

import numpy as np
import torch
from torch import nn

from xnorloom.hw.spec.descriptor import RESCALE_DOWN, RESCALE_SHIFTS

from ..ops.grid import SnapError
from .staircase import StaircaseError, search

__all__ = ["RescaledActivation", "rescale"]

_FAR = 1 << 46
"""Thresholds are looked for up to here, whatever an accumulator can reach: all of them lie on the
line that is wanted."""


class RescaledActivation(nn.Module):
    """Codes ``clip(((acc >> shift) * multiplier + addend) >> down, 0, 2 ** bits - 1)``.

    Parameters
    ----------
    layer : sw.ops.snapped.SnappedLayer
    multipliers, addends : int64 array, shape ``(outputs,)``
        For accumulators that are negated where ``layer.sign`` is -1.
    shift, down, bits : int
    """

    def __init__(self, layer, multipliers, addends, shift, down, bits):
        super().__init__()
        # Not registered: the layer holds this.
        self.__dict__["_layer"] = layer
        self.multipliers, self.addends = multipliers, addends
        self.shift, self.down, self.bits = shift, down, bits

    def forward(self, values):
        """Codes, int64, of accumulators in real units."""
        shape = (-1, *[1] * (values.dim() - 2))
        sign, multipliers, addends = (torch.from_numpy(each).reshape(shape) for each in (
            self._layer.sign, self.multipliers, self.addends))
        acc = self._layer.integer(values) * sign
        return (((acc >> self.shift) * multipliers + addends) >> self.down).clamp(
            0, (1 << self.bits) - 1)


def rescale(layer, codes, bits, scale_bits, acc_bits, count_bits):
    """The integers for one layer.

    Parameters
    ----------
    layer : sw.ops.snapped.SnappedLayer
    codes : callable
        From accumulators, negated by sign, int64 ``(n, outputs)``, to codes: what is wanted.
    bits : int
        Of a code.
    scale_bits, acc_bits : int
        Signed widths of a multiplier and of an addend.
    count_bits : int
        Bits of a shifted accumulator, its sign not counted: what the unit's multiplier takes.

    Returns
    -------
    RescaledActivation

    Raises
    ------
    SnapError
        If what is wanted is no line, or one that the widths do not hold.
    """
    low, high = bounds(layer)
    outputs, top = len(low), (1 << bits) - 1
    try:
        thresholds = search(codes, np.full(outputs, -_FAR), np.full(outputs, _FAR), top + 1)
    except StaircaseError as error:
        raise SnapError(f"Layer {layer.name!r} cannot be re-quantized: {error}") from None
    slope, start, bent = _lines(thresholds, codes)
    if bent.any():
        raise SnapError(f"Layer {layer.name!r} must have codes of even steps behind nothing but "
                        f"batch norms and a clip, to be re-quantized to {bits} bits; channel "
                        f"{int(bent.argmax())} does not")
    needed = int(np.maximum(-low, high + 1).max()).bit_length() - count_bits
    # What the machine has; a shift that it lacks would cost the scales bits.
    shift = next((each for each in RESCALE_SHIFTS if each >= needed), max(needed, 0))
    # A shifted accumulator is half a unit too small on average.
    start = start + slope * ((1 << shift) - 1) / 2
    steep = slope.max() * 2.0 ** shift
    down = min(acc_bits - 1, RESCALE_DOWN)
    while down and (np.rint(steep * 2.0 ** down) >= 1 << scale_bits - 1
                    or np.rint(np.abs(start).max() * 2.0 ** down) >= 1 << acc_bits - 1):
        down -= 1
    multipliers = np.rint(slope * 2.0 ** (shift + down)).astype(np.int64)
    addends = np.rint(start * 2.0 ** down).astype(np.int64)
    if max(multipliers.max() >> scale_bits - 1, np.abs(addends).max() >> acc_bits - 1):
        raise SnapError(f"Layer {layer.name!r} cannot be re-quantized: its codes must rise by "
                        f"less than {2 ** (scale_bits - 1)} over {1 << shift} steps of the "
                        "accumulator")
    found = RescaledActivation(layer, multipliers, addends, shift, down, bits)
    probes = np.clip(np.concatenate([thresholds.T, thresholds.T - 1, low[None], high[None]]),
                     low, high)
    given = np.clip((((probes >> shift) * multipliers + addends) >> down), 0, top)
    wrong = np.argwhere(np.abs(given - codes(probes)) > 1)
    if len(wrong):
        raise SnapError(f"Layer {layer.name!r} channel {int(wrong[0][1])} must have steps of its "
                        f"{bits}-bit codes that a multiplication by {scale_bits} bits can tell "
                        "apart: its accumulators reach too far beyond them")
    return found


def bounds(layer):
    """Bounds of accumulators that are negated by sign: int64, ``(outputs,)`` each."""
    low, high, falling = layer.integers.low, layer.integers.high, layer.sign < 0
    return np.where(falling, -high, low), np.where(falling, -low, high)


def _lines(thresholds, codes):
    """Slope and start of the line through the thresholds of every channel, in codes, and whether
    they lie on no line."""
    inside = (thresholds > -_FAR) & (thresholds <= _FAR)
    number = np.arange(1, thresholds.shape[1] + 1)
    constant = codes(np.zeros((1, len(thresholds)), dtype=np.int64))[0]
    slope, start = np.zeros(len(thresholds)), constant + 0.5
    bent = np.zeros(len(thresholds), dtype=bool)
    for channel in np.flatnonzero(inside.sum(axis=1) > 1):
        wanted, at = number[inside[channel]], thresholds[channel, inside[channel]] - 0.5
        if at[-1] > at[0]:
            slope[channel] = (wanted[-1] - wanted[0]) / (at[-1] - at[0])
            off = wanted - slope[channel] * at
            start[channel] = np.mean(off)
            # A threshold is a whole number, so it may be off by a step of the accumulator.
            bent[channel] = np.ptp(off) > 0.2 + 2 * slope[channel]
    return slope, start, bent
