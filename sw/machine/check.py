"""Program of an image that comes from a file: that its machine can execute every layer of it."""

from xnorloom.hw.spec.descriptor import descriptor_limits
from xnorloom.hw.spec.memory import Memory, banks

from ..errors import ImageError
from .layout import MapLayout

__all__ = ["check_program"]


def check_program(image):
    """Checks descriptors and tables of an image against its machine and its metadata.

    The machine itself checks only that fields are within their bounds and addresses within its
    memories; what passes here computes what the metadata say.

    Parameters
    ----------
    image : sw.machine.image.Image
        With checked metadata.

    Raises
    ------
    ImageError
        By layer and field.
    """
    shapes = banks(image.config)
    for memory in image.memories:
        if not shapes[memory].writable:
            raise ImageError(f"Image program must not write the {memory.name.lower()} memory")
    for name, used in image.metadata["usage"].items():
        known = {memory.name.lower(): shapes[memory].depth for memory in shapes}
        if used > known.get(name, 0):
            raise ImageError(f"Image metadata usage.{name} must be at most {known.get(name, 0)}, "
                             f"not {used}")
    descriptors = image.descriptors()
    if len(descriptors) != len(image.layers):
        raise ImageError(f"Image program must hold {len(image.layers)} descriptors, as its "
                         f"metadata say, not {len(descriptors)}")
    maps = {"input": image.metadata["input"]}
    for layer, fields in zip(image.layers, descriptors, strict=True):
        _Layer(image, layer, fields).check(maps)
        maps[layer["name"]] = layer["output"]


