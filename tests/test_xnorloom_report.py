"""The report, its tables and its pictures, on figures made up for the purpose."""

import json

import pytest

from xnorloom.hw.spec.config import load_machine
from xnorloom.report import report as reports
from xnorloom.report import tables
from xnorloom.report.progress import console

pytest.importorskip("matplotlib")


def made_up_layer(name="conv1", cycles=1000, measured=None, mismatches=(0, 0)):
    return {
        "name": name, "in_shape": [64, 8, 8], "out_shape": [64, 8, 8], "activation_planes": 2,
        "weight_planes": 1, "passes": 64, "useful_lane_cycles": 600 * 4096, "lanes_total": 4096,
        "busy_cycles": 800, "stalled_on_drain_cycles": 100, "stalled_on_output_cycles": 0,
        "stalled_on_input_cycles": 20,
        "cycles": {"predicted": cycles, "measured": cycles if measured is None else measured},
        "mismatches": {"torch_vs_reference": mismatches[0], "reference_vs_rtl": mismatches[1]},
        "values_compared": 4096,
    }


def made_up_report(**changes):
    layers = [made_up_layer(), made_up_layer("conv2", 3000, **changes)]
    timeline = {"images": 8, "cycles": 4000, "intervals": [
        {"layer": "conv1", "start": 0, "end": 1000, "utilization": 0.6},
        {"layer": "conv2", "start": 1000, "end": 4000, "utilization": 0.2}]}
    entry = reports.scheme_entry(
        "lsbq-w1a2", 8, {"float": 0.99, "quantized": 0.98, "snapped": 0.98, "hardware": 0.98},
        layers, {"predicted": 4100, "measured": 4100}, timeline)
    return reports.new_report(load_machine("default"), [entry], 4000, 0.5, 60)


def test_a_report_sums_its_layers_and_survives_json():
    report = json.loads(json.dumps(made_up_report()))
    scheme = report["schemes"][0]
    assert scheme["cycles"] == {"predicted": 4100, "measured": 4100}
    assert scheme["values_compared"] == 8192
    assert scheme["mismatches"] == {"torch_vs_reference": 0, "reference_vs_rtl": 0}
    assert scheme["layers"][0]["utilization"] == pytest.approx(0.6)
    assert scheme["utilization"] == pytest.approx(1200 / 4100)
    assert report["simulation"]["cycles_per_second"] == 8000
    assert report["machine"]["fingerprint"] == f"{load_machine('default').fingerprint:08x}"
    assert set(report) >= {"schemes", "machine", "simulation", "versions", "seconds"}
    assert reports.mismatches(report) == 0


@pytest.mark.parametrize("changes", [{"mismatches": (1, 0)}, {"mismatches": (0, 1)},
                                     {"measured": 2999}])
def test_a_wrong_value_or_a_wrong_cycle_is_a_mismatch(changes):
    assert reports.mismatches(made_up_report(**changes)) == 1


def test_the_table_shows_every_layer_and_the_sums():
    with console.capture() as capture:
        console.print(tables.scheme_table(made_up_report(mismatches=(7, 9))["schemes"][0]))
    text = capture.get()
    rows = {line.split()[0]: line.split() for line in text.splitlines() if line.split()}
    assert rows["conv1"][-6:] == ["1,000", "1,000", "60.0%", "0", "0", "4,096"]
    assert rows["conv2"][-3:] == ["7", "9", "4,096"]
    assert rows["all,"][3:] == ["4,100", "4,100", "29.3%", "7", "9", "8,192"]


def test_an_accuracy_that_is_not_known_is_left_out():
    line = tables.accuracy_line({"float": None, "snapped": 0.975, "hardware": 0.975})
    assert line == "accuracy: snapped 97.50%, hardware 97.50%"


def test_pictures_are_drawn_from_what_json_holds(tmp_path):
    from PIL import Image

    from xnorloom.report.pictures import draw_all

    paths = draw_all(json.loads(json.dumps(made_up_report())), tmp_path)
    assert [path.name for path in paths] == ["cycles.png", "accuracy.png", "utilization.png"]
    for path in paths:
        with Image.open(path) as image:
            assert image.width > 600 and image.height > 300
            assert len(image.convert("L").getcolors()) > 20
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(p.name for p in paths)


def test_area_is_shown_module_by_module():
    counts = {"instances": 3, "lut": 1200, "ff": 34, "block_ram": 5, "dsp": 6}
    result = {"machine": "small", "target": "ecp5", "lut_per_operation": 1.987,
              "rest_per_array": 0.5, "modules": [
                  {"name": "array", "depth": 1, **counts},
                  {"name": "top", "depth": 0, **counts, "lut": 2000}]}
    with console.capture() as capture:
        console.print(tables.area_table(result))
    lines = [line.split() for line in capture.get().splitlines()]
    assert ["array", "3", "1,200", "34", "5", "6"] in lines
    assert ["top", "3", "2,000", "34", "5", "6"] in lines
    assert any("1.99" in line for line in lines)


def test_route_is_told_in_lines():
    first, path, cells = tables.route_lines({
        "machine": "small", "device": "ECP5-25F", "megahertz": 101.25,
        "critical_path": {"nanoseconds": 9.88, "levels": 8, "start": "a.Q", "end": "b.D"},
        "utilization": {"DP16KD": {"used": 33, "available": 56}}})
    assert first == "machine small on ECP5-25F: 101.2 MHz, out of context"
    assert path == "critical path: 9.88 ns over 8 cells, from a.Q to b.D"
    assert cells == "cells: 33 of 56 DP16KD"
