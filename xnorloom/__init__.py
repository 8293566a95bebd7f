"""xnorloom: a low-bit network trained in PyTorch, its XNOR-popcount machine, and their proof.

Every command of the ``xnorloom`` program is a function of this package. Nothing heavy is imported
until one of them is used.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as _version

try:
    __version__ = _version("xnorloom")
except PackageNotFoundError:
    __version__ = "0+unknown"

_HOMES = {
    "data": "xnorloom.sw.data:load",
    "quantize_": "xnorloom.sw.passes.quantize:quantize_",
    "fit": "xnorloom.sw.training.fit:fit",
    "snap": "xnorloom.verbs.building:snap",
    "train": "xnorloom.verbs.training:train",
    "compile": "xnorloom.verbs.building:compile",
    "load_image": "xnorloom.verbs.building:load_image",
    "verilog": "xnorloom.verbs.building:verilog",
    "estimate": "xnorloom.verbs.building:estimate",
    "inspect": "xnorloom.verbs.building:inspect",
    "synth": "xnorloom.verbs.fpga:synth",
    "route": "xnorloom.verbs.fpga:route",
    "simulate": "xnorloom.verbs.running:simulate",
    "compare": "xnorloom.verbs.comparison:compare",
    "table": "xnorloom.study.table:table",
    "doctor": "xnorloom.report.environment:doctor",
    "machine": "xnorloom.hw.spec.config:load_machine",
    "MachineConfig": "xnorloom.hw.spec.config:MachineConfig",
    "PRESETS": "xnorloom.hw.spec.config:PRESETS",
    "UserError": "xnorloom.errors:UserError",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name):
    if name not in _HOMES:
        raise AttributeError(f"module 'xnorloom' has no attribute {name!r}")
    module, attribute = _HOMES[name].split(":")
    value = getattr(import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__():
    return sorted(__all__)
