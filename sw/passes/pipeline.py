"""The passes from a trained network to integers, named, checked and printed one by one."""

from pathlib import Path

from ..graph.text import to_text
from .fuse import fuse
from .golden import check_codes, check_fused
from .lower import lower
from .snap import SnappedModel, snap
from .summary import summary

__all__ = ["PASSES", "lower_model"]

PASSES = ("quantized", "fuse", "snap", "lower")
"""Names of what can be printed, in order: the trained graph, and what every pass makes of it."""


def lower_model(model, *, name="network", info=None, scale_bits=16, acc_bits=32, dump=None,
                check=True):
    """All passes from a trained network to the integer one.

    Parameters
    ----------
    model : sw.graph.model.GraphModel or sw.passes.snap.SnappedModel
    name, info, scale_bits, acc_bits
        See :func:`sw.passes.lower.lower`.
    dump : path-like, optional
        Folder, made if need be, that gets a text of every pass of :data:`PASSES`.
    check : bool
        Whether every pass is held against what it was given, on random images.

    Returns
    -------
    network : sw.graph.network.Network
    snapped : sw.passes.snap.SnappedModel

    Raises
    ------
    FrontendError
        If the model holds something that the machine cannot run.
    sw.passes.golden.GoldenError
        If a pass is wrong.
    """
    trained = not isinstance(model, SnappedModel)
    fusion = fuse(model) if trained else model.fusion
    snapped = snap(model, scale_bits, acc_bits)
    if check and trained:
        check_fused(model, snapped)
    network = lower(snapped, name=name, info=info)
    if check:
        check_codes(snapped, network)
    if dump is not None:
        texts = {"fuse": fusion.text(), "snap": snapped.text(), "lower": summary(network)}
        if trained:
            texts["quantized"] = to_text(model.graph)
        folder = Path(dump)
        folder.mkdir(parents=True, exist_ok=True)
        for number, title in enumerate(PASSES):
            if title in texts:
                (folder / f"{number}-{title}.txt").write_text(texts[title])
    return network, snapped
