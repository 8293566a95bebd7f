"""Codes of more than 4 bits: integers of a multiplication that stand for a tail."""

import numpy as np
import torch
from torch import nn

from xnorloom.hw.spec.descriptor import RESCALE_DOWN, RESCALE_SHIFTS

from ..ops.grid import SnapError
from .staircase import StaircaseError, search

__all__ = ["FarCodes", "RescaledActivation", "bounds", "line", "rescale", "shifts"]

_FAR = 1 << 46
"""Thresholds are looked for up to here, whatever an accumulator can reach: all of them lie on the
line that is wanted."""


class FarCodes(Exception):
    """Codes that begin too far from an accumulator of 0 for an addend.

    Attributes
    ----------
    offsets : float64 array, shape ``(outputs,)``
        What is to be added to biases, in real units.
    """

    def __init__(self, offsets):
        super().__init__()
        self.offsets = offsets


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


def shifts(layer, count_bits):
    """Right shifts of accumulators that the machine has, the best first.

    Behind the first one accumulators fit as they are, if there is such a shift. Behind a smaller
    one they fit on a coarser grid, and a code needs less of a multiplier.

    Parameters
    ----------
    layer : sw.ops.snapped.SnappedLayer
        On the finest grid.
    count_bits : int
        Bits of a shifted accumulator, its sign not counted: what the unit's multiplier takes.

    Returns
    -------
    list of tuple of int, int or None
        Shift of the layer's accumulators, and the bits that fit behind it; None: as they are.
    """
    low, high = bounds(layer)
    needed = int(np.maximum(-low, high + 1).max()).bit_length() - count_bits
    # On the machine all of a layer with spare bits is larger by these.
    known = [shift - layer.spare for shift in RESCALE_SHIFTS]
    first = next((index for index, shift in enumerate(known) if shift >= needed), len(known) - 1)
    return [(shift, None if shift >= needed else count_bits + 1 + shift)
            for shift in reversed(known[:first + 1])]


def line(layer, codes, bits):
    """The line that codes are on, whatever the widths of a machine.

    Parameters
    ----------
    layer : sw.ops.snapped.SnappedLayer
    codes : callable
        From accumulators, negated by sign, int64 ``(n, outputs)``, to codes.
    bits : int
        Of a code.

    Returns
    -------
    tuple of int64 array, float64 array, float64 array
        Thresholds, ``(outputs, 2 ** bits - 1)``; codes per step of the accumulator, and code at
        an accumulator of 0, ``(outputs,)`` each.

    Raises
    ------
    SnapError
        If there is none.
    """
    far = np.full(len(layer.grid), _FAR)
    try:
        thresholds = search(codes, -far, far, 1 << bits)
    except StaircaseError as error:
        raise SnapError(f"Layer {layer.name!r} cannot be re-quantized: {error}") from None
    slope, start, bent = _lines(thresholds, codes)
    if bent.any():
        raise SnapError(f"Layer {layer.name!r} must have codes of even steps behind nothing but "
                        f"batch norms and a clip, to be re-quantized to {bits} bits; channel "
                        f"{int(bent.argmax())} does not")
    return thresholds, slope, start


def rescale(layer, codes, bits, shift, scale_bits, acc_bits):
    """The integers for one layer.

    Parameters
    ----------
    layer : sw.ops.snapped.SnappedLayer
    codes : callable
        From accumulators, negated by sign, int64 ``(n, outputs)``, to codes: what is wanted.
    bits : int
        Of a code.
    shift : int
        Right shift of an accumulator.
    scale_bits, acc_bits : int
        Signed widths of a multiplier and of an addend.

    Returns
    -------
    RescaledActivation

    Raises
    ------
    SnapError
        If what is wanted is no line, or one that the widths do not hold.
    FarCodes
        If no addend holds where the line begins, and a bias can.
    """
    low, high = bounds(layer)
    thresholds, slope, start = line(layer, codes, bits)
    # A shifted accumulator is half a unit too small on average.
    start = start + slope * ((1 << shift) - 1) / 2
    least, most = codes(low[None])[0], codes(high[None])[0]
    still = (least == most) & (least + 1 << RESCALE_DOWN < 1 << acc_bits - 1)
    slope, start = np.where(still, 0, slope), np.where(still, least + 0.5, start)
    multipliers = _fitting(
        layer, "multiplier", np.ldexp(slope, shift + RESCALE_DOWN), scale_bits,
        lambda channel: f"its {bits}-bit codes are {1 / slope[channel]:.1f} steps of the "
                        f"accumulator apart, too few behind a right shift of {shift}")
    addends = np.ldexp(start, RESCALE_DOWN)
    far = (np.abs(np.rint(addends)) >= 1 << acc_bits - 1) & (slope > 0)
    if far.any() and layer.offsets is None and not layer.fused.sum.clamped:
        offsets = np.where(far, start / np.where(far, slope, 1), 0)
        raise FarCodes(offsets * layer.sign * layer.grid)
    addends = _fitting(layer, "addend", addends, acc_bits, lambda channel: (
        f"an accumulator of 0 is {start[channel]:.1f} of its {bits}-bit codes"))
    found = RescaledActivation(layer, multipliers, addends, shift, RESCALE_DOWN, bits)
    top = (1 << bits) - 1
    probes = np.clip(np.concatenate([thresholds.T, thresholds.T - 1, low[None], high[None]]),
                     low, high)
    given = np.clip((((probes >> shift) * multipliers + addends) >> RESCALE_DOWN), 0, top)
    wrong = np.argwhere(np.abs(given - codes(probes)) > 1)
    if len(wrong):
        raise SnapError(f"Layer {layer.name!r} channel {int(wrong[0][1])} must have steps of its "
                        f"{bits}-bit codes that a multiplication by {scale_bits} bits can tell "
                        "apart: its accumulators reach too far beyond them")
    return found


def _fitting(layer, what, values, bits, reason):
    """Rounded values, int64; one that does not fit is an error, for a reason that its channel
    has."""
    rounded = np.rint(values)
    channel = int(np.abs(rounded).argmax())
    needed = int(np.abs(rounded[channel])).bit_length() + 1
    if needed > bits:
        raise SnapError(f"Layer {layer.name!r} channel {channel} {what} must fit in {bits} bits, "
                        f"but needs {needed}: {reason(channel)}")
    return rounded.astype(np.int64)


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
