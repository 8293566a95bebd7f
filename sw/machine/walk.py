"""How a layer walks its virtual pixels, and where its taps read; see :mod:`hw.spec.descriptor`."""

from dataclasses import dataclass

import numpy as np

__all__ = ["NOWHERE", "Walk", "pool_reach", "pooled_map", "tap_entries", "turns_needed"]

NOWHERE = {"offset": 0, "rotation": 0, "first_place": 0, "end_place": 0, "first_line": 0,
           "end_line": 0}
"""A tap that never meets its map and always reads padding."""


def pooled_map(out_map, window, stride, padding):
    """Height and width of a pooled map; ``padding`` is top, bottom, left, right."""
    return tuple((size + padding[2 * axis] + padding[2 * axis + 1] - window[axis]) // stride[axis]
                 + 1 for axis, size in enumerate(out_map))


def pool_reach(out_map, window, stride, padding):
    """Lines and columns that a pooled layer walks: its map, and what completes its windows."""
    counts = pooled_map(out_map, window, stride, padding)
    return tuple(max(size, (counts[axis] - 1) * stride[axis] + window[axis] - padding[2 * axis])
                 for axis, size in enumerate(out_map))


@dataclass(frozen=True)
class Walk:
    """The walk of a layer.

    Parameters
    ----------
    rows, images, pitch : int
        Of the machine, of the batch, of a line in pixels.
    places : int
        Column places of a line that are walked: ``walk``.
    line_tiles, line_skip, pixel_tiles : int
        As in the descriptor.
    """

    rows: int
    images: int
    pitch: int
    places: int
    line_tiles: int
    line_skip: int
    pixel_tiles: int

    @classmethod
    def of(cls, reach, rows, images, pitch):
        """The walk over ``reach`` lines and columns; where lines begin with a tile, whole tiles
        behind the last column are skipped."""
        lines, columns = reach
        whole = pitch * images
        if whole % rows == 0:
            tiles = -(-columns * images // rows)
            return cls(rows, images, pitch, tiles * rows, tiles, whole // rows - tiles,
                       tiles * lines)
        last = ((lines - 1) * pitch + columns) * images
        tiles = -(-last // rows)
        return cls(rows, images, pitch, whole, tiles, 0, tiles)

    def fields(self):
        """Fields of a descriptor that say so."""
        return {"walk": self.places, "line_tiles": self.line_tiles, "line_skip": self.line_skip,
                "pixel_tiles": self.pixel_tiles, "images": self.images}

    def pixels(self, out_map):
        """Tile, row, line and column place of every walked pixel of a map, in order."""
        walked = np.arange(self.pixel_tiles * self.rows)
        line, place = np.divmod(walked, self.places)
        alive = (line < out_map[0]) & (place < out_map[1] * self.images)
        return tuple(each[alive] for each in (*np.divmod(walked, self.rows), line, place))


def turns_needed(layout, pixels, most):
    """Fewest turns in which no two pixels of a turn are written to one bank.

    Parameters
    ----------
    layout : sw.machine.layout.MapLayout
        Of the map that is written.
    pixels : tuple of int64 array
        From :meth:`Walk.pixels`, or some of them.
    most : int
        No more are tried; ``rows`` always serve.

    Returns
    -------
    int
    """
    tile, row, line, place = pixels
    x, image = np.divmod(place, layout.images)
    bank = layout.numbers()[0][image, line, x] % layout.rows
    for turns in range(1, min(most, layout.rows)):
        key = (tile * turns + row * turns // layout.rows) * layout.rows + bank
        if len(np.unique(key)) == len(key):
            return turns
    return min(most, layout.rows)


def tap_entries(kernel, stride, dilation, padding, layout, out_map):
    """Fields of the kernel taps of a term in the order of the tap table, as dictionaries.

    Parameters
    ----------
    kernel, stride, dilation : sequence of int
        Vertical, horizontal.
    padding : sequence of int
        Top, bottom, left, right.
    layout : sw.machine.layout.MapLayout
        Of its source.
    out_map : sequence of int
        Height and width of the map of accumulators.

    Returns
    -------
    list of dict
    """
    entries = []
    for ky in range(kernel[0]):
        for kx in range(kernel[1]):
            y, x = ky * dilation[0] - padding[0], kx * dilation[1] - padding[2]
            lines = _inside(y, stride[0], layout.height, out_map[0])
            columns = _inside(x, stride[1], layout.width, out_map[1])
            if lines is None or columns is None:
                entries.append(NOWHERE)
                continue
            # Where a layer makes one line or column its own stride does not matter.
            line, phase_y = divmod(y, layout.stride_y)
            column, phase_x = divmod(x, layout.stride_x)
            delta = ((line * layout.pitch_x + column) * layout.images
                     + phase_y * layout.phase_y_banks + phase_x * layout.phase_x_banks)
            slots, rotation = divmod(delta, layout.rows)
            phase = phase_y * layout.stride_x + phase_x
            entries.append({
                "offset": phase * layout.phase_words + slots * layout.tile_words,
                "rotation": rotation,
                "first_place": columns[0] * layout.images, "end_place": columns[1] * layout.images,
                "first_line": lines[0], "end_line": lines[1]})
    return entries


def _inside(position, stride, size, out_size):
    """First pixel of the output whose tap lies inside the map, and the one behind the last; None
    if there is none."""
    first = max(0, -(position // stride))
    end = min(out_size, (size - 1 - position) // stride + 1)
    return (first, end) if first < end else None
