"""What the sequencer executes: layer descriptors, kernel taps and plane pairs.

A layer is a nest of loops, outermost first::

    for pixel tile                      rows consecutive virtual pixels
      for column tile                   cols consecutive output channels
        for group                       of kernel taps that share scales
          for pair                      (activation plane, weight plane), from the pair table
            for tap                     of the group, from the tap table
              for word                  of lanes input channels
                                        -> one step: every element adds one word of mismatches

A **pass** is what lies between a pair marked ``clear`` and the next pair marked ``drain``; at its
end every element hands its count m to the scale-and-accumulate unit of its column, which adds S *
m.

**Virtual pixels.** Images, lines and columns of a feature map are walked as one sequence
n = (image * pitch_y + y) * pitch_x + x; virtual pixels with x >= out_width or y >= out_height are
computed and not written. Pixel n of the sequence lies in row n mod rows of tile n div rows.

**Activation banks.** A map read with stride (sy, sx) stores its pixel (image, y, x) at
m = (image * pitch_y + y div sy) * pitch_x + x div sx, in bank m mod rows, at address ::

    base + ((y mod sy) * sx + x mod sx) * slots * tile_words + (m div rows) * tile_words
         + plane * words + word

where ``slots`` = ceil(images * pitch_y * pitch_x / rows), ``words`` = ceil(channels / lanes) and
``tile_words`` = planes * words; bit ``l`` of a word is channel ``word * lanes + l``. For one tap
the ``rows`` pixels of a tile are consecutive in m, so they always lie in different banks.
"""

from .record import Field, Record

__all__ = ["DESCRIPTOR", "DESCRIPTOR_TAG", "MAX_BORDER", "MAX_CODE_BITS", "MAX_KERNEL", "MAX_MAP",
           "MAX_PLANES", "MAX_STRIDE", "PAIR", "TAP", "descriptor_limits", "first_violation"]

MAX_KERNEL = 7
"""Largest kernel height and width."""

MAX_STRIDE = 7
"""Largest stride: a linear layer over a map is a convolution of kernel and stride of the map's
size."""

MAX_CODE_BITS = 4
"""Widest output code: a descriptor holds the planes of 16 codes."""

MAX_PLANES = 8
"""Largest number of activation or weight planes."""

MAX_MAP = 255
"""Largest height or width of a feature map, in pixels."""

MAX_BORDER = 7
"""Most lines or columns at one border for which a tap can lie outside; bounds the padding, too."""

DESCRIPTOR_TAG = 0xD5
"""Value of the ``tag`` field: tells a descriptor from stray memory."""

DESCRIPTOR = Record(
    "descriptor",
    (Field("tag", 8, "constant 0xD5"),
     Field("raw", 1, "1: accumulators go to the host, 0: codes go to the activation banks"),
     Field("code_bits", 3, "bits of an output code, which are its planes")),
    (Field("pixel_tiles", 16, "tiles of rows virtual pixels"),
     Field("col_tiles", 16, "tiles of cols output channels")),
    (Field("tile_words", 16, "input words of one pixel: planes * words"),
     Field("words", 16, "input words of one pixel and plane: ceil(channels / lanes)")),
    (Field("activation_base", 16, "input map: address of slot 0 of phase 0"),
     Field("pad_base", 16, "input padding: address, in every bank, of tile_words words")),
    (Field("tap_base", 16, "first entry in the tap table"),
     Field("taps_per_group", 8, "taps of one group"),
     Field("groups", 8, "groups of taps")),
    (Field("pair_base", 16, "first entry in the pair table"),
     Field("pairs", 8, "plane pairs streamed per group"),
     Field("passes_per_group", 8, "passes per group: pairs marked drain")),
    (Field("weight_base", 16, "first weight word of column tile 0"),
     Field("col_tile_words", 16, "weight words of one column tile: planes * taps * words")),
    (Field("scale_base", 16, "first scale; one per column tile and pass, in that order"),
     Field("bias_base", 16, "first bias; one per column tile")),
    (Field("threshold_base", 16, "first threshold block, a multiple of 2 ** code_bits"),
     Field("last_cols", 8, "valid columns of the last column tile; the others write 0")),
    (Field("pitch_x", 8, "virtual width of the map"),
     Field("pitch_y", 8, "virtual height of the map"),
     Field("out_width", 8, "width of the output map"),
     Field("out_height", 8, "height of the output map")),
    (Field("pixels", 24, "virtual pixels of the batch: images * pitch_y * pitch_x"),),
    (Field("out_base", 16, "output map: address of slot 0 of phase 0"),
     Field("out_tile_words", 16, "output words of one pixel")),
    (Field("out_plane_words", 16, "output words of one pixel and plane"),
     Field("out_stride_x", 4, "horizontal stride of the layer that reads the output"),
     Field("out_stride_y", 4, "vertical stride of the layer that reads the output")),
    (Field("out_phase_x", 16, "address step from one horizontal phase to the next: "
                              "slots * out_tile_words"),
     Field("out_phase_y", 16, "address step from one vertical phase to the next: "
                              "out_stride_x * slots * out_tile_words")),
    (Field("out_line_banks", 8, "reader's pitch_x mod rows"),
     Field("out_line_words", 16, "(reader's pitch_x div rows) * out_tile_words")),
    (Field("out_image_banks", 8, "reader's pitch_x * pitch_y mod rows"),
     Field("out_image_words", 16, "(reader's pitch_x * pitch_y div rows) * out_tile_words")),
    (Field("planes_low", 32, "planes of codes 0..7, four bits each, plane 0 lowest"),),
    (Field("planes_high", 32, "planes of codes 8..15"),),
)
"""One layer. ``out_*`` describe the map as its reader lays it out; a raw layer leaves them at their
lowest legal value. ``code_bits`` of a raw layer is 1."""

