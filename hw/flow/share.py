"""Equal modules made one: Amaranth writes a module for every instance."""

import re

__all__ = ["share_modules"]

_MODULE = re.compile(r"^module (\S+) ?(\(.*?^endmodule\n)", re.MULTILINE | re.DOTALL)
_ESCAPED = re.compile(r"\\(\S+)(?=\s)")
_SERIAL = re.compile(r"(?<=:dump_module\$)\d+")


def share_modules(verilog: str) -> str:
    """Verilog in which modules that differ in nothing but their names are one module.

    Synthesis of a machine of hundreds of equal elements takes minutes with it and hours without;
    what comes out is the same machine.

    Parameters
    ----------
    verilog : str
        What :func:`hw.flow.verilog.emit` gave.

    Returns
    -------
    str
        The modules that are left, each under the name of the first of its equals, in their order.
    """
    modules = {name: _SERIAL.sub("0", body) for name, body in _MODULE.findall(verilog)}
    while True:
        first: dict[str, str] = {}
        same = {name: kept for name, body in modules.items()
                if (kept := first.setdefault(body, name)) != name}
        if not same:
            return "\n".join(f"module {name} {body}" for name, body in modules.items())
        # Parents of equal children become equal in turn, hence the loop.
        modules = {name: _renamed(body, same) for name, body in modules.items()
                   if name not in same}


def _renamed(body, names):
    return _ESCAPED.sub(lambda found: names.get(found[0], found[0]), body)
