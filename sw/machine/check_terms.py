"""Terms of a layer of an image that comes from a file, with their pairs and taps."""

import math

from xnorloom.hw.spec.memory import Memory

from .layout import MapLayout
from .walk import NOWHERE, tap_entries

__all__ = ["check_terms"]


def check_terms(layer, sources):
    """Checks the term table of a layer, and what it names in the other tables.

    Parameters
    ----------
    layer : sw.machine.check._Layer
        Whose descriptor is checked otherwise.
    sources : list of dict
        The described map of every term of the metadata.

    Raises
    ------
    ImageError
        By term and field.
    """
    fields = layer.fields
    runs = -(-fields["col_tiles"] // fields["term_period"])
    layer.inside("field term_base", fields["term_base"], runs * fields["terms"], Memory.TERMS)
    for number, entries in enumerate(layer.image.terms(fields)):
        described, passes = iter(zip(layer.layer["terms"], sources, strict=True)), 0
        for index, entry in enumerate(entries):
            constant = index in layer.layer["constants"]
            term, source = (None, sources[0]) if constant else next(described)
            check = _Term(layer, f"term {number * len(entries) + index}", entry, term, source)
            passes += check.check()
        layer.demand("number of pairs marked drain", f"{fields['passes']}, as its field passes "
                     "says", passes, passes == fields["passes"])


class _Term:
    """One entry of the term table; ``term`` is None for a constant."""

    def __init__(self, layer, where, entry, term, source):
        self.layer, self.where, self.entry, self.term = layer, where, entry, term
        self.base, self.layout = source["base"], MapLayout(**source["layout"])
        self.config = layer.config

    def demand(self, what, requirement, value, holds):
        self.layer.demand(f"{self.where} {what}", requirement, value, holds)

    def equal(self, name, wanted):
        value = self.entry[name]
        self.demand(f"field {name}", wanted, value, value == wanted)

    def check(self):
        """Checks the entry; returns its passes."""
        entry, layout = self.entry, self.layout
        for name in ("words", "taps_per_group", "pairs", "groups"):
            self.demand(f"field {name}", "at least 1", entry[name], entry[name] >= 1)
        planes = 1
        if self.term is not None:
            planes = layout.planes
            self.equal("words", self.term["words"])
            self.equal("tile_words", layout.tile_words)
            self.equal("pairs", self.term["pairs"])
            most = self.base + layout.words - entry["words"]
            self.demand("field activation_base", f"from {self.base} to {most}",
                        entry["activation_base"],
                        self.base <= entry["activation_base"] <= most)
        reach = (planes - 1) * layout.words + entry["words"]
        self.layer.inside(f"{self.where} field pad_base", entry["pad_base"], reach,
                          Memory.ACTIVATIONS)
        self.check_taps()
        return self.check_pairs(reach - entry["words"])

    def check_taps(self):
        """Kernel taps: bank and address of row 0, and where they lie inside the map."""
        entry, term, out_map = self.entry, self.term, self.layer.layer["map"]
        unfolded = term is not None and not term["folded"]
        taps = math.prod(term["kernel"]) if unfolded else 1
        groups = 1 if term is None else term["groups"]
        self.equal("groups", groups)
        self.equal("taps_per_group", taps // groups)
        self.layer.inside(f"{self.where} field tap_base", entry["tap_base"], taps, Memory.TAPS)
        if unfolded:
            for axis, name in enumerate(("stride_y", "stride_x")):
                value = getattr(self.layout, name)
                self.demand(f"layout {name}", term["stride"][axis], value,
                            value == term["stride"][axis] or out_map[axis] == 1)
            wanted = tap_entries(term["kernel"], term["stride"], term["dilation"],
                                 term["padding"], self.layout, out_map)
        elif term is None:
            wanted = [NOWHERE]
        else:
            wanted = tap_entries((1, 1), (1, 1), (1, 1), (0, 0, 0, 0), self.layout, out_map)
        for index, (tap, right) in enumerate(zip(self.layer.image.taps(entry), wanted,
                                                 strict=True)):
            for name, value in right.items():
                self.demand(f"tap {index} field {name}", value, tap[name], tap[name] == value)

    def check_pairs(self, last_plane):
        """Plane pairs: passes that begin, double and end as the machine can."""
        entry, drained, passes = self.entry, True, 0
        self.layer.inside(f"{self.where} field pair_base", entry["pair_base"], entry["pairs"],
                          Memory.PAIRS)
        span = entry["groups"] * entry["taps_per_group"] * entry["words"] + entry["weight_offset"]
        most = self.layer.fields["col_tile_words"] - span
        self.demand("field weight_offset", f"at most {most + entry['weight_offset']}",
                    entry["weight_offset"], most >= 0)
        pairs = self.layer.image.pairs(entry)
        for index, pair in enumerate(pairs):
            for name, bound in (("activation_offset", last_plane), ("weight_offset", most)):
                self.demand(f"pair {index} field {name}", f"at most {bound}", pair[name],
                            pair[name] <= bound)
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
        self.demand(f"pair {len(pairs) - 1} field drain", "1 at the end of its term", 0, drained)
        return passes * entry["groups"]
