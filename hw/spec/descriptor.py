"""What the sequencer executes: layer descriptors, terms, kernel taps and plane pairs.

A layer is a nest of loops, outermost first::

    for column tile                     cols consecutive output channels
      for pixel tile                    rows consecutive virtual pixels
        for term                        one source map and one set of weights, from the term table
          for group                     of kernel taps that share scales
            for pair                    (activation plane, weight plane), from the pair table
              for tap                   of the group, from the tap table
                for word                of lanes input channels
                                        -> one step: every element adds one word of mismatches

A **pass** is what lies between a pair marked ``clear`` and the next pair marked ``drain``; at its
end every element hands its count m to the scale-and-accumulate unit of its column, which adds S *
m. A **sweep** is one column tile over all pixel tiles.

**Virtual pixels.** Images are innermost: pixel (image, y, x) of a map has the number
n = (y * pitch_x + x) * images + image, and lies in row n mod rows of tile n div rows. A place
within a line, c = x * images + image, is a *column place*. Virtual pixels with c >= walk_width or
y >= out_lines are computed and not written. Where lines begin with a tile (pitch_x * images is a
multiple of rows), the tiles between two lines are skipped: ``walk`` column places of a line are
walked, ``line_tiles`` tiles, and ``line_skip`` tiles left out.

**Activation banks.** A map read with stride (sy, sx) stores its pixel (image, y, x) at
m = ((y div sy) * pitch_x + x div sx) * images + image + phase_y * phase_y_banks +
phase_x * phase_x_banks, phase_y = y mod sy, phase_x = x mod sx, in bank m mod rows, at address ::

    base + (phase_y * sx + phase_x) * slots * tile_words + (m div rows) * tile_words
         + plane * words + word

where ``slots`` is the number of pixels of a phase that share a bank, ``words`` = ceil(channels /
lanes) and ``tile_words`` = planes * words; bit ``l`` of a word is channel ``word * lanes + l``. For
one tap the ``rows`` pixels of a tile are consecutive in m, so they always lie in different banks.
The phase's banks only say in which bank a phase begins: they let pixels of one tile that lie in
different phases be written at the same time.
"""

from .record import Field, Record

__all__ = ["BORDER_CLASSES", "COLUMN_FIELDS", "DESCRIPTOR", "DESCRIPTOR_TAG", "FEED_FIELDS",
           "MAX_CODE_BITS", "MAX_MAP", "MAX_MAP_BITS", "MAX_PLANES", "MAX_POOL", "MAX_STRIDE",
           "MAX_TERMS", "OUTPUT_FIELDS", "PAIR", "POOLS", "RESCALE_DOWN", "RESCALE_SHIFTS", "TAP",
           "TERM", "descriptor_limits", "first_violation"]

MAX_STRIDE = 15
"""Largest stride."""

MAX_CODE_BITS = 4
"""Widest code found by thresholds: a descriptor holds the planes of 16 codes."""

MAX_MAP_BITS = 8
"""Widest code of a map: sums of pooled codes and codes found by multiplication."""

MAX_PLANES = 16
"""Largest number of activation or weight planes of a term."""

MAX_MAP = 4095
"""Largest height or width of a feature map, in pixels."""

MAX_TERMS = 15
"""Most terms of a layer."""

MAX_POOL = 15
"""Largest height and width of a pooled window."""

RESCALE_SHIFTS = (4, 8, 12)
"""Right shifts of an accumulator before it is multiplied."""

RESCALE_DOWN = 16
"""Right shift of the sum of product and addend."""

BORDER_CLASSES = 4
"""Classes of lines, and of columns, which have biases of their own."""

POOLS = {"none": 0, "max": 1, "sum": 2}
"""Values of the ``pool`` field."""

DESCRIPTOR_TAG = 0xD5
"""Value of the ``tag`` field: tells a descriptor from stray memory."""

