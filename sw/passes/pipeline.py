"""The passes from a trained network to integers, named, checked and printed one by one."""

from ..graph.text import to_text
from .fuse import fuse
from .golden import check_codes, check_fused
from .lower import lower
from .snap import SnappedModel, snap
from .summary import summary
from .texts import write_texts

__all__ = ["PASSES", "lower_model"]

PASSES = ("import", "normalize", "quantize", "fuse", "snap", "lower")
"""Names of all passes in order. The first three make a network that is then trained, see
:func:`sw.passes.quantize.quantize_`; the others are those of :func:`lower_model`, which prints the
trained graph under the third name."""


def lower_model(model, *, name="network", info=None, scale_bits=16, acc_bits=32,
                count_bits=16, dump=None, check=True):
    """All passes from a trained network to the integer one.

    Parameters
    ----------
    model : sw.graph.model.GraphModel or sw.passes.snap.SnappedModel
    name, info, scale_bits, acc_bits, count_bits
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
    snapped = snap(model, scale_bits, acc_bits, count_bits)
    if check and trained:
        check_fused(model, snapped)
    network = lower(snapped, name=name, info=info)
    if check:
        check_codes(snapped, network)
    if dump is not None:
        texts = {"quantize": to_text(model.graph)} if trained else {}
        texts |= {"fuse": fusion.text(), "snap": snapped.text(), "lower": summary(network)}
        write_texts(dump, texts, PASSES.index(next(iter(texts))))
    return network, snapped