class _Layer:
    """One layer: its metadata, its descriptor, and what the image holds of its tables."""

    def __init__(self, image, layer, fields):
        self.image, self.layer, self.fields = image, layer, fields
        self.config = image.config

    def demand(self, what, requirement, value, holds):
        if not holds:
            raise ImageError(f"Image layer {self.layer['name']!r} {what} must be {requirement}, "
                             f"not {value}")

    def equal(self, name, wanted):
        self.demand(f"field {name}", wanted, self.fields[name], self.fields[name] == wanted)

    def at_most(self, name, most):
        self.demand(f"field {name}", f"at most {most}", self.fields[name],
                    self.fields[name] <= most)

    def check(self, maps):
        for name, (low, high) in descriptor_limits(self.config).items():
            value = self.fields[name]
            self.demand(f"field {name}", f"from {low} to {high}", value, low <= value <= high)
        self.check_shape()
        self.check_map("input", maps[self.layer["source"]])
        self.check_tables()
        if not self.layer["raw"]:
            self.check_map("output", self.layer["output"])
            self.check_output(MapLayout(**self.layer["output"]["layout"]))
        self.check_taps()
        self.check_pairs()

    def check_shape(self):
        """What metadata and descriptor both say."""
        fields, layer = self.fields, self.layer
        outputs, height, width = layer["out_shape"]
        self.equal("raw", int(layer["raw"]))
        self.equal("out_height", height)
        self.equal("out_width", width)
        self.equal("groups", layer["groups"])
        self.equal("pairs", layer["pairs"])
        self.equal("passes_per_group", layer["passes"])
        tiles = -(-outputs // self.config.cols)
        self.equal("col_tiles", tiles)
        self.equal("last_cols", outputs - (tiles - 1) * self.config.cols)
        self.demand("field pitch_x", f"at least {width}", fields["pitch_x"],
                    fields["pitch_x"] >= width)
        self.demand("field pitch_y", f"at least {height}", fields["pitch_y"],
                    fields["pitch_y"] >= height)
        self.equal("pixels", self.image.batch * fields["pitch_x"] * fields["pitch_y"])
        last = ((self.image.batch - 1) * fields["pitch_y"] + height - 1) * fields["pitch_x"] + width
        self.equal("pixel_tiles", -(-last // self.config.rows))

    def check_map(self, which, described):
        """A stored map against machine, batch and memory."""
        layout = MapLayout(**described["layout"])
        for name, wanted in (("rows", self.config.rows), ("lanes", self.config.lanes),
                             ("images", self.image.batch)):
            value = getattr(layout, name)
            self.demand(f"{which} layout {name}", wanted, value, value == wanted)
        reach = -(-layout.height // layout.stride_y), -(-layout.width // layout.stride_x)
        for name, least in zip(("pitch_y", "pitch_x"), reach, strict=True):
            value = getattr(layout, name)
            self.demand(f"{which} layout {name}", f"at least {least}", value, value >= least)
        depth, end = self.config.activation_depth, described["base"] + layout.bank_words
        self.demand(f"end of its {which} map", f"at most {depth}", end, end <= depth)
        if which == "output":
            return
        self.equal("activation_base", described["base"])
        self.equal("words", layout.words)
        self.equal("tile_words", layout.tile_words)
        self.equal("pitch_y", layout.pitch_y)
        self.equal("pitch_x", layout.pitch_x)

    def check_tables(self):
        """Every entry that the layer reads must be in the image."""
        fields = self.fields
        tiles, groups = fields["col_tiles"], fields["groups"]
        passes = groups * fields["passes_per_group"]
        block = 1 << fields["code_bits"]
        self.inside("tap_base", groups * fields["taps_per_group"], Memory.TAPS)
        self.inside("pair_base", fields["pairs"], Memory.PAIRS)
        self.inside("weight_base", tiles * fields["col_tile_words"], Memory.WEIGHTS)
        self.inside("scale_base", tiles * passes, Memory.SCALES)
        self.inside("bias_base", tiles, Memory.BIASES)
        self.inside("pad_base", fields["tile_words"], Memory.ACTIVATIONS)
        if not fields["raw"]:
            self.inside("threshold_base", tiles * block, Memory.THRESHOLDS)
            self.demand("field threshold_base", f"a multiple of {block}", fields["threshold_base"],
                        fields["threshold_base"] % block == 0)

    def inside(self, name, count, memory):
        contents = self.image.memories.get(memory)
        have = 0 if contents is None else contents.shape[1]
        self.demand(f"field {name}", f"at most {have - count}, for {count} of the {have} entries "
                    f"of the {memory.name.lower()} memory", self.fields[name],
                    self.fields[name] + count <= have)

    def check_output(self, layout):
        """The descriptor against the layout of the map that the layer writes."""
        output = self.layer["output"]
        self.equal("code_bits", layout.planes)
        for name, wanted in layout.output_fields(output["base"], output["table"]).items():
            # A step from line phase to line phase that is never taken may have any value.
            if name != "out_phase_y" or min(layout.height, layout.stride_y) > 1:
                self.equal(name, wanted)

    def check_taps(self):
        """Kernel taps: the bank of row 0."""
        for index, tap in enumerate(self.image.taps(self.fields)):
            self.demand(f"tap {index} field rotation", f"at most {self.config.rows - 1}",
                        tap["rotation"], tap["rotation"] < self.config.rows)

    def check_pairs(self):
        """Plane pairs: passes that begin, double and end as the machine can."""
        fields, drained, passes = self.fields, True, 0
        pairs = self.image.pairs(fields)
        span = fields["groups"] * fields["taps_per_group"] * fields["words"]
        for index, pair in enumerate(pairs):
            for name, most in (("activation_offset", fields["tile_words"] - fields["words"]),
                               ("weight_offset", fields["col_tile_words"] - span)):
                self.demand(f"pair {index} field {name}", f"at most {most}", pair[name],
                            pair[name] <= most)
            self.demand(f"pair {index} field clear",
                        "1 where a pass begins" if drained else "0 inside a pass",
                        pair["clear"], pair["clear"] == drained)
            can_double = self.config.doubling and not drained
            self.demand(f"pair {index} field double",
                        "0 where a pass begins" if self.config.doubling
                        else "0 on a machine without doubling",
                        pair["double"], can_double or not pair["double"])
            drained = bool(pair["drain"])
            passes += drained
        self.demand(f"pair {len(pairs) - 1} field drain", "1 at the end of the layer", 0, drained)
        self.demand("number of pairs marked drain", f"{fields['passes_per_group']}, as its field "
                    "passes_per_group says", passes, passes == fields["passes_per_group"])
