"""Program of an image that comes from a file: that its machine can execute every layer of it."""

import math

from xnorloom.hw.spec.descriptor import (
    BORDER_CLASSES,
    MAX_CODE_BITS,
    POOLS,
    descriptor_limits,
)
from xnorloom.hw.spec.latency import in_pixel_pairs, pool_cycles, tile_cycles
from xnorloom.hw.spec.memory import Memory, banks
from xnorloom.hw.spec.tile import bias_entries, block_entries, scale_entries

from ..errors import ImageError
from .check_maps import check_maps
from .check_terms import check_terms
from .layout import MapLayout
from .walk import Walk, pool_reach, turns_needed

__all__ = ["check_program"]


def check_program(image):
    """Checks descriptors and tables of an image against its machine and its metadata.

    The machine itself checks only that fields are within their bounds and addresses within its
    memories; what passes here computes what the metadata say, with whatever numbers weights,
    scales and parameters are.

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
    check_maps(image)


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

    def inside(self, what, start, count, memory):
        """Every entry that is read must be in the image."""
        contents = self.image.memories.get(memory)
        have = 0 if contents is None else contents.shape[1]
        self.demand(what, f"at most {have - count}, for {count} of the {have} entries "
                    f"of the {memory.name.lower()} memory", start, start + count <= have)

    def check(self, maps):
        for name, (low, high) in descriptor_limits(self.config).items():
            value = self.fields[name]
            self.demand(f"field {name}", f"from {low} to {high}", value, low <= value <= high)
        sources = [maps[term["source"]] for term in self.layer["terms"]]
        for described in sources:
            self.check_map("input", described)
        self.check_shape()
        walk = self.check_walk(sources)
        self.check_tables()
        check_terms(self, sources)
        self.check_unused()
        self.equal("pixel_pairs", int(in_pixel_pairs(
            self.config, raw=self.layer["raw"], bordered=self.bordered(),
            pooled=self.layer["pool"] is not None, turns=self.fields["turns"], walk=walk.places,
            stride_x=self.fields["out_stride_x"])))
        if self.layer["raw"]:
            self.equal("tile_cycles", tile_cycles(self.config, bordered=self.bordered()))
        else:
            self.check_map("output", self.layer["output"])
            self.check_codes(walk)

    def check_unused(self):
        """Fields that mean nothing to this layer have their least values."""
        unused = [] if self.fields["rescale"] else ["shift"]
        if self.layer["raw"]:
            unused += ["rescale", "shift", "code_bits", "map_bits", "turns"]
        if self.layer["pool"] is None:
            unused.append("pool")
        prefixes = tuple(([] if self.layer["pool"] else ["pool_"])
                         + (["out_", "planes_"] if self.layer["raw"] else []))
        for name, (low, _high) in descriptor_limits(self.config).items():
            if name in unused or name.startswith(prefixes) and name != "out_lines":
                self.equal(name, low)

    def check_shape(self):
        """What metadata and descriptor both say."""
        fields, layer = self.fields, self.layer
        outputs = layer["out_shape"][0]
        self.equal("raw", int(layer["raw"]))
        self.equal("passes", layer["passes"])
        self.equal("terms", len(layer["terms"]) + len(layer["constants"]))
        tiles = -(-outputs // self.config.cols)
        self.equal("col_tiles", tiles)
        self.equal("last_cols", outputs - (tiles - 1) * self.config.cols)
        self.equal("out_lines", layer["map"][0])
        self.equal("walk_width", layer["map"][1] * self.image.batch)
        for sides, size in (("top", "bottom"), layer["map"][0]), (("left", "right"),
                                                                 layer["map"][1]):
            ends = sum(fields[f"border_{side}"] for side in sides)
            self.demand(f"fields border_{sides[0]} and border_{sides[1]}",
                        f"together at most {min(BORDER_CLASSES, size) - 1}", ends,
                        ends < min(BORDER_CLASSES, size))

    def check_walk(self, sources):
        """Virtual pixels against the pitch of the maps that are read."""
        pitch = sources[0]["layout"]["pitch_x"]
        for described in sources:
            value = described["layout"]["pitch_x"]
            self.demand("input layout pitch_x", f"{pitch}, that of its first term", value,
                        value == pitch)
        reach = tuple(self.layer["map"])
        if self.layer["pool"] is not None:
            reach = pool_reach(reach, *self.pool())
        self.demand("input layout pitch_x", f"at least {reach[1]}", pitch, pitch >= reach[1])
        walk = Walk.of(reach, self.config.rows, self.image.batch, pitch)
        for name, wanted in walk.fields().items():
            self.equal(name, wanted)
        return walk

    def pool(self):
        """Window, stride and padding."""
        return tuple(self.layer["pool"][key] for key in ("window", "stride", "padding"))

    def check_map(self, which, described):
        """A stored map against machine, batch and memory."""
        layout = MapLayout(**described["layout"])
        for name, wanted in (("rows", self.config.rows), ("lanes", self.config.lanes),
                             ("images", self.image.batch)):
            value = getattr(layout, name)
            self.demand(f"{which} layout {name}", wanted, value, value == wanted)
        least = -(-layout.width // layout.stride_x)
        self.demand(f"{which} layout pitch_x", f"at least {least}", layout.pitch_x,
                    layout.pitch_x >= least)
        for name in ("phase_y_banks", "phase_x_banks"):
            value = getattr(layout, name)
            self.demand(f"{which} layout {name}", f"at most {self.config.rows - 1}", value,
                        value < self.config.rows)
        depth, end = self.config.activation_depth, described["base"] + layout.bank_words
        self.demand(f"end of its {which} map", f"at most {depth}", end, end <= depth)

    def bordered(self):
        """Whether the layer has border classes."""
        return bias_entries(self.fields) > 1

    def check_tables(self):
        """Weights, scales and parameters of all column tiles."""
        fields, tiles = self.fields, self.fields["col_tiles"]
        block = block_entries(fields)
        self.equal("block", block)
        for name, count, memory in (
                ("weight_base", tiles * fields["col_tile_words"], Memory.WEIGHTS),
                ("scale_base", tiles * scale_entries(fields), Memory.SCALES),
                ("parameter_base", tiles * block, Memory.PARAMETERS)):
            self.inside(f"field {name}", fields[name], count, memory)

    def check_codes(self, walk):
        """How codes are found, pooled and written."""
        fields, layer, output = self.fields, self.layer, self.layer["output"]
        layout = MapLayout(**output["layout"])
        if not fields["rescale"]:
            most = self.config.code_bits
            self.demand("field code_bits", f"at most {most}", fields["code_bits"],
                        fields["code_bits"] <= most)
        self.equal("map_bits", layout.planes)
        self.demand("output code table", f"binary where it has more than {MAX_CODE_BITS} planes",
                    "a table of its own", layout.planes <= MAX_CODE_BITS or all(
                        sum(bit << plane for plane, bit in enumerate(row)) == code
                        for code, row in enumerate(output["table"])))
        for name, wanted in layout.output_fields(output["base"], output["table"]).items():
            self.equal(name, wanted)
        if layer["pool"] is not None:
            self.check_pool()
            return
        self.equal("code_bits", layout.planes)
        self.equal("out_walk", walk.places)
        self.equal("turns", turns_needed(layout, walk.pixels(layer["map"]), self.config.rows))
        least = tile_cycles(self.config, bordered=self.bordered(),
                            pixel_pairs=fields["pixel_pairs"])
        self.equal("tile_cycles", max(least, fields["map_bits"] * fields["turns"]))

    def check_pool(self):
        """Fields of pooling."""
        fields, layer, config = self.fields, self.layer, self.config
        window, stride, padding = self.pool()
        bits = fields["code_bits"]
        if layer["pool"]["kind"] == "sum":
            bits = (math.prod(window) * ((1 << bits) - 1)).bit_length()
        self.equal("map_bits", bits)
        self.equal("pool", POOLS[layer["pool"]["kind"]])
        lines, width = layer["out_shape"][1:]
        windows = [-(-size // step) for size, step in zip(window, stride, strict=True)]
        for axis, name in enumerate("yx"):
            self.equal(f"pool_window_{name}", window[axis])
            self.equal(f"pool_stride_{name}", stride[axis])
            self.equal(f"pool_open_{name}", windows[axis])
        self.equal("pool_top", padding[0])
        self.equal("pool_left", padding[2])
        self.equal("pool_lines", lines)
        self.equal("pool_width", width)
        self.equal("out_walk", width * self.image.batch)
        self.equal("turns", 1)
        self.equal("pool_cycles", pool_cycles(fields["map_bits"], math.prod(windows)))
        self.equal("tile_cycles", max(tile_cycles(config, bordered=self.bordered()),
                                      config.rows * fields["pool_cycles"]))
        entries = windows[0] * width * self.image.batch
        self.demand("pooled pixels open at a time", f"at most {config.pool_depth}", entries,
                    entries <= config.pool_depth)
