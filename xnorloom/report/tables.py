"""Tables for people: of a comparison, an estimate, an image, an area report, the environment."""

from .sheet import Sheet
from .summary import STAGES, summary

__all__ = ["accuracy_line", "area_table", "environment_table", "estimate_table", "inspect_tables",
           "results_table", "route_lines", "scheme_table"]


def _by(shape):
    return "x".join(str(size) for size in shape)


def _size(machine):
    return f"{machine['rows']} x {machine['cols']} x {machine['lanes']}"


def _shape(layer):
    return f"{_by(layer['in_shape'])} -> {_by(layer['out_shape'])}"


def _planes(layer):
    return f"{layer['activation_planes']}x{layer['weight_planes']}"


def _terms(layer):
    """How many there are, where that is not one."""
    return "" if layer["terms"] == 1 else _number(layer["terms"])


def _pool(pool):
    return "" if pool is None else f"{pool['kind']} {_by(pool['window'])}"


def _number(value):
    return "-" if value is None else f"{value:,}"


def _range(values):
    """One number, or the smallest and the largest of several."""
    low, high = (min(values), max(values)) if isinstance(values, list) else (values, values)
    return _number(low) if low == high else f"{_number(low)}..{_number(high)}"


def scheme_table(scheme):
    """Table of one scheme of the report: a row per layer and one of sums."""
    table = Sheet(f"{scheme['title']}: {scheme['images']} images", "<layer", "<shape", "<pool",
                  "planes", "terms", "passes", "predicted cycles", "measured", "utilization",
                  "torch vs ref", "ref vs RTL", "values")
    for layer in scheme["layers"]:
        table.row(layer["name"], _shape(layer), _pool(layer["pool"]), _planes(layer),
                  _terms(layer), _number(layer["passes"]), *_counts(layer))
    table.section()
    table.row("all, with fetches", "", "", "", "", "", *_counts(scheme))
    return table


def _counts(part):
    return (_number(part["cycles"]["predicted"]), _number(part["cycles"]["measured"]),
            f"{part['utilization']:.1%}", _number(part["mismatches"]["torch_vs_reference"]),
            _number(part["mismatches"]["reference_vs_rtl"]), _number(part["values_compared"]))


def accuracy_line(accuracy):
    """One line: the accuracies that are known, from float to hardware."""
    return "accuracy: " + ", ".join(f"{stage} {value:.2%}" for stage, value in accuracy.items()
                                    if value is not None)


def estimate_table(rows, title):
    """Table of a cycle estimate: a row per layer and one of sums (``layer`` is ``all``)."""
    table = Sheet(title, "<layer", "<shape", "planes", "terms", "passes", "cycles", "busy",
                  "on drain", "on output", "on input", "utilization")
    for row in rows:
        last = row["name"] == "all"
        if last:
            table.section()
        table.row(row["name"], "" if last else _shape(row), "" if last else _planes(row),
                  "" if last else _terms(row),
                  *(_number(row[key]) for key in (
                      "passes", "cycles", "busy", "stalled_on_drain", "stalled_on_output",
                      "stalled_on_input")), f"{row['utilization']:.1%}")
    return table


def environment_table(parts):
    """Table of what :func:`xnorloom.doctor` found."""
    table = Sheet("xnorloom doctor", "<part", "<version", "<state", "<used for", "<how to get it")
    colours = {"ok": "green", "missing": "bold red", "optional": "yellow"}
    for part in parts:
        table.row(part.name, part.version or "-",
                  part.state, part.purpose, "" if part.version else part.remedy,
                  style=None if part.version else colours[part.state])
    return table


def results_table(report):
    """Table of what :func:`xnorloom.table` found: a row per scheme, medians of the seeds."""
    table = Sheet(f"{report['net']} on {report['data']}, medians of {len(report['seeds'])} runs",
                  "<scheme", "W bits", "A bits",
                  *STAGES, "image bytes", "cycles", "utilization", "mismatches")
    for scheme in report["schemes"]:
        said = summary(scheme)
        table.row(scheme["name"], f"{scheme['weight_bits']:.3g}",
                  f"{scheme['activation_bits']:.3g}",
                  *("-" if (accuracy := said["accuracy"][stage]) is None
                    else f"{accuracy['median']:.2%}" for stage in STAGES),
                  _number(scheme["image_bytes"]), _number(round(said["cycles"])),
                  f"{said['utilization']:.1%}", _number(said["mismatches"]))
    return table


