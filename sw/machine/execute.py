"""One layer, executed by numpy from the contents of the machine's memories and nothing else."""

import numpy as np

from xnorloom.hw.spec.descriptor import (
    BORDER_CLASSES,
    PAIR,
    RESCALE_DOWN,
    RESCALE_SHIFTS,
    TAP,
    TERM,
)
from xnorloom.hw.spec.memory import Memory
from xnorloom.hw.spec.tile import bias_entries, scale_entries

from .write import write_codes

__all__ = ["AddressFault", "LayerRun", "fetch_records"]


class AddressFault(Exception):
    """A step left a memory."""

    def __init__(self, memory):
        self.memory = memory
        super().__init__(memory)


def fetch_records(memories, memory, record, start, count):
    """Unpacks ``count`` records of a table memory."""
    if start + count > memories[memory].shape[1]:
        # As in the gateware, all tables share one fault.
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

    Attributes
    ----------
    lists : list of list of dict
        The terms of every ``term_period`` column tiles, each with its entries of the pair and tap
        tables as ``pair_entries`` and ``tap_entries``.

    Raises
    ------
    AddressFault
        If the term, tap or pair table ends too early.
    """

    def __init__(self, config, memories, descriptor):
        self.config, self.memories, self.layer = config, memories, descriptor
        terms, known = descriptor["terms"], {}
        self.lists = []
        for number in range(-(-descriptor["col_tiles"] // descriptor["term_period"])):
            entries = fetch_records(memories, Memory.TERMS, TERM,
                                    descriptor["term_base"] + number * terms, terms)
            self.lists.append([self._term(entry, known) for entry in entries])
        walked = np.arange(descriptor["pixel_tiles"] * config.rows)
        self.tile, self.row = np.divmod(walked, config.rows)
        self.tile = self.tile + self.tile // descriptor["line_tiles"] * descriptor["line_skip"]
        self.line, self.place = np.divmod(walked, descriptor["walk"])
        self.alive = ((self.place < descriptor["walk_width"])
                      & (self.line < descriptor["out_lines"]))

    def _term(self, term, known):
        """A term with its taps and pairs; what terms share is unpacked once."""
        for name, memory, record, count in (
                ("pair", Memory.PAIRS, PAIR, term["pairs"]),
                ("tap", Memory.TAPS, TAP, term["groups"] * term["taps_per_group"])):
            key = name, term[f"{name}_base"], count
            if key not in known:
                known[key] = fetch_records(self.memories, memory, record, *key[1:])
            term[f"{name}_entries"] = known[key]
        return term

    def execute(self):
        """Runs the layer.

        Returns
        -------
        int64 array, shape ``(col_tiles, pixel_tiles, rows, cols)``, or None
            Accumulators of a raw layer; other layers write their codes to the activation banks.

        Raises
        ------
        AddressFault
            If a step leaves a memory; nothing has been written then.
        """
        acc = self._accumulate()
        if self.layer["raw"]:
            shape = (self.layer["pixel_tiles"], self.config.rows, *acc.shape[1:])
            return acc.reshape(shape).transpose(2, 0, 1, 3)
        codes = self._rescaled(acc) if self.layer["rescale"] else self._search(acc)
        end = write_codes(self, codes)
        if end > self.memories[Memory.ACTIVATIONS].shape[1]:
            raise AddressFault(Memory.ACTIVATIONS)
        return None

    def _column_entries(self, memory, start, count):
        """Entries of every column: int64 array, shape ``(cols, count)``."""
        contents = self.memories[memory]
        if start + count > contents.shape[1]:
            raise AddressFault(memory)
        return contents[:, start:start + count, 0].astype(np.int64)

    def _parameters(self):
        """Parameter blocks: int64 array, shape ``(block, col_tiles, cols)``."""
        layer = self.layer
        entries = self._column_entries(Memory.PARAMETERS, layer["parameter_base"],
                                       layer["col_tiles"] * layer["block"])
        blocks = entries.reshape(self.config.cols, layer["col_tiles"], layer["block"])
        return _signed(blocks.transpose(2, 1, 0), self.config.acc_bits)

    def _scales(self):
        """Scales, a multiplier behind them: int64 array, shape ``(entries, col_tiles, cols)``."""
        layer, tiles, each = self.layer, self.layer["col_tiles"], scale_entries(self.layer)
        entries = self._column_entries(Memory.SCALES, layer["scale_base"], tiles * each)
        return entries.reshape(self.config.cols, tiles, each).transpose(2, 1, 0)

    def _accumulate(self):
        """Accumulators: int64 array, shape ``(walked pixels, col_tiles, cols)``."""
        layer = self.layer
        entries = self._scales()[:layer["passes"]]
        parameters = self._parameters()
        classes = self._classes()
        acc = parameters[classes] if len(parameters) > classes.max() else (
            np.zeros((len(classes), *parameters.shape[1:]), dtype=np.int64))
        period = layer["term_period"]
        for number, terms in enumerate(self.lists):
            columns = slice(number * period, (number + 1) * period)
            part, done = acc[:, columns], 0
            for term in terms:
                done = self._add(part, term, number * period, entries[:, columns], done)
        return acc

    def _classes(self):
        """Entry of the bias of every walked pixel."""
        layer = self.layer
        sides = [layer[f"border_{side}"] for side in ("top", "bottom", "left", "right")]
        if not any(sides):
            return np.zeros(len(self.line), dtype=np.int64)
        top, bottom, left, right = sides
        column, width = self.place // layer["images"], layer["walk_width"] // layer["images"]
        return (_border_class(self.line, layer["out_lines"], top, bottom) * BORDER_CLASSES
                + _border_class(column, width, left, right))

    def _add(self, acc, term, first_column, entries, done):
        """Adds a term to the accumulators of its column tiles, from scale ``done`` on; returns the
        number of the next scale."""
        config = self.config
        mask, half = (1 << config.count_bits) - 1, 1 << config.acc_bits - 1
        for group in range(term["groups"]):
            operands = {}
            count = np.zeros(acc.shape, dtype=np.int64)
            for pair in term["pair_entries"]:
                plane = pair["activation_offset"]
                if plane not in operands:
                    operands[plane] = self._activations(term, group, plane)
                if pair["clear"]:
                    count[...] = 0
                if pair["double"]:
                    count <<= 1
                count += _mismatches(operands[plane], self._weights(
                    term, group, pair["weight_offset"], first_column, acc.shape[1]))
                if pair["drain"] and done < len(entries):
                    if (entries[done] >> config.scale_bits).any():
                        clamped = entries[done] >> config.scale_bits & 1 == 1
                        acc[...] = np.where(clamped, np.maximum(acc, 0), acc)
                    acc += _signed(entries[done], config.scale_bits) * (count & mask)
                    acc[...] = (acc + half & (half << 1) - 1) - half
                    done += 1
        return done

    def _activations(self, term, group, plane_offset):
        """Words of all walked pixels: uint32, shape ``(walked pixels, words of a group)``."""
        contents = self.memories[Memory.ACTIVATIONS]
        rows, word, parts = self.config.rows, np.arange(term["words"]), []
        first = group * term["taps_per_group"]
        for tap in term["tap_entries"][first:first + term["taps_per_group"]]:
            turned = self.row + tap["rotation"]
            inside = (self.alive
                      & (self.line >= tap["first_line"]) & (self.line < tap["end_line"])
                      & (self.place >= tap["first_place"]) & (self.place < tap["end_place"]))
            slot = self.tile + (turned >= rows)
            address = np.where(inside, term["activation_base"] + tap["offset"]
                               + slot * term["tile_words"], term["pad_base"])
            address = address[:, None] + plane_offset + word
            if address.min() < 0 or address.max() >= contents.shape[1]:
                raise AddressFault(Memory.ACTIVATIONS)
            parts.append(contents[(turned % rows)[:, None], address])
        return np.concatenate(parts, axis=1).reshape(len(self.line), -1)

    def _weights(self, term, group, plane_offset, first_column, columns):
        """Words of some column tiles: uint32, shape ``(columns, cols, words of a group)``."""
        contents = self.memories[Memory.WEIGHTS]
        size = term["taps_per_group"] * term["words"]
        column = first_column + np.arange(columns)
        address = (self.layer["weight_base"] + term["weight_offset"] + plane_offset + group * size
                   + column[:, None] * self.layer["col_tile_words"] + np.arange(size))
        if address.max() >= contents.shape[1]:
            raise AddressFault(Memory.WEIGHTS)
        entries = contents[:, address].transpose(1, 0, 2, 3)
        return entries.reshape(*entries.shape[:2], -1)

    def _search(self, acc):
        """Codes: the number of thresholds at or below each accumulator, by descent of the heap."""
        layer = self.layer
        parameters = self._parameters()
        tiles, columns = np.arange(layer["col_tiles"])[:, None], np.arange(self.config.cols)
        node = np.ones(acc.shape, dtype=np.int64)
        for _ in range(layer["code_bits"]):
            entry = np.minimum(bias_entries(layer) - 1 + node, len(parameters) - 1)
            node = 2 * node + (acc >= parameters[entry, tiles, columns])
        return node - (1 << layer["code_bits"])

    def _rescaled(self, acc):
        """Codes by multiplication, in the widths of the unit."""
        layer, config = self.layer, self.config
        parameters = self._parameters()
        addends = parameters[min(bias_entries(layer), len(parameters) - 1)]
        multipliers = _signed(self._scales()[layer["passes"]], config.scale_bits)
        factor = _signed(acc >> RESCALE_SHIFTS[layer["shift"]], config.count_bits + 1)
        total = factor * multipliers + addends
        return np.clip(total >> RESCALE_DOWN, 0, (1 << layer["code_bits"]) - 1)


def _signed(values, bits):
    """Two's complement of a width, read out of the low bits."""
    half = 1 << bits - 1
    return ((values & (half << 1) - 1) ^ half) - half


def _border_class(position, size, before, behind):
    """Class of lines, or of columns; those outside the map have that of the last one."""
    position = np.minimum(position, size - 1)
    return np.where(position < before, position,
                    before + np.maximum(0, position - (size - behind) + 1))


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
