"""Which scheme quantizes what: one for a whole network, or schemes by patterns of names."""

from ..graph.errors import FrontendError
from ..graph.graph import INPUT
from ..ops.registry import OPERATORS
from ..quantizers.mapping import SchemeMap
from .places import Places, origin_of

__all__ = ["float_names", "scheme_of_node", "scheme_of_value"]

_PATTERN = "pattern"


def scheme_of_value(scheme, name):
    """Scheme of a layer, or of the activation quantizer behind a value.

    Parameters
    ----------
    scheme : SchemeConfig or SchemeMap
    name : str
        The layer's or the value's, as the float graph has it.

    Returns
    -------
    config : SchemeConfig or None
    attributes : dict
        What a node must have for :func:`scheme_of_node` to find it again.

    Raises
    ------
    FrontendError
        If no pattern fits.
    """
    if not isinstance(scheme, SchemeMap):
        return scheme, {}
    fitting = scheme.fits(name)
    if not fitting:
        patterns = ", ".join(repr(pattern) for pattern, _config in scheme.entries)
        raise FrontendError(f"Scheme must have a pattern that fits {name!r}, and has {patterns}; "
                            "'*' fits whatever is left")
    return scheme[fitting[0]], {_PATTERN: fitting[0]}


def scheme_of_node(scheme, node):
    """Scheme of a node of a quantized graph.

    Raises
    ------
    FrontendError
        If the graph was quantized with another scheme.
    """
    pattern = node.attributes.get(_PATTERN)
    if pattern is None and not isinstance(scheme, SchemeMap):
        return scheme
    try:
        return scheme[pattern]
    except (KeyError, TypeError):
        raise FrontendError(f"Node {node.name!r} must have a pattern of its scheme, not "
                            f"{pattern!r}") from None


def float_names(graph, scheme):
    """Layers and values to be quantized for which a scheme has None, in the order of the graph.

    Parameters
    ----------
    graph : sw.graph.graph.Graph
        A normalized float one.
    scheme : SchemeConfig or SchemeMap

    Raises
    ------
    FrontendError
        If a layer or a value is fitted by no pattern, or a pattern fits nothing.
    """
    if not isinstance(scheme, SchemeMap):
        return []
    origin = origin_of(graph)
    places = Places(graph, (), origin).found - {origin, INPUT}
    matrices = [node for node in graph.nodes if OPERATORS[node.op].kind == "matrix"]
    named = [node.module or node.name if node in matrices else node.name for node in graph.nodes
             if node in matrices or node.name in places]
    fitted = {pattern for name in named for pattern in scheme.fits(name)}
    for pattern, _config in scheme.entries:
        if pattern not in fitted:
            raise FrontendError(f"Scheme pattern {pattern!r} must fit a layer or an activation, "
                                f"and fits none of {', '.join(named)}")
    return [name for name in named if scheme_of_value(scheme, name)[0] is None]
