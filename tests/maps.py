"""Plain models of the order of steps and of maps in the banks, divisions spelled out."""

from dataclasses import dataclass

__all__ = ["STEP_FIELDS", "OutputMap", "loop_steps", "random_map"]

STEP_FIELDS = ("tap_index", "pair_index", "word", "tile_address", "weight", "pair_first",
                "pair_last", "tile_last", "sweep_last", "new_tile")
"""Fields of :class:`hw.feed.nest.Step`, in the order of what :func:`loop_steps` yields."""


@dataclass(frozen=True)
class OutputMap:
    """A map as one layer walks it and as the next one reads it."""

    rows: int
    lanes: int
    images: int
    height: int
    width: int
    channels: int
    planes: int
    #: Size of the grid of virtual pixels that the writing layer walks.
    pitch: tuple
    #: The same of the reading layer, and its stride; ``(y, x)``.
    reader_pitch: tuple
    reader_stride: tuple
    base: int = 0

    @property
    def pixels(self):
        return self.images * self.pitch[0] * self.pitch[1]

    @property
    def pixel_tiles(self):
        return -(-self.pixels // self.rows)

    @property
    def words(self):
        return -(-self.channels // self.lanes)

    @property
    def tile_words(self):
        return self.planes * self.words

    @property
    def slots(self):
        return -(-self.images * self.reader_pitch[0] * self.reader_pitch[1] // self.rows)

    @property
    def size(self):
        """Entries of every bank."""
        return self.reader_stride[0] * self.reader_stride[1] * self.slots * self.tile_words

    def pixel(self, number):
        """``(image, y, x)`` of a virtual pixel."""
        place, x = divmod(number, self.pitch[1])
        return (*divmod(place, self.pitch[0]), x)

    def alive(self, number):
        """Whether a virtual pixel is one of the map."""
        _image, y, x = self.pixel(number)
        return number < self.pixels and y < self.height and x < self.width

    def place(self, number):
        """Bank and address of word 0 of a pixel."""
        image, y, x = self.pixel(number)
        (step_y, step_x), (pitch_y, pitch_x) = self.reader_stride, self.reader_pitch
        m = (image * pitch_y + y // step_y) * pitch_x + x // step_x
        phase = y % step_y * step_x + x % step_x
        address = self.base + (phase * self.slots + m // self.rows) * self.tile_words
        return m % self.rows, address

    def fields(self):
        """The fields of a descriptor that say all this."""
        (step_y, step_x), (pitch_y, pitch_x) = self.reader_stride, self.reader_pitch
        words = self.tile_words
        return {
            "pixels": self.pixels, "pixel_tiles": self.pixel_tiles,
            "pitch_x": self.pitch[1], "pitch_y": self.pitch[0],
            "out_width": self.width, "out_height": self.height, "code_bits": self.planes,
            "out_base": self.base, "out_tile_words": words, "out_plane_words": self.words,
            "out_stride_x": step_x, "out_stride_y": step_y,
            "out_phase_x": self.slots * words, "out_phase_y": step_x * self.slots * words,
            "out_line_banks": pitch_x % self.rows, "out_line_words": pitch_x // self.rows * words,
            "out_image_banks": pitch_x * pitch_y % self.rows,
            "out_image_words": pitch_x * pitch_y // self.rows * words,
        }


def random_map(rng, config, *, most=12, planes=None, channels=None):
    """A map of at most ``most`` lines and columns that fits the machine's activation banks."""
    while True:
        height, width = rng.randint(1, most), rng.randint(1, most)
        stride = rng.choice([(1, 1), (1, 1), (2, 2), (1, 3), (4, 1), (7, 7), (3, 2)])
        least = [-(-side // step) for side, step in zip((height, width), stride)]
        new = OutputMap(
            rows=config.rows, lanes=config.lanes, images=rng.randint(1, 3), height=height,
            width=width, channels=channels or rng.randint(1, 3 * config.lanes),
            planes=planes or rng.randint(1, config.code_bits),
            pitch=(height + rng.choice([0, 0, 1, 4]), width + rng.choice([0, 0, 1, 5])),
            reader_pitch=tuple(side + rng.choice([0, 0, 1, 3]) for side in least),
            reader_stride=stride, base=rng.choice([0, rng.randrange(config.activation_depth)]))
        if new.base + new.size <= config.activation_depth:
            return new


def loop_steps(layer):
    """All steps of a layer, loop by loop as :mod:`hw.spec.descriptor` has them."""
    taps, words = layer["taps_per_group"], layer["words"]
    for pixel in range(layer["pixel_tiles"]):
        for col in range(layer["col_tiles"]):
            for group in range(layer["groups"]):
                for pair in range(layer["pairs"]):
                    for tap in range(taps):
                        for word in range(words):
                            within = tap * words + word
                            last = within == taps * words - 1
                            tile_last = (last and pair == layer["pairs"] - 1
                                         and group == layer["groups"] - 1)
                            yield (
                                layer["tap_base"] + group * taps + tap, layer["pair_base"] + pair,
                                word, layer["activation_base"] + pixel * layer["tile_words"],
                                layer["weight_base"] + col * layer["col_tile_words"]
                                + group * taps * words + within, within == 0, last, tile_last,
                                tile_last and col == layer["col_tiles"] - 1,
                                not (col or group or pair or within))