DESCRIPTOR = Record(
    "descriptor",
    (Field("tag", 8, "constant 0xD5"),
     Field("raw", 1, "1: accumulators go to the host, 0: codes go to the activation banks"),
     Field("rescale", 1, "1: codes by multiplication, 0: by thresholds"),
     Field("send", 1, "reserved for sending the map to the host; 0"),
     Field("code_bits", 4, "bits of a code as it leaves the columns"),
     Field("map_bits", 4, "bits of a code of the output map, which are its planes"),
     Field("turns", 6, "turns in which a tile is written: row r in turn r * turns div rows"),
     Field("last_cols", 7, "valid columns of the last column tile; the others write 0")),
    (Field("col_tiles", 16, "tiles of cols output channels"),
     Field("term_period", 16, "column tiles that use the same terms")),
    (Field("pixel_tiles", 20, "tiles of rows virtual pixels"),
     Field("terms", 4, "terms of a tile"),
     Field("block", 8, "entries of a column tile in the parameter banks")),
    (Field("line_tiles", 20, "tiles after which tiles are skipped"),
     Field("line_skip", 12, "tiles to skip then")),
    (Field("walk", 16, "column places of a line that are walked"),
     Field("walk_width", 16, "column places of a line that are written: out_width * images")),
    (Field("out_lines", 12, "lines of the map of accumulators"),
     Field("first_line", 12, "reserved for maps cut into strips; 0")),
    (Field("tile_cycles", 16, "least cycles from one tile's last step to the next tile's: rows, "
                              "half that in pairs, twice that with borders, or what the output "
                              "needs"),
     Field("images", 12, "images of the batch: column places of a pixel"),
     Field("pixel_pairs", 1, "1: pixels of a tile go two a cycle; not read where units is odd")),
    (Field("term_base", 16, "first entry in the term table"),
     Field("needs", 16, "reserved for sections that must have come; 0")),
    (Field("weight_base", 16, "first weight word of column tile 0"),
     Field("col_tile_words", 16, "weight words of one column tile")),
    (Field("passes", 16, "passes of a tile"),
     Field("scale_base", 16, "first scale; of every column tile one per pass, in that order, and "
                             "with rescale a multiplier")),
    (Field("parameter_base", 16, "first entry in the parameter banks; one block per column tile"),
     Field("shift", 5, "right shift of an accumulator before it is multiplied: index into "
                       "RESCALE_SHIFTS"),
     Field("down", 5, "reserved; product and addend are shifted by RESCALE_DOWN; 0")),
    (Field("border_top", 2, "lines at the top with a bias of their own"),
     Field("border_bottom", 2, "lines at the bottom with a bias of their own"),
     Field("border_left", 2, "columns at the left with a bias of their own"),
     Field("border_right", 2, "columns at the right with a bias of their own")),
    (Field("pool", 2, "0: none, 1: maximum, 2: sum of the codes of a window"),
     Field("pool_window_x", 4, "width of the window"),
     Field("pool_window_y", 4, "height of the window"),
     Field("pool_stride_x", 4, "columns from one window to the next"),
     Field("pool_stride_y", 4, "lines from one window to the next"),
     Field("pool_left", 4, "columns of the first window left of the map"),
     Field("pool_top", 4, "lines of the first window above the map"),
     Field("pool_cycles", 6, "cycles per pixel, at least map_bits, and the open windows")),
    (Field("pool_width", 12, "width of the pooled map"),
     Field("pool_lines", 12, "lines of the pooled map"),
     Field("pool_open_x", 4, "windows a pixel can lie in, horizontally: ceil(window / stride); "
                           "pool_cycles counts them, the machine checks no more than its bounds"),
     Field("pool_open_y", 4, "and vertically")),
    (Field("out_walk", 16, "column places of a line of the output map, pooled or not, as walked"),
     Field("out_stride_x", 4, "horizontal stride of the layer that reads the output"),
     Field("out_stride_y", 4, "vertical stride of the layer that reads the output")),
    (Field("out_base", 16, "output map: address of word 0 of slot 0 of phase 0"),
     Field("out_tile_words", 16, "output words of one pixel")),
    (Field("out_plane_words", 16, "output words of one pixel and plane"),
     Field("out_column_words", 16, "(images div rows) * out_tile_words")),
    (Field("out_phase_x", 16, "address step from one horizontal phase to the next"),
     Field("out_phase_y", 16, "address step from one vertical phase to the next")),
    (Field("out_line_words", 16, "((reader's pitch_x * images) div rows) * out_tile_words"),
     Field("out_line_banks", 5, "reader's pitch_x * images mod rows"),
     Field("out_column_banks", 5, "images mod rows")),
    (Field("out_phase_x_banks", 5, "bank step from one horizontal phase to the next"),
     Field("out_phase_y_banks", 5, "bank step from one vertical phase to the next")),
    (Field("planes_low", 32, "planes of codes 0..7, four bits each, plane 0 lowest"),),
    (Field("planes_high", 32, "planes of codes 8..15"),),
    *[()] * 10,
)
"""One layer, 32 words. ``out_*`` describe the map as its reader lays it out, and ``planes_*`` the
codes of at most 4 bits; a wider code is its own planes, and leaves the tables that map every code
to itself. A raw layer leaves the fields of codes at their lowest legal value."""

