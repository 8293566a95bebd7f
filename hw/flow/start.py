"""Combinational blocks that simulators evaluate once at the start."""

import re

__all__ = ["START", "evaluated_at_start"]

START = r"\$start "
"""Register that every combinational block reads, with the space that ends an escaped name."""

_MODULE = re.compile(r"^module .*?^endmodule\n", re.MULTILINE | re.DOTALL)
_YOSYS = r"\\\$auto\$verilog_backend\.cc:\d+:dump_module\$\d+ "
_DECLARED = re.compile(rf"^  reg {_YOSYS} = 0;\n", re.MULTILINE)
_READ = re.compile(_YOSYS)
_LATE = f"""\
  reg {START};
  /* verilator lint_off INITIALDLY */
  initial {START}<= 1'h0;
  /* verilator lint_on INITIALDLY */
"""
"""Verilator evaluates all blocks anyway, and says only that it does not wait here."""

_BARE = re.compile(r"^  always @\*\n    (.+;)\n", re.MULTILINE)


def evaluated_at_start(verilog: str) -> str:
    """Verilog whose combinational blocks are evaluated at time 0, by every simulator.

    ``always @*`` waits for a change. A block of registers that keep their initial values, or of
    constants, has none to wait for, and what it drives stays X. Yosys lets most blocks read a
    register with an initial value, but not those of a single assignment; and from Verilog 2005 to
    SystemVerilog the meaning of an initial value has changed: it is there before any block waits.
    A nonblocking assignment comes after all blocks have begun to wait. To synthesis nothing of this
    is logic.

    Parameters
    ----------
    verilog : str
        What Amaranth wrote.

    Returns
    -------
    str
        The same with one register, ``START``, in every module with such blocks.
    """
    return _MODULE.sub(lambda module: _evaluated(module[0]), verilog)


def _evaluated(module):
    module = _READ.sub(lambda _: START, _DECLARED.sub("", module))
    module = _BARE.sub(lambda block: f"  always @* begin\n    if ({START}) begin end\n"
                                     f"    {block[1]}\n  end\n", module)
    if "  always @* begin\n" not in module:
        return module
    head, body = module.split(";\n", 1)
    return f"{head};\n{_LATE}{body}"
