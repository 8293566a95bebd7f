"""Latencies of the machine's rigid parts, in cycles."""

__all__ = ["ELEMENT_LATENCY", "FEED_LATENCY", "FIRST_ISSUE_CYCLES", "PARAMETER_CYCLES",
           "PLACE_LATENCY", "POOL_LATENCY", "SCALE_LATENCY", "WINDOW_LATENCY", "WRITE_LATENCY",
           "code_latency", "drained_latency", "first_issue_cycles", "in_pixel_pairs", "pool_cycles",
           "raw_latency", "rescale_cycles", "rescale_delay", "rescaled_latency",
           "staircase_latency", "tile_cycles"]

FIRST_ISSUE_CYCLES = 7
"""Cycles of table look-ups before a layer's first step."""

FEED_LATENCY = 6
"""Cycles from the gate to the top row of the array: sums, addresses, bank, output register,
rotator."""

ELEMENT_LATENCY = 2
"""Cycles through an element, besides its popcount."""

SCALE_LATENCY = 4
"""Cycles from a count to its accumulator at the output of the scale-and-accumulate unit."""

WINDOW_LATENCY = 2
"""Cycles from a pixel to the windows that it lies in, on a machine that can pool."""

POOL_LATENCY = 4
"""Cycles from a visit of a window to what has become of it, on a machine that can pool."""

PLACE_LATENCY = 2
"""Cycles from a pixel to its place in the banks; they pass under those of a pool."""

WRITE_LATENCY = 3
"""Cycles from the last code of a tile to its first plane in the banks, besides those above: row
queue and writer."""

PARAMETER_CYCLES = 2
"""Cycles by which the first pass of a sweep follows the first one of the sweep before, on top of
the entries of a block."""


def first_issue_cycles(config):
    """Cycles from a layer's first cycle to its first step: table look-ups, or the first tile's
    positions."""
    return max(FIRST_ISSUE_CYCLES, config.rows + 1)


def drained_latency(config):
    """Cycles from the gate until the last count of a pass leaves the last column."""
    return (FEED_LATENCY + ELEMENT_LATENCY + config.popcount_stages
            + (config.rows - 1) + (config.cols - 1) + config.drain_cycles - 1)


def staircase_latency(config):
    """Cycles from a tile's final count to its code found by thresholds."""
    return SCALE_LATENCY + config.code_bits


def rescale_delay(config):
    """Cycles from a tile's final count to the multiplication of its accumulator."""
    return max(config.drain_cycles, SCALE_LATENCY)


def rescaled_latency(config):
    """Cycles from a tile's final count to its code found by multiplication."""
    return rescale_delay(config) + SCALE_LATENCY + 1


def rescale_cycles(config):
    """Least cycles, in a layer with ``rescale``, from the end of a tile's last pass to the end of
    the next pass: the multiplier serves the counts, and then the accumulators."""
    return rescale_delay(config) + config.drain_cycles


def raw_latency(config):
    """Cycles from the gate until a raw tile is known to have left: behind three words of header,
    and one cycle to cross the chip."""
    return drained_latency(config) + SCALE_LATENCY + 5 + config.rows * config.cols


def code_latency(config, descriptor):
    """Cycles from the gate until the last word of a tile of codes is written."""
    found = rescaled_latency(config) if descriptor["rescale"] else staircase_latency(config)
    bits, turns = descriptor["map_bits"], descriptor["turns"]
    if descriptor["pool"]:
        behind = (config.rows - 1) * (descriptor["pool_cycles"] - 1)
    else:
        behind = max(0, -(-config.rows // turns) + (turns - 1) * bits - config.rows)
    put = WINDOW_LATENCY + POOL_LATENCY if config.pool_depth else PLACE_LATENCY
    return drained_latency(config) + found + put + WRITE_LATENCY + bits + behind


def pool_cycles(map_bits, open_windows):
    """Least cycles per pixel of a layer with pooling: its codes are written plane by plane, and its
    windows met one by one."""
    return max(map_bits, open_windows)


def in_pixel_pairs(config, *, raw, bordered, pooled, turns, walk, stride_x):
    """Whether the pixels of a layer's tiles can go two a cycle.

    Its machine can, a pair lies on one line, and its second pixel is written into the bank behind
    that of the first.

    Parameters
    ----------
    config : MachineConfig
        Machine.
    raw, bordered, pooled : bool
        What the layer is.
    turns, walk, stride_x : int
        Of its descriptor: ``turns``, ``walk`` and ``out_stride_x``.

    Returns
    -------
    bool
    """
    return (config.pixels_per_cycle == 2 and not (raw or bordered or pooled)
            and turns == 1 and walk % 2 == 0 and stride_x == 1)


def tile_cycles(config, *, bordered=False, pixel_pairs=False):
    """Least cycles from one tile's last step to the next tile's: their positions, half as many in
    pairs; with borders twice as many, as a bias is read for every pixel, and the parameters of the
    next column tile have to find their way between."""
    return config.rows * 2 if bordered else config.rows // (2 if pixel_pairs else 1)
