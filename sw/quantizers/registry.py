"""Names of schemes; every paper's file registers its own."""

import difflib

from .config import SchemeConfig

__all__ = ["SCHEMES", "UnknownNameError", "get_scheme", "look_up", "register_scheme",
           "scheme_name"]

SCHEMES: dict[str, SchemeConfig] = {}
"""Configurations of the schemes by name."""


class UnknownNameError(ValueError):
    """A scheme, net or data set that is not registered; the message suggests one."""


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


def get_scheme(scheme) -> SchemeConfig:
    """Resolves what a user names: a configuration, or the name of a registered one."""
    return scheme if isinstance(scheme, SchemeConfig) else look_up(SCHEMES, scheme, "Scheme")


def register_scheme(name, config):
    """Makes a configuration known under a name."""
    SCHEMES.setdefault(name, config)


def scheme_name(scheme):
    """What a scheme is called in reports: its registered name, or how to write its configuration.
    """
    if not isinstance(scheme, SchemeConfig):
        return scheme
    return next((name for name, config in SCHEMES.items() if config == scheme), repr(scheme))
