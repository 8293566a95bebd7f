"""What the kept reports of the presets say of area and speed."""

import json

from xnorloom.hw.spec.config import PRESETS

from .tables import ROOT, markdown_table

__all__ = ["BLOCKS"]


def _reports(name):
    """Kept reports of a kind, by preset; those of an older machine are left out."""
    found = {}
    for preset, config in PRESETS.items():
        path = ROOT / "bitstreams" / preset / name
        if path.is_file():
            report = json.loads(path.read_text(encoding="utf-8"))
            if report["fingerprint"] == f"{config.fingerprint:08x}":
                found[preset] = report
    return found


def area():
    """Area of every preset, and its largest blocks."""
    rows = []
    for preset, report in _reports("area.json").items():
        whole, *modules = report["modules"]
        blocks = [each for each in modules if each["depth"] == 2 and each["name"] != "array"]
        blocks.sort(key=lambda each: -each["lut"])
        rows.append([f"`{preset}`", f"{report['lut_per_operation']:.2f}",
                     f"{100 * report['rest_per_array']:.0f} %", whole["block_ram"], whole["dsp"],
                     ", ".join(f"{each['name']} {each['lut']:,}" for each in blocks[:4])])
    return markdown_table(["machine", "array, LUT per binary operation",
                           "all the rest, of the array's LUTs", "block RAM", "DSP",
                           "largest blocks of the data path besides the array, LUTs"], rows)


def speed():
    """Clock of every preset that has been placed and routed."""
    rows = [[f"`{preset}`", report["device"], report["seed"], report["megahertz"],
             report["critical_path"]["levels"],
             f"{report['critical_path']['routing'] / report['critical_path']['nanoseconds']:.0%}"]
            for preset, report in _reports("route.json").items()]
    return markdown_table(["machine", "device", "seed", "MHz", "LUTs in the longest path",
                           "of its time in wires"], rows)


BLOCKS = {"area": area, "speed": speed}
"""Name of a block -> function that returns its Markdown."""
