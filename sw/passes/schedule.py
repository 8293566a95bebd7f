"""Pass scheduling: which plane pairs of a layer are streamed in one pass, and in what order."""

from dataclasses import dataclass

import numpy as np

from ..errors import CompileError

__all__ = ["Pass", "Step", "schedule_passes"]


@dataclass(frozen=True)
class Step:
    """One plane pair of a pass; ``double`` says that the count is doubled before it."""

    activation_plane: int
    weight_plane: int
    double: bool = False


@dataclass(frozen=True, eq=False)
class Pass:
    """Pairs that share one drain.

    Parameters
    ----------
    steps : tuple of Step
        In the order in which they are streamed.
    scales : int64 array, shape ``(outputs, groups)``
        Scale of one count: that of the pairs of the lowest level.
    weight : int
        Largest count of the pass, in worst-case mismatches of one pair.
    """

    steps: tuple
    scales: np.ndarray
    weight: int


def schedule_passes(scales, *, doubling, worst_mismatches, count_bits, name="layer"):
    """Groups the plane pairs of a layer into passes.

    Pairs of equal scales share a pass; with `doubling` so do pairs in the exact ratio 2, highest
    first. A pass is split where its count could leave its range. Pairs that weigh nothing are left
    out.

    Parameters
    ----------
    scales : int64 array, shape ``(outputs, groups, activation planes, weight planes)``
        Weight of one mismatch.
    doubling : bool
        Whether the machine can double a count.
    worst_mismatches : int
        Most mismatches of one pair: inputs of a group.
    count_bits : int
        Width of a count.
    name : str
        Of the layer, for messages.

    Returns
    -------
    tuple of Pass
        At least one.

    Raises
    ------
    CompileError
        If the count of a single pair could leave its range.
    """
    limit = (1 << count_bits) - 1
    if worst_mismatches > limit:
        raise CompileError(
            f"Layer {name!r} must count at most {limit} mismatches in one pass (count_bits "
            f"{count_bits}), not {worst_mismatches} (needs count_bits "
            f"{worst_mismatches.bit_length()})")
    capacity = limit // worst_mismatches
    levels = _levels(scales)
    passes = []
    for chain in _chains(levels, doubling):
        steps, weight, current = [], 0, chain[0]
        for vector in chain:
            for index, (i, j) in enumerate(levels[vector.tobytes()][1]):
                double = index == 0 and bool(steps)
                grown = weight * (2 if double else 1) + 1
                if grown > capacity:
                    passes.append(Pass(tuple(steps), current, weight))
                    steps, grown, double = [], 1, False
                steps.append(Step(i, j, double))
                weight, current = grown, vector
        passes.append(Pass(tuple(steps), current, weight))
    return tuple(passes)


def _levels(scales):
    """Pairs by their scales: ``bytes -> (scales, [pair, ...])``, in order of first appearance."""
    levels = {}
    for i in range(scales.shape[2]):
        for j in range(scales.shape[3]):
            vector = np.ascontiguousarray(scales[:, :, i, j], dtype=np.int64)
            if vector.any():
                levels.setdefault(vector.tobytes(), (vector, []))[1].append((i, j))
    if not levels:
        zero = np.zeros(scales.shape[:2], dtype=np.int64)
        levels[zero.tobytes()] = (zero, [(0, 0)])
    return levels


def _chains(levels, doubling):
    """Runs of levels, each half of the one before it; every level appears once."""
    for vector, _pairs in levels.values():
        if doubling and (vector * 2).tobytes() in levels and vector.any():
            continue
        chain = [vector]
        while doubling and not (chain[-1] & 1).any() and chain[-1].any():
            half = chain[-1] >> 1
            if half.tobytes() not in levels:
                break
            chain.append(half)
        yield chain
