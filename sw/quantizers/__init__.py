"""Quantizers, one file each. A new one is a new file here that registers itself: every module of
this package is imported below."""

import importlib
import pkgutil

from .base import ActivationQuantizer, WeightQuantizer
from .registry import ACTIVATIONS, SCHEMES, WEIGHTS, Scheme, UnknownNameError, get_scheme

__all__ = ["ACTIVATIONS", "ActivationQuantizer", "SCHEMES", "Scheme", "UnknownNameError", "WEIGHTS",
           "WeightQuantizer", "get_scheme"]

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
