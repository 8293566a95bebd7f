"""One layer, executed by numpy from the contents of the machine's memories and nothing else."""

import numpy as np

from xnorloom.hw.spec.descriptor import PAIR, TAP
from xnorloom.hw.spec.memory import Memory

from .layout import bits_to_words

__all__ = ["AddressFault", "LayerRun", "fetch_records"]


class AddressFault(Exception):
    """A step left a memory."""

    def __init__(self, memory):
        self.memory = memory
        super().__init__(memory)


def fetch_records(memories, memory, record, start, count):
    """Unpacks ``count`` records of a table memory."""
    if start + count > memories[memory].shape[1]:
        # As in the gateware, both tables are looked up in one step that has one fault.
        raise AddressFault(Memory.TAPS)
    return [record.unpack(row) for row in memories[memory][0, start:start + count]]


class LayerRun:
    """One layer.

    Parameters
    ----------
    config : MachineConfig
    memories : dict
        ``Memory -> uint32 array (banks, depth, entry words)``.
    descriptor : dict
        Unpacked.

    Raises
    ------
    AddressFault
        If the tap or pair table ends too early.
    """

    def __init__(self, config, memories, descriptor):
        self.config, self.memories, self.layer = config, memories, descriptor
        self.taps = fetch_records(memories, Memory.TAPS, TAP, descriptor["tap_base"],
                                  descriptor["groups"] * descriptor["taps_per_group"])
        self.pairs = fetch_records(memories, Memory.PAIRS, PAIR, descriptor["pair_base"],
                                   descriptor["pairs"])
        self.index = np.arange(descriptor["pixel_tiles"] * config.rows)
        line, self.x = np.divmod(self.index, descriptor["pitch_x"])
        self.image, self.y = np.divmod(line, descriptor["pitch_y"])
        self.alive = ((self.index < descriptor["pixels"])
                      & (self.x < descriptor["out_width"]) & (self.y < descriptor["out_height"]))

    def execute(self):
        """Runs the layer.

        Returns
        -------
        int64 array, shape ``(pixel_tiles, col_tiles, rows, cols)``, or None
            Accumulators of a raw layer; other layers write their codes to the activation banks.

        Raises
        ------
        AddressFault
            If a step leaves a memory; nothing has been written then.
        """
        acc = self._accumulate()
        if self.layer["raw"]:
            shape = (self.layer["pixel_tiles"], self.config.rows, *acc.shape[1:])
            return acc.reshape(shape).transpose(0, 2, 1, 3)
        self._write(self._search(acc))
        return None

    def _column_entries(self, memory, start, count, bits):
        """Signed entries of every column: int64 array, shape ``(cols, count)``."""
        contents = self.memories[memory]
        if start + count > contents.shape[1]:
            raise AddressFault(memory)
        values = contents[:, start:start + count, 0].astype(np.int64)
        return values - (values >> bits - 1 << bits)

    def _accumulate(self):
        """Accumulators: int64 array, shape ``(virtual pixels, col_tiles, cols)``."""
        layer, config = self.layer, self.config
        tiles, groups, passes = layer["col_tiles"], layer["groups"], layer["passes_per_group"]
        scales = self._column_entries(Memory.SCALES, layer["scale_base"],
                                      tiles * groups * passes, config.scale_bits)
        scales = scales.reshape(config.cols, tiles, groups * passes).transpose(2, 1, 0)
        biases = self._column_entries(Memory.BIASES, layer["bias_base"], tiles, config.acc_bits)
        acc = np.repeat(biases.T[None], len(self.index), axis=0)
        count_mask = (1 << config.count_bits) - 1
        done = 0
        for group in range(groups):
            operands = {}
            count = np.zeros(acc.shape, dtype=np.int64)
            for pair in self.pairs:
                plane = pair["activation_offset"]
                if plane not in operands:
                    operands[plane] = self._activations(group, plane)
                if pair["clear"]:
                    count[...] = 0
                if pair["double"]:
                    count <<= 1
                count += _mismatches(operands[plane], self._weights(group, pair["weight_offset"]))
                if pair["drain"] and done < len(scales):
                    acc += scales[done] * (count & count_mask)
                    done += 1
        half = 1 << config.acc_bits - 1
        return (acc + half & (half << 1) - 1) - half

    def _activations(self, group, plane_offset):
        """Words of all virtual pixels: uint32, shape ``(virtual pixels, words of a group)``."""
        layer, config = self.layer, self.config
        contents = self.memories[Memory.ACTIVATIONS]
        tile, row = np.divmod(self.index, config.rows)
        word = np.arange(layer["words"])
        parts = []
        first = group * layer["taps_per_group"]
        for tap in self.taps[first:first + layer["taps_per_group"]]:
            turned = row + tap["rotation"]
            inside = (self.alive & (self.y >= tap["above"]) & (self.x >= tap["left"])
                      & (layer["out_height"] - 1 - self.y >= tap["below"])
                      & (layer["out_width"] - 1 - self.x >= tap["right"]))
            slot = tile + (turned >= config.rows)
            address = np.where(inside, layer["activation_base"] + tap["offset"]
                               + slot * layer["tile_words"], layer["pad_base"])
            address = address[:, None] + plane_offset + word
            if address.min() < 0 or address.max() >= contents.shape[1]:
                raise AddressFault(Memory.ACTIVATIONS)
            parts.append(contents[(turned % config.rows)[:, None], address])
        return np.concatenate(parts, axis=1).reshape(len(self.index), -1)

    def _weights(self, group, plane_offset):
        """Words of all channels: uint32 array, shape ``(col_tiles, cols, words of a group)``."""
        layer = self.layer
        contents = self.memories[Memory.WEIGHTS]
        size = layer["taps_per_group"] * layer["words"]
        address = (layer["weight_base"] + plane_offset + group * size
                   + np.arange(layer["col_tiles"])[:, None] * layer["col_tile_words"]
                   + np.arange(size))
        if address.max() >= contents.shape[1]:
            raise AddressFault(Memory.WEIGHTS)
        entries = contents[:, address].transpose(1, 0, 2, 3)
        return entries.reshape(*entries.shape[:2], -1)

    def _search(self, acc):
        """Codes: the number of thresholds at or below each accumulator, by descent of the heap."""
        layer, config = self.layer, self.config
        block = 1 << layer["code_bits"]
        tiles = np.arange(layer["col_tiles"])[:, None]
        thresholds = self._column_entries(Memory.THRESHOLDS, layer["threshold_base"],
                                          layer["col_tiles"] * block, config.acc_bits)
        node = np.ones(acc.shape, dtype=np.int64)
        for _ in range(layer["code_bits"]):
            node = 2 * node + (acc >= thresholds[np.arange(config.cols), tiles * block + node])
        return node - block

    def _write(self, codes):
        """Stores codes as planes in the reader's layout; a word's absent granules become 0."""
        layer, config = self.layer, self.config
        table = layer["planes_low"] | layer["planes_high"] << 32
        lookup = np.array([table >> 4 * code & 15 for code in range(16)])
        planes = lookup[codes]
        planes[:, -1, layer["last_cols"]:] = 0
        words = -(-layer["col_tiles"] // config.granules)
        written = self.alive
        bank, address = (place[written, None] for place in self._places())
        offsets = np.arange(words)
        top = (layer["code_bits"] - 1) * layer["out_plane_words"] + words
        contents = self.memories[Memory.ACTIVATIONS]
        if address.size and address.max() + top > contents.shape[1]:
            raise AddressFault(Memory.ACTIVATIONS)
        for plane in range(layer["code_bits"]):
            bits = np.zeros((len(bank), words * config.lanes), dtype=np.uint8)
            bits[:, :layer["col_tiles"] * config.cols] = (
                planes[written] >> plane & 1).reshape(len(bank), -1)
            contents[bank, address + plane * layer["out_plane_words"] + offsets] = bits_to_words(
                bits.reshape(len(bank), words, config.lanes))

    def _places(self):
        """Bank and address of word 0 of plane 0 of every virtual pixel."""
        layer, rows = self.layer, self.config.rows
        line, phase_y = np.divmod(self.y, layer["out_stride_y"])
        column, phase_x = np.divmod(self.x, layer["out_stride_x"])
        carry, bank = np.divmod(self.image * layer["out_image_banks"]
                                + line * layer["out_line_banks"] + column, rows)
        address = (layer["out_base"] + phase_y * layer["out_phase_y"]
                   + phase_x * layer["out_phase_x"] + self.image * layer["out_image_words"]
                   + line * layer["out_line_words"] + carry * layer["out_tile_words"])
        return bank, address


def _mismatches(activations, weights):
    """Popcount of the exclusive-or of words: int64 array, shape ``(pixels, col_tiles, cols)``."""
    left, right = _wide(activations), _wide(weights)
    total = np.zeros((len(left), *right.shape[:2]), dtype=np.int64)
    for word in range(left.shape[-1]):
        total += np.bitwise_count(left[:, word, None, None] ^ right[None, :, :, word])
    return total


def _wide(words):
    """Words joined in pairs, so that half as many are counted."""
    if words.shape[-1] % 2:
        words = np.concatenate([words, np.zeros((*words.shape[:-1], 1), words.dtype)], axis=-1)
    return np.ascontiguousarray(words).view(np.uint64)
