"""What a layer has in the scale and parameter banks for every column tile."""

from .descriptor import BORDER_CLASSES

__all__ = ["bias_entries", "block_entries", "scale_entries"]


def scale_entries(layer):
    """Scales of a column tile: one for every pass, and the multiplier of a layer with ``rescale``
    behind them.

    Parameters
    ----------
    layer : mapping
        Fields of its :data:`hw.spec.descriptor.DESCRIPTOR`.
    """
    return layer["passes"] + (1 if layer["rescale"] and not layer["raw"] else 0)


def bias_entries(layer):
    """Biases of a column tile: one, or one for every border class."""
    sides = ("top", "bottom", "left", "right")
    return BORDER_CLASSES ** 2 if any(layer[f"border_{side}"] for side in sides) else 1


def block_entries(layer):
    """Parameters of a column tile, ``block``: biases, and behind them thresholds, or the addend of
    a layer with ``rescale``."""
    if layer["raw"]:
        return bias_entries(layer)
    return bias_entries(layer) + (1 if layer["rescale"] else (1 << layer["code_bits"]) - 1)
