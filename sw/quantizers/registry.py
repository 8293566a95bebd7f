"""Names of schemes; every paper's file registers its own."""

import dataclasses
import difflib
from collections.abc import Mapping

from .config import SchemeConfig
from .mapping import SchemeMap

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


def get_scheme(scheme) -> SchemeConfig | SchemeMap:
    """Resolves what a user names: a configuration, the name of a registered one, a mapping of
    patterns to such (None: float), or what :func:`scheme_data` made of one.

    Raises
    ------
    ValueError
        If the name or kind is unknown, or a field is not one that kind has.
    """
    if isinstance(scheme, (SchemeConfig, SchemeMap)):
        return scheme
    if not isinstance(scheme, Mapping):
        return look_up(SCHEMES, scheme, "Scheme")
    if "kind" not in scheme:
        return SchemeMap(tuple((pattern, None if each is None else _one_scheme(pattern, each))
                               for pattern, each in scheme.items()))
    kind = look_up({each.__name__: each for each in _kinds(SchemeConfig)}, scheme.get("kind"),
                   "Kind of scheme")
    given = scheme.get("fields")
    known = [field.name for field in dataclasses.fields(kind)]
    if not isinstance(given, dict) or not set(given) <= set(known):
        raise ValueError(f"Scheme fields of {kind.__name__} must be among {', '.join(known)}, not "
                         f"{given!r}")
    return kind(**given)


def _one_scheme(pattern, scheme):
    found = get_scheme(scheme)
    if isinstance(found, SchemeMap):
        raise ValueError(f"Scheme of pattern {pattern!r} must be one, not a mapping")
    return found


def _kinds(kind):
    for each in kind.__subclasses__():
        yield each
        yield from _kinds(each)


def register_scheme(name, config):
    """Makes a configuration known under a name.

    Raises
    ------
    ValueError
        If the name stands for another one already.
    """
    if SCHEMES.setdefault(name, config) != config:
        raise ValueError(f"Scheme name {name!r} must be a new one, and stands for "
                         f"{SCHEMES[name]!r} already")


def scheme_data(scheme):
    """A scheme as plain data, for a file: its registered name, or the kind and the fields of its
    configuration; of a mapping, the same with these. :func:`get_scheme` takes it back."""
    if isinstance(scheme, Mapping) and "kind" not in scheme:
        scheme = get_scheme(scheme)
    if isinstance(scheme, SchemeMap):
        return {pattern: scheme_data(config) for pattern, config in scheme.entries}
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
    if isinstance(config, SchemeMap):
        return ", ".join(f"{pattern}: {scheme_name(each) or 'float'}"
                         for pattern, each in config.entries)
    return _registered_name(config) or repr(config)


def _registered_name(scheme):
    return next((name for name, config in SCHEMES.items() if config == scheme), None)
