"""Quantizers, one file a paper. A new one is a new file here that registers its schemes: every
module of this package is imported below."""

import importlib
import pkgutil

from .base import ActivationQuantizer, WeightQuantizer
from .config import SchemeConfig
from .registry import (
    SCHEMES,
    UnknownNameError,
    get_scheme,
    register_scheme,
    scheme_data,
    scheme_name,
)

__all__ = ["ActivationQuantizer", "SCHEMES", "SchemeConfig", "UnknownNameError", "WeightQuantizer",
           "get_scheme", "register_scheme", "scheme_data", "scheme_name"]

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
