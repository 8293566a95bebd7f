"""Verilog export, reproducible to the byte."""

import contextlib
import gc
import os
import re

from ..array.popcount import COUNTONES_MODULE
from ..machine import Machine
from ..spec.config import MachineConfig
from .header import header
from .share import share_modules
from .start import evaluated_at_start

__all__ = ["VerilogError", "emit"]

_ZERO_CELL = re.compile(r"^ +\S+\[\d+\] = \d+'[hd]0+;\n", re.MULTILINE)
_INITIAL = re.compile(r"^ +initial begin\n(.*?)^ +end\n", re.MULTILINE | re.DOTALL)
_PROFILE = re.compile(r"^module \\\S+\.profile(?:\$\d+)?\.bank ?\(.*?^endmodule\n",
                      re.MULTILINE | re.DOTALL)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_COUNTONES = re.compile(r"\bxnorloom_countones\b")


class VerilogError(ValueError):
    """Verilog that cannot be written as asked; the message says what is demanded."""


def emit(config: MachineConfig, *, popcount: str = "plain", name: str = "top") -> str:
    """The machine as one Verilog file.

    Parameters
    ----------
    config : MachineConfig
        Machine.
    popcount : str
        ``plain`` for synthesis, ``countones`` for simulators with a native popcount.
    name : str
        Name of the top module. All other modules begin with it and two underscores, so that
        machines of different names fit in one design.

    Returns
    -------
    str
        The same text for the same arguments, on any machine and under any hash seed: no paths, no
        dates. Equal modules are written once. Memories come without initial contents, for the
        machine never reads what was not written; only the profile, which the host reads whole,
        begins with zeros.

    Raises
    ------
    VerilogError
        If ``name`` is not a plain identifier.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise VerilogError(f"Verilog name of a machine must be letters, digits and underscores, "
                           f"with no digit first, not {name!r}")
    text = _convert(config, popcount, name)
    # Before modules are shared: another memory may be like it.
    text = _PROFILE.sub(lambda module: _INITIAL.sub(_zeros_at_once, module[0]), text)
    text = evaluated_at_start(share_modules(_INITIAL.sub(_without_zeros, text)))
    if popcount == "countones":
        text = _COUNTONES.sub(f"{name}__countones", text + "\n" + COUNTONES_MODULE)
    return header(config, popcount=popcount, name=name) + text


def _convert(config, popcount, name):
    os.environ.setdefault("AMARANTH_USE_YOSYS", "builtin")
    from amaranth.back import verilog

    with _no_collection():
        return verilog.convert(Machine(config, popcount=popcount), name=name, emit_src=False,
                               strip_internal_attrs=True)


@contextlib.contextmanager
def _no_collection():
    """No garbage collection: Amaranth makes millions of objects that live to the end, and searching
    them again and again takes longer than all the rest."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _zeros_at_once(initial):
    """A loop in place of a block that makes every cell of a memory 0."""
    cells = _ZERO_CELL.findall(initial[0])
    if "".join(cells) != initial[1]:
        return initial[0]
    name, value = cells[0].strip(" ;\n").split("[0] = ")
    return (f"  integer cell_number;\n"
            f"  initial for (cell_number = 0; cell_number < {len(cells)}; "
            f"cell_number = cell_number + 1)\n    {name}[cell_number] = {value};\n")


def _without_zeros(initial):
    """An initial block without the cells of memories that are 0; nothing if that leaves none."""
    kept = _ZERO_CELL.sub("", initial[1])
    return f"  initial begin\n{kept}  end\n" if kept else ""
