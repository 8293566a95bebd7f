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
    "data": "sw.data:load",
    "quantize_": "sw.quantize:quantize_",
    "fit": "sw.train:fit",
    "snap": "xnorloom.building:snap",
    "train": "xnorloom.training:train",
    "compile": "xnorloom.building:compile",
    "load_image": "xnorloom.building:load_image",
    "verilog": "xnorloom.building:verilog",
    "estimate": "xnorloom.building:estimate",
    "inspect": "xnorloom.building:inspect",
    "synth": "xnorloom.fpga:synth",
    "route": "xnorloom.fpga:route",
    "simulate": "xnorloom.running:simulate",
    "compare": "xnorloom.comparison:compare",
    "table": "xnorloom.results:table",
    "doctor": "xnorloom.environment:doctor",
    "machine": "hw.spec.config:load_machine",
    "MachineConfig": "hw.spec.config:MachineConfig",
    "PRESETS": "hw.spec.config:PRESETS",
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
