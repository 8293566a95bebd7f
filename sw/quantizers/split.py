"""The operator behind two-plane scales: where magnitudes part into a low and a high cluster.

On the CPU it is :mod:`sw.quantizers.clustering`, on every other device a sort and a scan of all
splits in torch. As an operator of torch's own kind, it stands in compiled and exported graphs as
one node, and takes batches of batches.
"""

import numpy as np
import torch
import torch.nn.functional as F

from .clustering import SORTED, ternary_level, two_levels

__all__ = ["scan_levels", "split_levels"]


def scan_levels(magnitudes, ternary):
    """Levels of both clusters of every row: every split of the sorted row is tried.

    Parameters
    ----------
    magnitudes : float32 or float64 tensor, shape ``(.., n)``
        Not negative; squares must not overflow float64.
    ternary : bool
        The low cluster's level is 0.

    Returns
    -------
    float64 tensor, shape ``(2, ..)``
        Mean of the low cluster, of which ternary levels make no use, and of the high one. Both are
        the row's mean where all its elements are equal; NaN where one is.
    """
    ordered = magnitudes.double().sort(dim=-1).values
    size, floor = ordered.shape[-1], ordered[..., :1]
    # Sums of distances from the smallest element keep the digits of tight clusters.
    sums = (ordered - floor).cumsum(dim=-1)
    below, total = F.pad(sums[..., :-1], (1, 0)), sums[..., -1:]
    count = torch.arange(size, dtype=torch.float64, device=ordered.device)
    if ternary:
        high = total - below + (size - count) * floor
        gain = high * high / (size - count)
    else:
        centred = below - count * (total / size)
        gain = centred * centred * size / (count * (size - count)).clamp_min(1)
    index = gain.argmax(dim=-1, keepdim=True)
    below = below.gather(-1, index)
    high = floor + (total - below) / (size - index)
    low = torch.where(index > 0, floor + below / index.clamp_min(1), high)
    return torch.cat([low, high], dim=-1).movedim(-1, 0).contiguous()


_LIBRARY = torch.library.Library("xnorloom", "DEF")
_LIBRARY.define("split_levels(Tensor magnitudes, bool ternary) -> Tensor")


def split_levels(magnitudes, ternary):
    """:func:`scan_levels`, on the CPU without torch's sort, which takes longer than all of it."""
    return torch.ops.xnorloom.split_levels(magnitudes, ternary)


def _on_cpu(magnitudes, ternary):
    rows = magnitudes.reshape(-1, magnitudes.shape[-1]).contiguous().numpy()
    wrong = None
    if rows.shape[1] > SORTED and not np.isfinite(rows.max()):
        wrong = ~np.isfinite(rows.max(axis=1))
        rows = np.where(wrong[:, None], rows.dtype.type(0), rows)
    levels = np.zeros((2, len(rows)))
    with np.errstate(invalid="ignore"):
        if ternary:
            levels[1] = ternary_level(rows)
        else:
            levels[:] = two_levels(rows)
    if wrong is not None:
        levels[:, wrong] = np.nan
    return torch.from_numpy(levels).reshape(2, *magnitudes.shape[:-1])


def _shape(magnitudes, ternary):
    return magnitudes.new_empty((2, *magnitudes.shape[:-1]), dtype=torch.float64)


def _batched(info, in_dims, magnitudes, ternary):
    return split_levels(magnitudes.movedim(in_dims[0], 0), ternary), 1


_LIBRARY.impl("split_levels", scan_levels, "CompositeExplicitAutograd")
_LIBRARY.impl("split_levels", _on_cpu, "CPU")
torch.library.register_fake("xnorloom::split_levels", _shape, lib=_LIBRARY)
torch.library.register_vmap("xnorloom::split_levels", _batched, lib=_LIBRARY)
