"""Names of quantizers and schemes; every quantizer's file registers itself here."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["ACTIVATIONS", "SCHEMES", "Scheme", "UnknownNameError", "WEIGHTS", "get_scheme",
"look_up",
           "register_activation", "register_scheme", "register_weight"]

WEIGHTS: dict[str, type] = {}
"""Weight quantizers by name."""

ACTIVATIONS: dict[str, type] = {}
"""Activation quantizers by name."""

SCHEMES: dict[str, "Scheme"] = {}
"""Schemes by name."""


class UnknownNameError(ValueError):
    """A quantizer, scheme, net or data set that is not registered; the message suggests one."""


@dataclass(frozen=True)
class Scheme:
    """Which quantizers a network gets.

    Parameters
    ----------
    name : str
        What a user writes.
    weight, activation : str
        Registered quantizers of weights and of activations.
    weight_options, activation_options : mapping
        Their constructor arguments.
    """

    name: str
    weight: str
    activation: str
    weight_options: Mapping[str, Any] = field(default_factory=dict)
    activation_options: Mapping[str, Any] = field(default_factory=dict)

    def build_weight(self):
        """A new weight quantizer of this scheme."""
        return look_up(WEIGHTS, self.weight, "Weight quantizer")(**self.weight_options)

    def build_activation(self):
        """A new activation quantizer of this scheme."""
        return look_up(ACTIVATIONS, self.activation,
                       "Activation quantizer")(**self.activation_options)


def look_up(table, name, kind):
    """Entry ``name`` of a table of named things.

    Raises
    ------
    UnknownNameError
        If there is none; ``kind`` starts the sentence.
    """
    if isinstance(name, str) and name in table:
        return table[name]
    close = difflib.get_close_matches(str(name), table, n=1)
    hint = f", did you mean {close[0]!r}?" if close else f"; known: {', '.join(table)}"
    raise UnknownNameError(f"{kind} must be a registered name, not {name!r}{hint}")


def get_scheme(scheme) -> Scheme:
    """Resolves what a user names: a :class:`Scheme` or the name of a registered one."""
    return scheme if isinstance(scheme, Scheme) else look_up(SCHEMES, scheme, "Scheme")


def register_weight(name):
    """Class decorator that makes a weight quantizer known under ``name``."""
    return lambda cls: WEIGHTS.setdefault(name, cls)


def register_activation(name):
    """Class decorator that makes an activation quantizer known under ``name``."""
    return lambda cls: ACTIVATIONS.setdefault(name, cls)


def register_scheme(scheme):
    """Makes a :class:`Scheme` known under its name, and returns it."""
    return SCHEMES.setdefault(scheme.name, scheme)