FEED_FIELDS = (
    "raw", "block", "tile_cycles", "col_tiles", "term_period", "pixel_tiles", "terms", "line_tiles",
    "line_skip", "walk", "walk_width", "out_lines", "term_base", "weight_base", "col_tile_words",
    "rescale", "border_top", "border_bottom", "border_left", "border_right", "images",
    "pixel_pairs")
"""Fields of a descriptor that the feed reads."""

COLUMN_FIELDS = (
    "raw", "rescale", "code_bits", "col_tiles", "pixel_tiles", "block", "passes", "scale_base",
    "parameter_base", "shift", "border_top", "border_bottom", "border_left", "border_right")
"""Fields of a descriptor that the columns read."""

OUTPUT_FIELDS = (
    "raw", "map_bits", "turns", "last_cols", "col_tiles", "pixel_tiles", "walk", "walk_width",
    "out_lines", "images", "pool", "pool_window_x", "pool_window_y", "pool_stride_x",
    "pool_stride_y", "pool_left", "pool_top", "pool_cycles", "pool_width", "pool_lines",
    "pool_open_y", "out_walk", "out_stride_x", "out_stride_y", "out_base", "out_tile_words",
    "out_plane_words", "out_column_words", "out_phase_x", "out_phase_y", "out_line_words",
    "out_line_banks", "out_column_banks", "out_phase_x_banks", "out_phase_y_banks", "planes_low",
    "planes_high", "pixel_pairs")
"""Fields of a descriptor that the output reads."""

TERM = Record(
    "term",
    (Field("activation_base", 16, "source map: address of slot 0 of phase 0"),
     Field("pad_base", 16, "padding of the source: address, in every bank, of its words")),
    (Field("tile_words", 16, "words of one pixel of the source: planes * words"),
     Field("words", 16, "words of one pixel and plane that a step sequence reads")),
    (Field("tap_base", 16, "first entry in the tap table"),
     Field("taps_per_group", 16, "taps of one group")),
    (Field("pair_base", 16, "first entry in the pair table"),
     Field("pairs", 8, "plane pairs streamed per group"),
     Field("groups", 8, "groups of taps")),
    (Field("weight_offset", 16, "first weight word, counted from that of the column tile"),),
)
"""One term. The terms of a layer are ``terms`` entries from ``term_base`` on; after every
``term_period`` column tiles the next ``terms`` entries serve, so that the words a term reads can
follow the channels it makes."""

TAP = Record(
    "tap",
    (Field("offset", 17, "address of the tap relative to the tile: phase * slots * tile_words + "
                         "(delta div rows) * tile_words", signed=True),
     Field("rotation", 8, "bank of row 0: delta mod rows")),
    (Field("first_place", 16, "first column place for which the tap lies inside the map"),
     Field("end_place", 16, "column place from which on it lies outside")),
    (Field("first_line", 12, "first line for which the tap lies inside the map"),
     Field("end_line", 12, "line from which on it lies outside")),
)
"""One kernel tap (ky, kx), in the order of ky, then kx. With padding p, dilation d and stride s the
tap reads input line y * s + ky * d - p = (y + dy) * s + phase_y, and so on, and delta =
(dy * pitch_x + dx) * images + phase_y * phase_y_banks + phase_x * phase_x_banks; outside the input,
and for virtual pixels, it reads the padding words. A column place is x * images + image."""

