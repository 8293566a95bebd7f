"""Area of a machine as a tree of module kinds, out of what Yosys counted."""

import re
from dataclasses import dataclass, field

from .yowasp import ToolError

__all__ = ["CELLS", "RESOURCES", "Module", "area_tree"]

CELLS = {
    # A CCU2C is two LUT4 with the carry between them.
    "ecp5": {"lut": {"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 4, "PFUMX": 0, "L6MUX21": 0},
             "ff": {"TRELLIS_FF": 1}, "block_ram": {"DP16KD": 1, "PDPW16KD": 1},
             "dsp": {"MULT18X18D": 1}},
    # The carry of a logic cell comes beside its LUT.
    "ice40": {"lut": {"SB_LUT4": 1}, "ff": {"SB_DFF*": 1},
              "block_ram": {"SB_RAM40_4K*": 1}, "dsp": {"SB_MAC16": 1}},
    # Block RAM in halves of 18 Kibit; an inverter may need a LUT.
    "xc7": {"lut": {"LUT*": 1, "INV": 1, "SRL16E": 1, "SRLC32E": 1, "RAM32M": 4, "RAM64M": 4,
                    "RAM32X1D": 2, "RAM64X1D": 2, "RAM128X1D": 4},
            "ff": {"FDRE": 1, "FDSE": 1, "FDCE": 1, "FDPE": 1},
            "block_ram": {"RAMB18E1": 1, "RAMB36E1": 2}, "dsp": {"DSP48E1": 1}},
}
"""What the cells of a target count for; a name with ``*`` is a beginning."""

RESOURCES = ("lut", "ff", "block_ram", "dsp")
"""What is counted of every module."""

_NUMBERS = re.compile(r"(_\d+)+$")


@dataclass
class Module:
    """A kind of module at one place of the hierarchy.

    Attributes
    ----------
    name : str
        Name without the numbers that tell instances apart: ``element`` of ``element_2_0``.
    path : str
        Names from the top module down, with dots; ``top`` for the top module itself.
    instances : int
        Instances in the whole machine.
    own, total : dict
        ``lut``, ``ff``, ``block_ram`` and ``dsp`` of all instances, without and with submodules.
    children : list of Module
        Submodules, largest first.
    """

    name: str
    path: str
    instances: int = 0
    own: dict = field(default_factory=lambda: dict.fromkeys(RESOURCES, 0))
    total: dict = field(default_factory=lambda: dict.fromkeys(RESOURCES, 0))
    children: list = field(default_factory=list)

    def walk(self, depth=0):
        """Yields this module and all below it with their depths, every parent first."""
        yield self, depth
        for child in self.children:
            yield from child.walk(depth + 1)

    def find(self, path):
        """The module at a path.

        Raises
        ------
        KeyError
            If there is none.
        """
        for module, _depth in self.walk():
            if module.path == path:
                return module
        raise KeyError(path)


def area_tree(statistics, target):
    """Sums the cells of every kind of module.

    Parameters
    ----------
    statistics : dict
        What ``stat -json`` of Yosys wrote for a design that kept its hierarchy. Counts per module
        are local; a submodule is listed among the cells under its module's name.
    target : str
        Key of :data:`CELLS`.

    Returns
    -------
    Module
        The top module.

    Raises
    ------
    ToolError
        If the sum over the hierarchy is not what Yosys counted for the whole design.
    """
    modules = {name.removeprefix("\\"): entry["num_cells_by_type"]
               for name, entry in statistics["modules"].items()}
    top = Module("top", "top")
    _add(top, "top", 1, modules, target)
    _close(top)
    whole = {name: number for name, number in statistics["design"]["num_cells_by_type"].items()
             if name.removeprefix("\\") not in modules}
    expected = _count(whole, target)
    if top.total != expected:
        raise ToolError(f"Area of the modules must sum up to {expected!r}, not {top.total!r}")
    return top


def _add(place, module, instances, modules, target):
    place.instances += instances
    cells = {}
    for name, number in modules[module].items():
        if name.removeprefix("\\") in modules:
            _add(_child(place, name.removeprefix("\\")), name.removeprefix("\\"),
                 instances * number, modules, target)
        else:
            cells[name] = number
    for resource, number in _count(cells, target).items():
        place.own[resource] += instances * number


def _child(place, module):
    name = _NUMBERS.sub("", module.rpartition("__")[2].partition("$")[0])
    path = name if place.path == "top" else f"{place.path}.{name}"
    for child in place.children:
        if child.path == path:
            return child
    place.children.append(Module(name, path))
    return place.children[-1]


def _close(place):
    for child in place.children:
        _close(child)
    place.children.sort(key=lambda child: (-child.total["lut"], -child.total["ff"], child.name))
    for resource in RESOURCES:
        place.total[resource] = place.own[resource] + sum(child.total[resource]
                                                          for child in place.children)


def _count(cells, target):
    return {resource: sum(number * _weight(name, CELLS[target][resource])
                          for name, number in cells.items()) for resource in RESOURCES}


def _weight(cell, weights):
    for name, weight in weights.items():
        if cell == name or (name.endswith("*") and cell.startswith(name[:-1])):
            return weight
    return 0