def inspect_tables(result):
    """Tables of what :func:`xnorloom.inspect` found: header, layers, memory map."""
    head = Sheet(f"image of {result['network']}", "<field", "<value")
    machine = result["machine"]
    for field, value in (
            ("machine", f"{machine['name']}, {_size(machine)}, fingerprint "
             + result["fingerprint"]),
            ("format version", result["format_version"]),
            ("file", f"{result['bytes']:,} bytes, checksum verified"),
            ("program", f"{result['program_words']:,} words, CRC-32 {result['program_crc32']}"),
            ("batch", f"{result['batch']} images per run"),
            ("input", f"{_by(result['input']['shape'])}, step {result['input']['step']:g}, "
             + f"at {result['input']['base']}"),
            ("result", _result(result))):
        head.row(field, str(value))
    layers = Sheet("layers", "<name", "<reads", "<shape", "<kernel", "<stride", "planes", "groups",
                   "pairs", "passes", "acc bits", "frac bits", "<pool", "<result")
    for layer in result["layers"]:
        output = layer["output"]
        for index, term in enumerate(layer["terms"]):
            whole = (_number(layer["acc_bits"]), _range(layer["frac_bits"]), _pool(layer["pool"]),
                     "accumulators" if output is None else f"codes at {output['base']}")
            layers.row("" if index else layer["name"], term["source"],
                       _shape({**term, "out_shape": layer["out_shape"]}),
                       _by(term["kernel"]), _by(term["stride"]), _planes(term),
                       _number(term["groups"]), _number(term["pairs"]), _number(term["passes"]),
                       *(("", "", "", "") if index else whole))
    memories = Sheet("memory map", "<memory", "banks", "entry bits", "depth", "used", "full")
    for memory in result["memories"]:
        memories.row(memory["name"], _number(memory["banks"]), _number(memory["width"]),
                     _number(memory["depth"]), _number(memory["used"]),
                     f"{memory['used'] / memory['depth']:.0%}")
    return [head, layers, memories]


def _result(image):
    """Shape of the network's result, and what the host does for it."""
    head = image["head"] or {"shape": image["layers"][-1]["out_shape"], "steps": []}
    steps = ", ".join(step["name"] for step in head["steps"])
    return _by(head["shape"]) + (f", by the host: {steps}" if steps else "")


def area_table(result):
    """Table of what :func:`xnorloom.synth` counted, the whole machine last."""
    table = Sheet(f"area of machine {result['machine']} on {result['target']}", "<module",
                  "instances", "LUT", "FF", "block RAM", "DSP")
    *modules, top = result["modules"]
    for module in modules:
        table.row(*_area(module))
    table.section()
    table.row(*_area(top))
    table.caption = (f"{result['lut_per_operation']:.2f} LUT of the array per binary operation; "
                     f"all the rest takes {result['rest_per_array']:.0%} of the array's LUTs")
    return table


def _area(module):
    return ("  " * module["depth"] + module["name"],
            *(_number(module[kind]) for kind in ("instances", "lut", "ff", "block_ram", "dsp")))


def route_lines(result):
    """Lines that say what :func:`xnorloom.route` reached."""
    path = result["critical_path"]
    used = ", ".join(f"{cells['used']:,} of {cells['available']:,} {kind}"
                     for kind, cells in result["utilization"].items())
    return [(f"machine {result['machine']} on {result['device']}: {result['megahertz']:.1f} MHz, "
            f"out of context"),
            (f"critical path: {path['nanoseconds']:.2f} ns over {path['levels']} cells, from "
            f"{path['start']} to {path['end']}"),
            f"cells: {used}"]
