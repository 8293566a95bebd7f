"""Names of schemes; every paper's file registers its own."""

import dataclasses
import difflib

from .config import SchemeConfig

__all__ = ["SCHEMES", "UnknownNameError", "get_scheme", "look_up", "register_scheme",
           "scheme_data", "scheme_name"]

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
    """Resolves what a user names: a configuration, the name of a registered one, or what
    :func:`scheme_data` made of one.

    Raises
    ------
    ValueError
        If the name or kind is unknown, or a field is not one that kind has.
    """
    if isinstance(scheme, SchemeConfig):
        return scheme
    if not isinstance(scheme, dict):
        return look_up(SCHEMES, scheme, "Scheme")
    kind = look_up({each.__name__: each for each in _kinds(SchemeConfig)}, scheme.get("kind"),
                   "Kind of scheme")
    given = scheme.get("fields")
    known = [field.name for field in dataclasses.fields(kind)]
    if not isinstance(given, dict) or not set(given) <= set(known):
        raise ValueError(f"Scheme fields of {kind.__name__} must be among {', '.join(known)}, not "
                         f"{given!r}")
    return kind(**given)


def _kinds(kind):
    for each in kind.__subclasses__():
        yield each
        yield from _kinds(each)


def register_scheme(name, config):
    """Makes a configuration known under a name."""
    SCHEMES.setdefault(name, config)


def scheme_data(scheme):
    """A scheme as plain data, for a file: its registered name, or the kind and the fields of its
    configuration. :func:`get_scheme` takes it back."""
    if not isinstance(scheme, SchemeConfig):
        return scheme
    fields = {field.name: getattr(scheme, field.name) for field in dataclasses.fields(scheme)}
    return _registered_name(scheme) or {"kind": type(scheme).__name__, "fields": fields}


def scheme_name(scheme):
    """What a scheme is called in reports: its registered name, or how to write its configuration.
    """
    if scheme is None or isinstance(scheme, str):
        return scheme
    config = get_scheme(scheme)
    return _registered_name(config) or repr(config)


def _registered_name(scheme):
    return next((name for name, config in SCHEMES.items() if config == scheme), None)
