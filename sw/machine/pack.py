"""Contents of the memories of a layer: weights, scales, biases, thresholds, in numpy throughout.

Channel c lies in bank ``c mod cols`` of column tile ``c div cols``. Absent channels and lanes hold
0.

Thresholds
    A column tile takes ``2 ** k`` entries of every bank, k being the code bits, at an address that
    is a multiple of ``2 ** k``. Entry 0 is unused and 0; entries 1 .. 2 ** k - 1 are the rising
    thresholds of the channel as a binary heap: the root is entry 1, the children of entry i are 2 i
    and 2 i + 1. A search starts at 1 and goes k times from i to ``2 i + (acc >= T[i])``; less 2 **
    k, the end is the code. Absent channels hold the largest accumulator.
"""

import numpy as np

from .layout import bits_to_words

__all__ = ["heap_order", "pack_biases", "pack_records", "pack_scales", "pack_thresholds",
           "pack_weights", "to_unsigned"]


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
    uint32 array, shape ``(cols, column tiles * planes * taps * words, lane words)``
    """
    planes, outputs, inputs, height, width = weights.shape
    words = -(-inputs // config.lanes)
    bits = np.zeros((outputs, planes, height * width, words * config.lanes), dtype=np.uint8)
    bits[..., :inputs] = weights.reshape(planes, outputs, inputs, -1).transpose(1, 0, 3, 2)
    entries = bits_to_words(bits.reshape(outputs, -1, config.lanes))
    return np.ascontiguousarray(_by_column(entries, config.cols)).reshape(
        config.cols, -1, config.lane_words)


def pack_scales(scales, config):
    """Scales in the order ``[column tile][group][pass]``.

    Parameters
    ----------
    scales : int64 array, shape ``(outputs, groups, passes)``
    config : MachineConfig

    Returns
    -------
    uint32 array, shape ``(cols, column tiles * groups * passes, 1)``
    """
    banks = to_unsigned(_by_column(scales, config.cols), config.scale_bits)
    return banks.reshape(config.cols, -1, 1)


def pack_biases(biases, config):
    """Biases, one per column tile: uint32 array, shape ``(cols, column tiles, 1)``."""
    banks = to_unsigned(_by_column(biases, config.cols), config.acc_bits)
    return banks.reshape(config.cols, -1, 1)


def heap_order(code_bits):
    """Rank, from 0, of the threshold in each of the heap entries 1 .. 2 ** code_bits - 1."""
    nodes = np.arange(1, 1 << code_bits)
    depth = np.frexp(nodes)[1] - 1
    return (2 * (nodes - (1 << depth)) + 1 << code_bits - 1 - depth) - 1


def pack_thresholds(thresholds, config):
    """Threshold blocks in heap order, clipped to the accumulator's range.

    Parameters
    ----------
    thresholds : int64 array, shape ``(outputs, 2 ** k - 1)``
        Rising along each row.
    config : MachineConfig

    Returns
    -------
    uint32 array, shape ``(cols, column tiles * 2 ** k, 1)``
    """
    top = (1 << config.acc_bits - 1) - 1
    code_bits = (thresholds.shape[1] + 1).bit_length() - 1
    blocks = _by_column(np.clip(thresholds, -top - 1, top), config.cols, top)
    heap = np.zeros((*blocks.shape[:2], 1 << code_bits), dtype=np.int64)
    heap[..., 1:] = blocks[..., heap_order(code_bits)]
    return to_unsigned(heap, config.acc_bits).reshape(config.cols, -1, 1)


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
