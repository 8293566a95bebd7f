"""Feature maps in the activation banks: where a pixel lies, and packing to and from link words."""

import dataclasses
from dataclasses import dataclass

import numpy as np

from xnorloom.hw.spec.descriptor import MAX_CODE_BITS

__all__ = ["MapLayout", "bits_to_words", "decode_planes", "words_to_bits"]


def bits_to_words(bits):
    """Packs bits into link words.

    Parameters
    ----------
    bits : uint8 array, shape ``(..., n)``
        Bit 0 comes first.

    Returns
    -------
    uint32 array, shape ``(..., ceil(n / 32))``
    """
    bits = np.asarray(bits, dtype=np.uint8)
    words = -(-bits.shape[-1] // 32)
    packed = np.packbits(bits, axis=-1, bitorder="little")
    padded = np.zeros((*bits.shape[:-1], 4 * words), dtype=np.uint8)
    padded[..., :packed.shape[-1]] = packed
    return padded.view("<u4").astype(np.uint32, copy=False)


def words_to_bits(words, count):
    """The first ``count`` bits of link words: uint8, shape ``(..., count)``."""
    data = np.ascontiguousarray(words, dtype="<u4").view(np.uint8)
    return np.unpackbits(data, axis=-1, count=count, bitorder="little")


def decode_planes(planes, table):
    """Codes whose planes these are.

    Parameters
    ----------
    planes : uint8 array, shape ``(n, k, channels, height, width)``
        Bits of every plane.
    table : uint8 array, shape ``(2 ** k, k)``
        Planes of every code. Where two codes share their planes the lower one is meant.

    Returns
    -------
    uint8 array, shape ``(n, channels, height, width)``

    Raises
    ------
    ValueError
        If a combination of planes belongs to no code.
    """
    table = np.asarray(table, dtype=np.int64)
    weights = 1 << np.arange(table.shape[1])
    inverse = np.full(1 << table.shape[1], -1, dtype=np.int64)
    inverse[(table @ weights)[::-1]] = np.arange(len(table))[::-1]
    codes = inverse[np.tensordot(weights, planes, axes=(0, 1))]
    if (codes < 0).any():
        raise ValueError("Feature map must hold planes of its code table only, but some planes "
                         "belong to no code")
    return codes.astype(np.uint8)


@dataclass(frozen=True)
class MapLayout:
    """A feature map as its readers lay it out, see :mod:`hw.spec.descriptor`.

    Parameters
    ----------
    rows, lanes : int
        Of the machine.
    images, channels, height, width : int
        What is stored.
    planes : int
        Planes of a code.
    stride_y, stride_x : int
        Stride of the readers: the map lies in that many phases.
    pitch_x : int
        Pixels from one line of a phase to the next.
    phase_y_banks, phase_x_banks : int
        Banks from one vertical and horizontal phase to the next.
    """

    rows: int
    lanes: int
    images: int
    channels: int
    height: int
    width: int
    planes: int
    stride_y: int
    stride_x: int
    pitch_x: int
    phase_y_banks: int = 0
    phase_x_banks: int = 0

    @property
    def words(self):
        """Bank words of one pixel and plane."""
        return -(-self.channels // self.lanes)

    @property
    def tile_words(self):
        """Bank words of one pixel."""
        return self.planes * self.words

    @property
    def slots(self):
        """Pixels of one phase that share a bank."""
        lines, columns = -(-self.height // self.stride_y), -(-self.width // self.stride_x)
        last = (((lines - 1) * self.pitch_x + columns) * self.images - 1
                + (min(self.stride_y, self.height) - 1) * self.phase_y_banks
                + (min(self.stride_x, self.width) - 1) * self.phase_x_banks)
        return last // self.rows + 1

    @property
    def phase_words(self):
        """Bank words of one phase."""
        return self.slots * self.tile_words

    @property
    def bank_words(self):
        """Words of every bank, up to the last phase that holds a pixel of the map."""
        last = ((min(self.stride_y, self.height) - 1) * self.stride_x
                + min(self.stride_x, self.width))
        return last * self.phase_words

    def as_dict(self):
        """All fields, in order."""
        return dataclasses.asdict(self)

    def output_fields(self, base, table):
        """Fields of a descriptor that say where and how the layer's codes are written.

        A step that is never taken, from line to line of a map of one line for instance, is 0.

        Parameters
        ----------
        base : int
            Address of slot 0 of phase 0.
        table : bits, shape ``(2 ** planes, planes)``
            Planes of every code. Those of more than 4 bits are their own planes.

        Returns
        -------
        dict
        """
        if self.planes > MAX_CODE_BITS:
            table = np.arange(1 << MAX_CODE_BITS)[:, None] >> np.arange(MAX_CODE_BITS) & 1
        packed = sum(int(bit) << 4 * code + plane for code, row in enumerate(table)
                     for plane, bit in enumerate(row))
        fields = {"out_base": base, "out_tile_words": self.tile_words,
                  "out_plane_words": self.words, "out_stride_x": self.stride_x,
                  "out_stride_y": self.stride_y}
        for name, pixels, taken in (
                ("column", self.images, self.width > self.stride_x),
                ("line", self.pitch_x * self.images, self.height > self.stride_y)):
            words, step = divmod(pixels, self.rows) if taken else (0, 0)
            fields[f"out_{name}_words"] = words * self.tile_words
            fields[f"out_{name}_banks"] = step
        for name, phases, step, taken in (
                ("x", 1, self.phase_x_banks, min(self.width, self.stride_x) > 1),
                ("y", self.stride_x, self.phase_y_banks, min(self.height, self.stride_y) > 1)):
            fields[f"out_phase_{name}"] = phases * self.phase_words if taken else 0
            fields[f"out_phase_{name}_banks"] = step if taken else 0
        return fields | {"planes_low": packed & 0xFFFFFFFF, "planes_high": packed >> 32}

    def numbers(self):
        """The number m of every pixel within its phase, and the phase.

        Returns
        -------
        tuple of int64 array, shape ``(images, height, width)``
        """
        image = np.arange(self.images)[:, None, None]
        y, phase_y = np.divmod(np.arange(self.height)[:, None], self.stride_y)
        x, phase_x = np.divmod(np.arange(self.width), self.stride_x)
        number = ((y * self.pitch_x + x) * self.images + image
                  + phase_y * self.phase_y_banks + phase_x * self.phase_x_banks)
        return number, np.broadcast_to(phase_y * self.stride_x + phase_x, number.shape)

    def places(self):
        """Bank and relative address of word 0 of every pixel.

        Returns
        -------
        tuple of int64 array, shape ``(images, height, width)``
        """
        number, phase = self.numbers()
        return (number % self.rows,
                phase * self.phase_words + number // self.rows * self.tile_words)

    def pack(self, codes, table):
        """Bank contents of a map.

        Parameters
        ----------
        codes : integer array, shape ``(images, channels, height, width)``
        table : uint8 array, shape ``(2 ** planes, planes)``

        Returns
        -------
        uint32 array, shape ``(rows, bank_words, ceil(lanes / 32))``
        """
        planes = np.asarray(table, dtype=np.uint8)[codes]
        bits = np.zeros((self.images, self.height, self.width, self.planes,
                         self.words * self.lanes), dtype=np.uint8)
        bits[..., :self.channels] = planes.transpose(0, 2, 3, 4, 1)
        entries = bits_to_words(bits.reshape(*bits.shape[:3], self.tile_words, self.lanes))
        banks = np.zeros((self.rows, self.bank_words, entries.shape[-1]), dtype=np.uint32)
        bank, address = self.places()
        banks[bank[..., None], address[..., None] + np.arange(self.tile_words)] = entries
        return banks

    def unpack(self, banks):
        """Planes of a map: uint8, shape ``(images, planes, channels, height, width)``."""
        bank, address = self.places()
        entries = banks[bank[..., None], address[..., None] + np.arange(self.tile_words)]
        bits = words_to_bits(entries, self.lanes)
        bits = bits.reshape(*bits.shape[:3], self.planes, self.words * self.lanes)
        return bits[..., :self.channels].transpose(0, 3, 4, 1, 2)