TAP = Record(
    "tap",
    (Field("offset", 16, "address of the tap relative to the tile: (phase * slots + "
                         "delta div rows) * tile_words, delta = dy * pitch_x + dx", signed=True),
     Field("rotation", 8, "bank of row 0: delta mod rows")),
    (Field("above", 3, "output lines at the top for which the tap lies outside the input"),
     Field("below", 3, "output lines at the bottom for which it does"),
     Field("left", 3, "output columns at the left for which it does"),
     Field("right", 3, "output columns at the right for which it does")),
)
"""One kernel tap (ky, kx), in the order of ky, then kx. With padding p and stride s the tap reads
input line y * s + ky - p = (y + dy) * s + phase_y, and so on; outside the input, and for virtual
pixels, it reads the padding word. A tap lies outside in at most :data:`MAX_BORDER` lines at either
end."""

PAIR = Record(
    "pair",
    (Field("activation_offset", 12, "activation plane * words"),
     Field("weight_offset", 16, "weight plane * taps * words"),
     Field("clear", 1, "the first step starts a new count"),
     Field("double", 1, "the first step doubles the count first"),
     Field("drain", 1, "the last step ends the pass")),
)
"""One (activation plane, weight plane) pair, streamed once for every group."""


def descriptor_limits(config):
    """Smallest and largest legal value of every descriptor field on one machine.

    The gateware refuses a descriptor outside these limits and needs no more bits for a field than
    its largest value.

    Returns
    -------
    dict
        Field name -> ``(low, high)``.
    """
    def up_to(value):
        return (1 << value.bit_length()) - 1

    words, weights = up_to(config.activation_depth), up_to(config.weight_depth)
    taps, pairs = up_to(MAX_KERNEL * MAX_KERNEL), up_to(MAX_PLANES * MAX_PLANES)
    limits = {
        "tag": (DESCRIPTOR_TAG, DESCRIPTOR_TAG), "raw": (0, 1), "code_bits": (1, config.code_bits),
        "pixel_tiles": (1, words), "col_tiles": (1, up_to(config.bias_depth)),
        "tile_words": (1, words), "words": (1, words),
        "activation_base": (0, words), "pad_base": (0, words),
        "tap_base": (0, up_to(config.tap_depth)), "taps_per_group": (1, taps), "groups": (1, taps),
        "pair_base": (0, up_to(config.pair_depth)), "pairs": (1, pairs),
        "passes_per_group": (1, pairs),
        "weight_base": (0, weights), "col_tile_words": (1, weights),
        "scale_base": (0, up_to(config.scale_depth)), "bias_base": (0, up_to(config.bias_depth)),
        "threshold_base": (0, up_to(config.threshold_depth)), "last_cols": (1, up_to(config.cols)),
        "pitch_x": (1, MAX_MAP), "pitch_y": (1, MAX_MAP),
        "out_width": (1, MAX_MAP), "out_height": (1, MAX_MAP),
        "pixels": (1, up_to(config.rows * config.activation_depth)),
        "out_base": (0, words), "out_tile_words": (0, words), "out_plane_words": (0, words),
        "out_stride_x": (1, MAX_STRIDE), "out_stride_y": (1, MAX_STRIDE),
        "out_phase_x": (0, words), "out_phase_y": (0, words),
        "out_line_banks": (0, config.rows - 1), "out_line_words": (0, words),
        "out_image_banks": (0, config.rows - 1), "out_image_words": (0, words),
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
