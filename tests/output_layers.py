"""Plain models of what the output does with a layer, divisions and windows spelled out."""

from dataclasses import dataclass, replace

from xnorloom.hw.spec.descriptor import MAX_CODE_BITS, descriptor_limits

__all__ = ["Layer", "RAW_LAYER", "random_layer"]


@dataclass(frozen=True)
class Layer:
    """A layer of codes: the map it walks, how it is pooled, and how its reader has it."""

    rows: int
    cols: int
    lanes: int
    images: int
    width: int
    lines: int
    #: Column places of a line that are walked, and lines.
    walk: int
    walked_lines: int
    channels: int
    code_bits: int
    map_bits: int
    table: tuple
    #: Reader's pitch in pixels, its stride, and the banks of its phases; ``(y, x)``.
    reader_pitch: int
    stride: tuple
    phase_banks: tuple
    base: int
    #: ``max`` or ``sum``; window, stride and padding; the pooled map's size; ``(y, x)``.
    pool: str = "none"
    window: tuple = (1, 1)
    step: tuple = (1, 1)
    before: tuple = (0, 0)
    pooled: tuple = (1, 1)
    pool_cycles: int = 1
    #: Whether its pixels go two a cycle; None on a machine of one.
    pairs: bool | None = None

    @property
    def pixel_tiles(self):
        return -(-self.walk * self.walked_lines // self.rows)

    @property
    def col_tiles(self):
        return -(-self.channels // self.cols)

    @property
    def words(self):
        return -(-self.channels // self.lanes)

    @property
    def size(self):
        """Lines and columns of the output map."""
        return self.pooled if self.pool != "none" else (self.lines, self.width)

    def _slot(self, image, y, x):
        (sy, sx), (by, bx) = self.stride, self.phase_banks
        return (((y // sy) * self.reader_pitch + x // sx) * self.images + image
                + y % sy * by + x % sx * bx)

    @property
    def slots(self):
        height, width = self.size
        most = max(self._slot(self.images - 1, y, x) for y in range(height) for x in range(width))
        return most // self.rows + 1

    @property
    def depth(self):
        """Entries of a bank, from 0 on."""
        return self.base + self.stride[0] * self.stride[1] * self.slots * self.words * self.map_bits

    def place(self, image, y, x):
        """Bank and address of word 0 of plane 0 of a pixel of the output map."""
        m = self._slot(image, y, x)
        phase = y % self.stride[0] * self.stride[1] + x % self.stride[1]
        return m % self.rows, (self.base + (phase * self.slots + m // self.rows)
                               * self.words * self.map_bits)

    def pixel(self, number):
        """``(image, y, x)`` of the pixel with this number as it is walked, None if not written."""
        y, c = divmod(number, self.walk)
        if c >= self.width * self.images or y >= self.lines:
            return None
        return c % self.images, y, c // self.images

    @property
    def turns(self):
        """The fewest turns in which the pixels of no tile meet in a bank."""
        if self.pool != "none":
            return 1
        return next(turns for turns in range(1, self.rows + 1) if all(
            self._apart(tile, turns) for tile in range(self.pixel_tiles)))

    def _apart(self, tile, turns):
        pixels = [(row, self.pixel(tile * self.rows + row)) for row in range(self.rows)]
        met = [(row * turns // self.rows, self.place(*pixel)[0])
               for row, pixel in pixels if pixel is not None]
        return len(set(met)) == len(met)

    @property
    def opened(self):
        """Windows that a pixel can lie in; ``(y, x)``."""
        return tuple(-(-window // step) for window, step in zip(self.window, self.step))

    @property
    def tile_cycles(self):
        if self.pool != "none":
            return self.rows * self.pool_cycles
        return max(self.rows // 2 if self.pairs else self.rows, self.map_bits * self.turns)

    def end(self, lead):
        """Cycles from the last code to the layer's end."""
        if self.pool != "none":
            return lead + self.map_bits + (self.rows - 1) * (self.pool_cycles - 1)
        waits = -(-self.rows // self.turns) + (self.turns - 1) * self.map_bits - self.rows
        return lead + self.map_bits + max(0, waits)

    def fields(self):
        """The fields of a descriptor that say all this."""
        (sy, sx), tile_words = self.stride, self.words * self.map_bits
        places = self.reader_pitch * self.images
        planes = [self.table[code] << 4 * (code % 8) for code in range(16)]
        return {
            "raw": 0, "map_bits": self.map_bits, "turns": self.turns,
            "last_cols": self.channels - (self.col_tiles - 1) * self.cols,
            "col_tiles": self.col_tiles, "pixel_tiles": self.pixel_tiles, "walk": self.walk,
            "walk_width": self.width * self.images, "out_lines": self.lines,
            "images": self.images, "pool": ("none", "max", "sum").index(self.pool),
            "pool_window_x": self.window[1], "pool_window_y": self.window[0],
            "pool_stride_x": self.step[1], "pool_stride_y": self.step[0],
            "pool_left": self.before[1], "pool_top": self.before[0],
            "pool_cycles": self.pool_cycles, "pool_width": self.pooled[1],
            "pool_lines": self.pooled[0], "pool_open_y": self.opened[0],
            "out_walk": self.walk if self.pool == "none" else self.pooled[1] * self.images,
            "out_stride_x": sx, "out_stride_y": sy, "out_base": self.base,
            "out_tile_words": tile_words, "out_plane_words": self.words,
            "out_column_words": self.images // self.rows * tile_words,
            "out_phase_x": self.slots * tile_words, "out_phase_y": sx * self.slots * tile_words,
            "out_line_words": places // self.rows * tile_words,
            "out_line_banks": places % self.rows, "out_column_banks": self.images % self.rows,
            "out_phase_x_banks": self.phase_banks[1], "out_phase_y_banks": self.phase_banks[0],
            "planes_low": sum(planes[:8]), "planes_high": sum(planes[8:]),
            **({} if self.pairs is None else {"pixel_pairs": int(self.pairs)}),
        }

    def output_map(self, codes):
        """Codes of the output map: ``(image, y, x, channel) -> code``.

        ``codes`` holds those of the accumulators: ``[sweep][pixel number][column]``.
        """
        values = {}
        for channel in range(self.channels):
            sweep, col = divmod(channel, self.cols)
            for number, columns in enumerate(codes[sweep]):
                pixel = self.pixel(number)
                if pixel is not None:
                    values[*pixel, channel] = columns[col]
        if self.pool == "none":
            return values
        combine = {"max": max, "sum": sum}[self.pool]
        return {
            (image, oy, ox, channel): combine(
                values[image, y, x, channel]
                for y in self._covered(0, oy, self.lines) for x in self._covered(1, ox, self.width))
            for image in range(self.images) for channel in range(self.channels)
            for oy in range(self.pooled[0]) for ox in range(self.pooled[1])}

    def _covered(self, axis, number, size):
        begin = number * self.step[axis] - self.before[axis]
        return range(max(begin, 0), min(begin + self.window[axis], size))

    def written(self, codes):
        """Words of the banks after the layer: ``(bank, address) -> word``."""
        values, words = self.output_map(codes), {}
        for (image, y, x, channel), code in values.items():
            bank, address = self.place(image, y, x)
            planes = code if self.map_bits > MAX_CODE_BITS else self.table[code]
            word, lane = divmod(channel, self.lanes)
            for plane in range(self.map_bits):
                here = bank, address + plane * self.words + word
                words[here] = words.get(here, 0) | (planes >> plane & 1) << lane
        return words


def random_layer(rng, config, *, pool="none", most=6, tiles=40):
    """A layer that fits the machine's banks and its line memory, with at most so many tiles; in
    pairs, if it can go so."""
    limits = descriptor_limits(config)
    while True:
        images = rng.choice([1, 1, 2, 3, 5])
        width, lines = rng.randint(1, most), rng.randint(1, most)
        code_bits = rng.randint(1, limits["code_bits"][1])
        pooling, pooled, walked, walked_lines = {}, (lines, width), width, lines
        map_bits = code_bits
        if pool != "none":
            pooling = _random_pool(rng, pool, (lines, width))
            pooled = pooling["pooled"]
            walked_lines, walked = (
                max(size, (pooled[axis] - 1) * pooling["step"][axis] - pooling["before"][axis]
                    + pooling["window"][axis]) for axis, size in enumerate((lines, width)))
            if pool == "sum":
                most_sum = ((1 << code_bits) - 1) * pooling["window"][0] * pooling["window"][1]
                map_bits = most_sum.bit_length()
            opened = 1
            for window, step in zip(pooling["window"], pooling["step"]):
                opened *= -(-window // step)
            pooling["pool_cycles"] = max(map_bits, opened) + rng.choice([0, 0, 1, 3])
            if (-(-pooling["window"][0] // pooling["step"][0]) * pooled[1] * images
                    > config.pool_depth):
                continue
        stride = rng.choice([(1, 1), (1, 1), (2, 2), (1, 3), (4, 1), (7, 7), (3, 2)])
        wide = map_bits > MAX_CODE_BITS
        layer = Layer(
            rows=config.rows, cols=config.cols, lanes=config.lanes, images=images, width=width,
            lines=lines, walk=walked * images + rng.choice([0, 0, 1, 4, 2 * images]),
            walked_lines=walked_lines + rng.choice([0, 0, 1]),
            channels=rng.randint(1, 2 * config.lanes + 1), code_bits=code_bits,
            map_bits=map_bits, table=tuple(range(16)) if wide else tuple(
                rng.randrange(1 << min(map_bits, 4)) for _ in range(16)),
            reader_pitch=-(-pooled[1] // stride[1]) + rng.choice([0, 0, 1, 3]), stride=stride,
            phase_banks=tuple(rng.randrange(config.rows) for _ in range(2)),
            base=rng.choice([0, rng.randrange(config.activation_depth)]), pool=pool, **pooling)
        if (map_bits <= limits["map_bits"][1] and layer.depth <= config.activation_depth
                and layer.col_tiles * layer.pixel_tiles <= tiles
                and layer.pool_cycles <= limits["pool_cycles"][1]):
            if config.pixels_per_cycle == 1:
                return layer
            return replace(layer, pairs=(pool == "none" and layer.walk % 2 == 0 and stride[1] == 1
                                         and layer.turns == 1))


def _random_pool(rng, pool, size):
    window = tuple(rng.randint(1, 3 if pool == "sum" else 5) for _ in size)
    step = tuple(rng.choice([1, 1, 2, 2, 3, 4, 15]) for _ in size)
    # A window begins on the map, and has a pixel of it.
    before = tuple(rng.randrange(length) for length in window)
    # Some have no windows that reach beyond the map, so that pixels may lie behind the last one.
    pooled = tuple(
        max(1, -(-(length + first) // stride) - rng.choice([0, 0, 1, taps // stride]))
        for length, first, stride, taps in zip(size, before, step, window))
    return {"window": window, "step": step, "before": before, "pooled": pooled}


RAW_LAYER = {"raw": 1, "map_bits": 1, "turns": 1, "last_cols": 1, "walk": 1, "walk_width": 1,
             "out_lines": 1, "images": 1, "pool_window_x": 1, "pool_window_y": 1,
             "pool_stride_x": 1, "pool_stride_y": 1, "pool_cycles": 1, "pool_width": 1,
             "pool_lines": 1, "pool_open_y": 1, "out_walk": 1, "out_stride_x": 1,
             "out_stride_y": 1}
"""What a raw layer says besides its tiles."""
