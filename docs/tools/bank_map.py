"""How a kernel tap finds its pixels in the banks, for stride 1 and 2, with numbers of the code."""

import numpy as np

from xnorloom.sw.machine.layout import MapLayout
from xnorloom.sw.machine.walk import tap_entries

from .drawing import COLOURS, MUTED, Drawing

__all__ = ["TapExample", "bank_map"]

ROWS = 4


class TapExample:
    """One tap of one tile of a 3 x 3 convolution with padding 1 on a machine of 4 rows.

    Parameters
    ----------
    size : tuple of int
        Height and width of the map.
    stride : int
    tap : tuple of int
        ky, kx.
    tile : int
        Pixel tile.

    Attributes
    ----------
    layout : MapLayout
    entry : dict
        Fields of the tap.
    reads : list of tuple
        Of every row: output pixel ``(y, x)``, input pixel ``(y, x)`` or None, bank, slot.
    """

    def __init__(self, size, stride, tap, tile):
        out = tuple((side + 2 - 3) // stride + 1 for side in size)
        self.size, self.stride, self.tap, self.tile, self.out = size, stride, tap, tile, out
        self.layout = MapLayout(
            rows=ROWS, lanes=8, images=1, channels=1, height=size[0], width=size[1], planes=1,
            stride_y=stride, stride_x=stride, pitch_x=max(out[1], -(-size[1] // stride)),
            phase_x_banks=0 if stride == 1 else ROWS // stride)
        taps = tap_entries((3, 3), (stride, stride), (1, 1), (1, 1, 1, 1), self.layout, out)
        self.entry = taps[3 * tap[0] + tap[1]]
        # One plane of one word: an address is a slot.
        self.banks, self.slots = (place[0] for place in self.layout.places())
        self.reads = [self._read(row) for row in range(ROWS)]

    def _read(self, row):
        y, x = divmod(self.tile * ROWS + row, self.layout.pitch_x)
        source = (y * self.stride + self.tap[0] - 1, x * self.stride + self.tap[1] - 1)
        turned = row + self.entry["rotation"]
        bank, slot = turned % ROWS, self.tile + self.entry["offset"] + turned // ROWS
        if not all(0 <= place < side for place, side in zip(source, self.size, strict=True)):
            return (y, x), None, bank, None
        if (bank, slot) != (self.banks[source], self.slots[source]):
            raise AssertionError(f"tap must find pixel {source}, not bank {bank} slot {slot}")
        return (y, x), source, bank, slot


def bank_map():
    """Text of ``banks.svg``."""
    d = Drawing(1000, 716, "Pixels of a feature map, the banks they lie in, and the rotation that "
                          "brings them to the rows, for stride 1 and stride 2")
    _panel(d, 20, TapExample((5, 6), 1, (0, 2), 3))
    _panel(d, 346, TapExample((6, 8), 2, (0, 0), 1))
    return d.svg()


def _panel(d, top, example):
    height, width = example.size
    entry, layout = example.entry, example.layout
    d.text(20, top + 22, f"Stride {example.stride}: 3 x 3 kernel, padding 1, map of {width} x "
                         f"{height} pixels, {ROWS} rows; tile {example.tile}, tap ky = "
                         f"{example.tap[0]}, kx = {example.tap[1]}", size=15, weight="bold")
    used = {read[1] for read in example.reads}
    cell, x0, y0 = 34, 40, top + 66
    d.text(x0, y0 - 12, "map: number and colour are the bank", size=12, colour=MUTED)
    for y in range(height):
        for x in range(width):
            bank = int(example.banks[y, x])
            chosen = (y, x) in used
            d.box(x0 + x * cell, y0 + y * cell, cell - 3, cell - 3, fill=COLOURS[bank],
                  stroke="#111111" if chosen else COLOURS[bank], radius=3, colour="#ffffff",
                  size=12, lines=(bank,), weight="bold" if chosen else "normal")
            if chosen:
                d.box(x0 + x * cell - 3, y0 + y * cell - 3, cell + 3, cell + 3, fill="none",
                      stroke="#111111", radius=4)
    _banks(d, 384, y0, example)
    _rows(d, 688, y0, example)
    below = y0 + height * cell + 22
    d.text(x0, below, f"pitch_x = {layout.pitch_x}, slots = {layout.slots} per phase, "
                      f"phase_x_banks = {layout.phase_x_banks}", size=12)
    d.text(x0, below + 18,
           f"tap: offset = {entry['offset']}, rotation = {entry['rotation']}", size=12)
    d.text(x0, below + 36, "(one word per pixel: a slot is an address)", size=12, colour=MUTED)


def _banks(d, x0, y0, example):
    layout = example.layout
    addresses = layout.bank_words
    step = min(26, 230 / addresses)
    d.text(x0, y0 - 12, "banks: address, and the pixel (y, x) there", size=12, colour=MUTED)
    places = {(int(b), int(s)): pixel for pixel, b, s in zip(
        np.ndindex(*example.size), example.banks.ravel(), example.slots.ravel(), strict=True)}
    used = {(read[2], read[3]) for read in example.reads if read[1] is not None}
    for slot in range(addresses):
        y = y0 + slot * step
        d.text(x0 - 6, y + step / 2 + 3, slot, size=10, colour=MUTED, anchor="end")
        for bank in range(ROWS):
            pixel = places.get((bank, slot))
            chosen = (bank, slot) in used
            d.box(x0 + bank * 58, y, 54, step - 3, radius=2, size=10.5,
                  fill="#eef0f3" if pixel is None else COLOURS[bank], colour="#ffffff",
                  stroke="#111111" if chosen else "none", weight="bold" if chosen else "normal",
                  lines=() if pixel is None else (f"{pixel[0]}, {pixel[1]}",))
            if chosen:
                d.box(x0 + bank * 58 - 2, y - 2, 58, step + 1, fill="none", stroke="#111111",
                      radius=3)
    for bank in range(ROWS):
        d.text(x0 + bank * 58 + 27, y0 + addresses * step + 12, f"bank {bank}", size=11,
               colour=MUTED, anchor="middle")


def _rows(d, x0, y0, example):
    d.text(x0, y0 - 12, "rotator: row r takes bank (r + rotation) mod 4", size=12, colour=MUTED)
    pitch = 46
    for row, (pixel, source, bank, _slot) in enumerate(example.reads):
        y, from_y = y0 + row * pitch, y0 + bank * pitch
        d.line([(x0 + 56, from_y + 15), (x0 + 118, y + 15)], arrow=True, colour=COLOURS[bank],
               width=2)
        d.box(x0, from_y, 54, 30, fill=COLOURS[bank], stroke=COLOURS[bank], colour="#ffffff",
              size=12, lines=(f"bank {bank}",))
        text = "padding word" if source is None else f"pixel {source[0]}, {source[1]}"
        d.box(x0 + 120, y, 150, 30, size=12, stroke=COLOURS[bank],
              lines=(f"row {row}: {text}",))
        d.text(x0 + 122, y + 41, f"for output {pixel[0]}, {pixel[1]}", size=10, colour=MUTED)
