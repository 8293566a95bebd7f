"""Equal modules made one: Amaranth writes a module for every instance."""

import re
from collections import Counter

__all__ = ["share_modules"]

_MODULE = re.compile(r"^module (\S+) ?(\(.*?^endmodule\n)", re.MULTILINE | re.DOTALL)
_ESCAPED = re.compile(r"\\(\S+)(?=\s)")
_SERIAL = re.compile(r"(?<=:dump_module\$)\d+")
_SERIAL_NAME = r"(\$\d+)?$"
_NOTHING = re.compile("$")
_DROPPED = (re.compile(r"(_\d+)*" + _SERIAL_NAME), re.compile(_SERIAL_NAME), _NOTHING)
"""What names lose, if they can do without: first the numbers of their places, then at least what
Amaranth appends to a name that is taken."""


def share_modules(verilog: str) -> str:
    """Verilog in which modules that differ in nothing but their names are one module.

    Simulation and synthesis of a machine of hundreds of equal elements take minutes with it and
    hours without; what comes out is the same machine.

    Parameters
    ----------
    verilog : str
        What Amaranth wrote. Its modules are named by their places: ``\\top.array.element_0_1``.

    Returns
    -------
    str
        The modules that are left, in their order, with plain names: ``top__array__element``. Where
        several modules would have that name, all keep the numbers of their places:
        ``top__array__element_0_1``.
    """
    modules = {name: _SERIAL.sub("0", body) for name, body in _MODULE.findall(verilog)}
    while True:
        first: dict[str, str] = {}
        same = {name: kept for name, body in modules.items()
                if (kept := first.setdefault(_unordered(body), name)) != name}
        if not same:
            break
        # Parents of equal children become equal in turn, hence the loop.
        modules = {name: _renamed(body, same) for name, body in modules.items()
                   if name not in same}
    names = _plain_names(modules)
    return "\n".join(f"module {names[name]} {_renamed(body, names)}"
                     for name, body in modules.items())


def _unordered(body):
    """The text with its ports sorted: they are connected by their names."""
    ports, rest = body[1:].split(")", 1)
    return ", ".join(sorted(ports.split(", "))) + rest


def _renamed(body, names):
    return _ESCAPED.sub(lambda found: names.get(found[0], found[0]), body)


def _plain_names(modules):
    """A name without escapes for every module, unlike all others."""
    names = {}
    taken = [Counter(_joined(name, dropped) for name in modules) for dropped in _DROPPED]
    for name in modules:
        plain = next((plain for dropped, count in zip(_DROPPED, taken, strict=True)
                      if count[plain := _joined(name, dropped)] == 1), _joined(name, _NOTHING))
        while plain in names.values():
            plain += "_"
        names[name] = plain
    return names


def _joined(name, dropped):
    top, *parts = name.removeprefix("\\").split(".")
    if not parts:
        # The top module keeps the name it was given.
        return name
    return "__".join([top, *(dropped.sub("", part) for part in parts)]).replace("$", "_")
