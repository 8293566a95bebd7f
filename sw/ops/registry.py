"""All operators: every module of this folder is imported here, and registers its own."""

import importlib
import pkgutil

from .. import ops
from .operator import OPERATORS, operator_of_aten

__all__ = ["OPERATORS", "operator_of_aten", "supported"]

for _module in pkgutil.iter_modules(ops.__path__):
    if _module.name != "registry":
        importlib.import_module(f"{ops.__name__}.{_module.name}")


def supported():
    """What a network may be made of, for messages."""
    names = (kind.__name__ for each in OPERATORS.values() for kind in each.modules)
    return ", ".join(dict.fromkeys(names))
