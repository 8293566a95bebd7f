"""Verilog export, reproducible to the byte."""

import os
import re

from ..array.popcount import COUNTONES_MODULE
from ..machine import Machine
from ..spec.config import MachineConfig

__all__ = ["emit"]

_ZERO_CELL = re.compile(r"^ +\S+\[\d+\] = \d+'h0+;\n", re.MULTILINE)
_INITIAL = re.compile(r"^ +initial begin\n(.*?)^ +end\n", re.MULTILINE | re.DOTALL)


def emit(config: MachineConfig, *, popcount: str = "plain", name: str = "top") -> str:
    """The machine as one Verilog file.

    Parameters
    ----------
    config : MachineConfig
        Machine.
    popcount : str
        ``plain`` for synthesis, ``countones`` for simulators with a native popcount.
    name : str
        Name of the top module.

    Returns
    -------
    str
        The same text for the same arguments, on any machine and under any hash seed: no paths, no
        dates. Memories come without initial contents: the machine never reads what was not written.
    """
    os.environ.setdefault("AMARANTH_USE_YOSYS", "builtin")
    from amaranth.back import verilog
    text = verilog.convert(Machine(config, popcount=popcount), name=name, emit_src=False,
                           strip_internal_attrs=True)
    text = _INITIAL.sub(_without_zeros, text)
    return text + ("\n" + COUNTONES_MODULE if popcount == "countones" else "")


def _without_zeros(initial):
    """An initial block without the cells of memories that are 0; nothing if that leaves none."""
    kept = _ZERO_CELL.sub("", initial[1])
    return f"  initial begin\n{kept}  end\n" if kept else ""
