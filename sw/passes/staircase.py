"""Staircase search: the thresholds that stand for an affine map, a clip and a rounding."""

import numpy as np
import torch

__all__ = ["StaircaseError", "accumulator_function", "search"]


class StaircaseError(ValueError):
    """A re-quantization that no rising staircase of thresholds reproduces."""


def accumulator_function(layer):
    """The torch function from a layer's integer accumulators to codes.

    Parameters
    ----------
    layer : sw.ops.snapped.SnappedLayer
        Its activation is asked, in float64; accumulators are negated where its sign is -1.

    Returns
    -------
    callable
        From int64 array ``(n, outputs)`` to int64 array of the same shape.
    """
    unit = torch.from_numpy(layer.grid * layer.sign)
    activation = layer.activation

    @torch.no_grad()
    def codes(accumulators):
        values = torch.from_numpy(np.ascontiguousarray(accumulators)).double() * unit
        return activation(values).numpy()

    return codes


def search(codes, low, high, count):
    """Thresholds of a rising function: code = number of thresholds at or below the accumulator.

    Parameters
    ----------
    codes : callable
        From int64 array ``(n, outputs)`` to codes of the same shape.
    low, high : int64 array, shape ``(outputs,)``
        Smallest and largest accumulator of every channel.
    count : int
        Number of codes.

    Returns
    -------
    int64 array, shape ``(outputs, count - 1)``
        ``low`` for a code that is always reached, ``high + 1`` for one that never is.

    Raises
    ------
    StaircaseError
        If the function is seen to fall somewhere around the thresholds.
    """
    low, high = np.asarray(low, dtype=np.int64), np.asarray(high, dtype=np.int64)
    wanted = np.arange(1, count)[:, None]
    below = np.repeat(low[None] - 1, count - 1, axis=0)
    reached = np.repeat(high[None] + 1, count - 1, axis=0)
    # Invariant: the code is under the wanted one at `below`, and not at `reached`.
    while (reached - below > 1).any():
        middle = below + (reached - below) // 2
        # Where a search is over, the middle may be outside the range; it is not used then.
        at_least = codes(np.clip(middle, low, high)) >= wanted
        running = reached - below > 1
        reached = np.where(running & at_least, middle, reached)
        below = np.where(running & ~at_least, middle, below)
    _check(codes, low, high, reached)
    return np.ascontiguousarray(reached.T)


def _check(codes, low, high, thresholds):
    probes = np.concatenate([thresholds, thresholds - 1, low[None], high[None]])
    probes = np.clip(probes, low, high)
    counted = np.stack([(thresholds <= probe).sum(axis=0) for probe in probes])
    wrong = np.argwhere(codes(probes) != counted)
    if len(wrong):
        probe, channel = wrong[0]
        raise StaircaseError(f"Codes must rise with the accumulator, but channel {channel} does "
                             f"not at {int(probes[probe, channel])}")
