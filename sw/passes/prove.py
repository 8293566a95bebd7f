"""Proofs that no number of a layer leaves its width."""

import numpy as np

from ..errors import CompileError

__all__ = ["final_bounds", "prove_accumulator", "prove_rescale", "prove_scales"]


def _bits(low, high):
    """Width of two's complement that holds a range."""
    return 1 + max(max(0, int(high)).bit_length(), max(0, -int(low) - 1).bit_length())


def prove_scales(name, terms, config):
    """Proves that every scale fits.

    Raises
    ------
    CompileError
    """
    bits = max(_bits(item.scales.min(), item.scales.max())
               for term in terms for item in term.passes)
    if bits > config.scale_bits:
        raise CompileError(f"Layer {name!r} scales must fit in {config.scale_bits} bits, but need "
                           f"{bits}: {bits - config.scale_bits} bits are missing")


def prove_accumulator(name, terms, biases, codes, config):
    """Proves that no accumulator leaves its range, from the worst case of every pass.

    Parameters
    ----------
    name : str
    terms : sequence of TermPlan
    biases : int64 array, shape ``(outputs, classes)``
    codes : bool
        Whether codes are made of them.
    config : MachineConfig

    Returns
    -------
    int
        Bits needed.

    Raises
    ------
    CompileError
    """
    low, high = biases.min(axis=1), biases.max(axis=1)
    least, most = int(low.min()), int(high.max())
    for term in terms:
        if term.relu:
            low, high = np.maximum(low, 0), np.maximum(high, 0)
        for item in term.passes:
            reach = item.scales * (item.weight * term.worst)
            low = low + np.minimum(reach, 0).sum(axis=1)
            high = high + np.maximum(reach, 0).sum(axis=1)
        least, most = min(least, int(low.min())), max(most, int(high.max()))
    # A threshold that is never reached is clipped to the largest accumulator, so no accumulator
    # that is searched for may be that large.
    bits = _bits(least, most + int(codes))
    if bits > config.acc_bits:
        raise CompileError(f"Layer {name!r} accumulator must fit in {config.acc_bits} bits, but "
                           f"can reach {least}..{most}: {bits - config.acc_bits} bits are missing")
    return bits


def final_bounds(terms, biases):
    """Least and largest accumulator of every output behind all terms: int64 arrays.

    Parameters
    ----------
    terms : sequence of TermPlan
    biases : int64 array, shape ``(outputs,)``
        Those of pixels whose taps are all inside the map.
    """
    low = high = biases
    for term in terms:
        if term.relu:
            low, high = np.maximum(low, 0), np.maximum(high, 0)
        low, high = low + term.low, high + term.high
    return low, high


def prove_rescale(name, rescale, low, high, config):
    """Proves that what is multiplied, and what it is multiplied with and added to, fit.

    Parameters
    ----------
    name : str
    rescale : sw.graph.network.Rescale
    low, high : int64 array, shape ``(outputs,)``
        From :func:`final_bounds`.
    config : MachineConfig

    Returns
    -------
    int
        Bits that an addend needs.

    Raises
    ------
    CompileError
    """
    shifted = low >> rescale.shift, high >> rescale.shift
    for what, (least, most), width in (
            ("accumulators behind the shift", shifted, config.count_bits + 1),
            ("multipliers", 2 * (rescale.multipliers,), config.scale_bits),
            ("addends", 2 * (rescale.addends,), config.acc_bits)):
        bits = _bits(least.min(), most.max())
        if bits > width:
            raise CompileError(
                f"Layer {name!r} {what} must fit in {width} bits, but can reach "
                f"{int(least.min())}..{int(most.max())}: {bits - width} bits are missing")
    return bits