PAIR = Record(
    "pair",
    (Field("activation_offset", 12, "activation plane * words of a plane of the source"),
     Field("weight_offset", 16, "weight plane * taps * words"),
     Field("clear", 1, "the first step starts a new count"),
     Field("double", 1, "the first step doubles the count first"),
     Field("drain", 1, "the last step ends the pass")),
)
"""One (activation plane, weight plane) pair, streamed once for every group."""


def descriptor_limits(config):
    """Smallest and largest legal value of every descriptor field on one machine.

    The gateware refuses a descriptor outside these limits and needs no more bits for a field than
    its largest value. A machine of one pixel a cycle takes any ``pixel_pairs`` and reads none.

    Returns
    -------
    dict
        Field name -> ``(low, high)``.
    """
    def up_to(value):
        return (1 << value.bit_length()) - 1

    words, weights = up_to(config.activation_depth), up_to(config.weight_depth)
    terms, scales = up_to(config.term_depth), up_to(config.scale_depth)
    parameters = up_to(config.parameter_depth)
    wide = 1 if config.rescale else 0
    classes = BORDER_CLASSES - 1 if config.border_classes else 0
    pooled = config.pool_depth > 0
    window = (1, MAX_POOL if pooled else 1)
    banks = (0, config.rows - 1)
    limits = {
        "tag": (DESCRIPTOR_TAG, DESCRIPTOR_TAG), "raw": (0, 1), "rescale": (0, wide),
        "send": (0, 0), "code_bits": (1, MAX_MAP_BITS if wide else config.code_bits),
        "map_bits": (1, MAX_MAP_BITS if wide or pooled else config.code_bits),
        "turns": (1, config.rows), "last_cols": (1, config.cols),
        "col_tiles": (1, parameters), "term_period": (1, parameters),
        "terms": (1, min(MAX_TERMS, terms)), "block": (1, parameters),
        "line_tiles": (1, (1 << 20) - 1), "line_skip": (0, MAX_MAP),
        "pixel_tiles": (1, (1 << 20) - 1),
        "walk": (1, (1 << 16) - 1), "walk_width": (1, (1 << 16) - 1),
        "out_lines": (1, MAX_MAP), "first_line": (0, 0),
        "tile_cycles": (config.rows // config.pixels_per_cycle, (1 << 16) - 1),
        "images": (1, MAX_MAP), "pixel_pairs": (0, 1), "needs": (0, 0),
        "term_base": (0, terms), "weight_base": (0, weights), "col_tile_words": (1, weights),
        "passes": (1, scales), "scale_base": (0, scales), "parameter_base": (0, parameters),
        "shift": (0, len(RESCALE_SHIFTS) - 1 if wide else 0), "down": (0, 0),
        **{f"border_{side}": (0, classes) for side in ("top", "bottom", "left", "right")},
        "pool": (0, 2 if pooled else 0), "pool_window_x": window, "pool_window_y": window,
        "pool_stride_x": window, "pool_stride_y": window,
        "pool_left": (0, window[1] - 1), "pool_top": (0, window[1] - 1),
        "pool_cycles": (1, 63), "pool_width": (1, MAX_MAP), "pool_lines": (1, MAX_MAP),
        "pool_open_x": window, "pool_open_y": window,
        "out_walk": (1, (1 << 16) - 1), "out_stride_x": (1, MAX_STRIDE),
        "out_stride_y": (1, MAX_STRIDE),
        **{f"out_{name}": (0, words) for name in (
            "base", "tile_words", "plane_words", "column_words", "phase_x", "phase_y",
            "line_words")},
        **{f"out_{name}_banks": banks for name in ("line", "column", "phase_x", "phase_y")},
        "planes_low": (0, 0xFFFFFFFF), "planes_high": (0, 0xFFFFFFFF),
    }
    return {name: (low, min(high, DESCRIPTOR.fields[name].range[1]))
            for name, (low, high) in limits.items()}


def first_violation(config, words):
    """First descriptor word with a field outside its limits, as ``(word index, field)``, or
    None."""
    values, limits = DESCRIPTOR.unpack(words), descriptor_limits(config)
    for name in DESCRIPTOR.fields:
        low, high = limits[name]
        if not low <= values[name] <= high:
            return DESCRIPTOR.place(name)[0], name
    return None
