"""What becomes of the codes of a layer: pooling, and their planes in the activation banks."""

import numpy as np

from xnorloom.hw.spec.descriptor import MAX_CODE_BITS, MAX_MAP_BITS, POOLS
from xnorloom.hw.spec.memory import Memory

from .layout import bits_to_words

__all__ = ["write_codes"]


def write_codes(run, codes):
    """Pools the codes of a layer and stores them as planes in the layout of their readers.

    A word's absent granules become 0. Nothing is written if the map leaves the memory.

    Parameters
    ----------
    run : sw.machine.execute.LayerRun
    codes : int64 array, shape ``(walked pixels, col_tiles, cols)``

    Returns
    -------
    int
        End of the highest word that belongs to the map.
    """
    layer, config = run.layer, run.config
    contents = run.memories[Memory.ACTIVATIONS]
    line, place, written = run.line, run.place, run.alive
    if layer["pool"]:
        codes, line, place, written = _pooled(run, codes)
    lookup = _planes(layer)
    planes = lookup[codes]
    planes[:, -1, layer["last_cols"]:] = 0
    words = -(-layer["col_tiles"] // config.granules)
    bank, address = (each[written, None] for each in _places(run, line, place))
    top = (layer["map_bits"] - 1) * layer["out_plane_words"] + words
    end = int(address.max()) + top if address.size else 0
    if end > contents.shape[1]:
        return end
    for plane in range(layer["map_bits"]):
        bits = np.zeros((len(bank), words * config.lanes), dtype=np.uint8)
        bits[:, :layer["col_tiles"] * config.cols] = (
            planes[written] >> plane & 1).reshape(len(bank), -1)
        contents[bank, address + plane * layer["out_plane_words"] + np.arange(words)] = (
            bits_to_words(bits.reshape(len(bank), words, config.lanes)))
    return end


def _planes(layer):
    """Planes of every code, as a number."""
    if layer["map_bits"] > MAX_CODE_BITS:
        return np.arange(1 << MAX_MAP_BITS)
    table = layer["planes_low"] | layer["planes_high"] << 32
    return np.tile([table >> 4 * code & 15 for code in range(16)], 1 << MAX_MAP_BITS - 4)


def _places(run, line, place):
    """Bank and address of word 0 of plane 0 of every pixel."""
    layer, rows = run.layer, run.config.rows
    x, image = np.divmod(place, layer["images"])
    line, phase_y = np.divmod(line, layer["out_stride_y"])
    column, phase_x = np.divmod(x, layer["out_stride_x"])
    carry, bank = np.divmod(
        image + column * layer["out_column_banks"] + line * layer["out_line_banks"]
        + phase_x * layer["out_phase_x_banks"] + phase_y * layer["out_phase_y_banks"], rows)
    address = (layer["out_base"] + phase_y * layer["out_phase_y"]
               + phase_x * layer["out_phase_x"] + line * layer["out_line_words"]
               + column * layer["out_column_words"] + carry * layer["out_tile_words"])
    return bank, address


def _pooled(run, codes):
    """Codes of the pooled map, their lines and places, and which of them are complete.

    A window is complete with the pixel of its last line and column, be that one of the map or a
    virtual one behind it: one that is not walked is never written.
    """
    layer = run.layer
    images = layer["images"]
    width, lines = layer["walk_width"] // images, layer["out_lines"]
    whole = np.zeros((lines, width * images, *codes.shape[1:]), dtype=np.int64)
    whole[run.line[run.alive], run.place[run.alive]] = codes[run.alive]
    whole = whole.reshape(lines, width, images, *codes.shape[1:])
    shape = layer["pool_lines"], layer["pool_width"]
    pooled = np.zeros((*shape, *whole.shape[2:]), dtype=np.int64)
    complete = np.zeros((*shape, images), dtype=bool)
    walked = np.zeros((int(run.line.max()) + 1, layer["walk"]), dtype=bool)
    walked[run.line, run.place] = True
    for oy, ox in np.ndindex(shape):
        y = oy * layer["pool_stride_y"] - layer["pool_top"]
        x = ox * layer["pool_stride_x"] - layer["pool_left"]
        end_y, end_x = y + layer["pool_window_y"], x + layer["pool_window_x"]
        if end_y > len(walked) or end_x * images > layer["walk"]:
            continue
        complete[oy, ox] = walked[end_y - 1, (end_x - 1) * images:end_x * images]
        window = whole[max(0, y):end_y, max(0, x):end_x]
        if window.size:
            pooled[oy, ox] = (window.max(axis=(0, 1)) if layer["pool"] == POOLS["max"]
                              else window.sum(axis=(0, 1)))
    pooled = pooled.reshape(-1, *codes.shape[1:]) & (1 << MAX_MAP_BITS) - 1
    line, place = np.divmod(np.arange(len(pooled)), layer["pool_width"] * images)
    return pooled, line, place, complete.ravel()
