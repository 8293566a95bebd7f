"""Contents of the memories of a layer: weights, scales, parameters, in numpy throughout.

Channel c lies in bank ``c mod cols`` of column tile ``c div cols``. Absent channels and lanes hold
0.

Scales
    One entry per column tile, term, group of taps and pass, in that order: the scale in two's
    complement, and above it a bit that is 1 where the accumulator is clamped at zero before the
    pass is added. For codes by multiplication, behind those of a column tile: the multiplier.

Parameters
    One block per column tile. First the biases: one, or, in a layer with border classes, 16, that
    of line class y and column class x being entry ``4 y + x``. Then, for a staircase of codes of k
    bits, its ``2 ** k - 1`` rising thresholds as a binary heap without entry 0: the root is node 1,
    the children of node i are 2 i and 2 i + 1. A search starts at node 1 and goes k times from i to
    ``2 i + (acc >= T[i])``; less 2 ** k, the end is the code. Absent channels hold the largest
    accumulator. For codes by multiplication, instead: the addend.
"""

import numpy as np

from .layout import bits_to_words

__all__ = ["heap_order", "pack_parameters", "pack_records", "pack_scales", "pack_weights",
           "to_unsigned"]


def to_unsigned(values, bits):
    """Two's complement of a width of at most 32 bits: uint32 array."""
    return (np.asarray(values, dtype=np.int64) & ((1 << bits) - 1)).astype(np.uint32)


def _by_column(values, cols, fill=0):
    """Spreads axis 0 (channels) over banks: shape ``(cols, column tiles, *rest)``."""
    tiles = -(-len(values) // cols)
    full = np.full((tiles * cols, *values.shape[1:]), fill, dtype=values.dtype)
    full[:len(values)] = values
    return np.moveaxis(full.reshape(tiles, cols, *values.shape[1:]), 1, 0)


def pack_weights(weights, config):
    """Weight words in the order ``[column tile][weight plane][tap][word]``.

    Parameters
    ----------
    weights : uint8 array, shape ``(planes, outputs, inputs, height, width)``
    config : MachineConfig

    Returns
    -------
    uint32 array, shape ``(cols, column tiles, planes * taps * words, lane words)``
    """
    planes, outputs, inputs, height, width = weights.shape
    words = -(-inputs // config.lanes)
    bits = np.zeros((outputs, planes, height * width, words * config.lanes), dtype=np.uint8)
    bits[..., :inputs] = weights.reshape(planes, outputs, inputs, -1).transpose(1, 0, 3, 2)
    entries = bits_to_words(bits.reshape(outputs, -1, config.lanes))
    return _by_column(entries, config.cols)


def pack_scales(scales, relu, config, *, multipliers=None):
    """Scales in the order ``[column tile][pass]``, and multipliers behind those of a tile.

    Parameters
    ----------
    scales : int64 array, shape ``(outputs, passes)``
        Of all terms and groups, in the order in which they are streamed.
    relu : bool array, shape ``(passes,)``
        Whether the accumulator is clamped at zero before the pass is added.
    config : MachineConfig
    multipliers : int64 array, shape ``(outputs,)``, or None

    Returns
    -------
    uint32 array, shape ``(cols, column tiles * passes, 1)``; one more per tile with multipliers
    """
    entries = to_unsigned(scales, config.scale_bits)
    entries = entries | np.asarray(relu).astype(np.uint32) << np.uint32(config.scale_bits)
    if multipliers is not None:
        last = to_unsigned(multipliers, config.scale_bits)[:, None]
        entries = np.concatenate([entries, last], axis=1)
    return _by_column(entries, config.cols).reshape(config.cols, -1, 1)


def pack_parameters(biases, config, *, thresholds=None, addends=None):
    """Parameter blocks.

    Parameters
    ----------
    biases : int64 array, shape ``(outputs, 1)`` or ``(outputs, 16)``
    config : MachineConfig
    thresholds : int64 array, shape ``(outputs, 2 ** k - 1)``, or None
        Rising along each row.
    addends : int64 array, shape ``(outputs,)``, or None

    Returns
    -------
    uint32 array, shape ``(cols, column tiles, block, 1)``
    """
    parts = [to_unsigned(_by_column(biases, config.cols), config.acc_bits)]
    if thresholds is not None:
        parts.append(_heap(thresholds, config))
    if addends is not None:
        parts.append(to_unsigned(_by_column(addends[:, None], config.cols), config.acc_bits))
    return np.concatenate(parts, axis=2)[..., None]


def heap_order(code_bits):
    """Rank, from 0, of the threshold in each of the heap entries 1 .. 2 ** code_bits - 1."""
    nodes = np.arange(1, 1 << code_bits)
    depth = np.frexp(nodes)[1] - 1
    return (2 * (nodes - (1 << depth)) + 1 << code_bits - 1 - depth) - 1


def _heap(thresholds, config):
    """Thresholds in heap order, clipped: uint32, ``(cols, column tiles, 2 ** k - 1)``."""
    top = (1 << config.acc_bits - 1) - 1
    code_bits = (thresholds.shape[1] + 1).bit_length() - 1
    blocks = _by_column(np.clip(thresholds, -top - 1, top), config.cols, top)
    return to_unsigned(blocks[..., heap_order(code_bits)], config.acc_bits)


def pack_records(record, entries, limits=None):
    """Packs records: uint32 array, shape ``(1, entries, words)``.

    Parameters
    ----------
    record : hw.spec.record.Record
        What to pack.
    entries : list of dict
        Field values of each.
    limits : dict or None
        Field name -> smallest and largest legal value, where narrower than the field.

    Raises
    ------
    ValueError
        If a value does not fit its field, or is outside the bounds the machine accepts.
    """
    for fields in entries:
        for name, (low, high) in (limits or {}).items():
            value = int(fields.get(name, 0))
            if not low <= value <= high:
                raise ValueError(f"{record.name} field '{name}' must be from {low} to {high}, "
                                 f"not {value}")
    words = [record.pack(**fields) for fields in entries]
    return np.array(words, dtype=np.uint32)[None]
