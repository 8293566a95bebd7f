"""A graph as text, and back: one line a node, its shape, and what it is called with.

::

    input: (1, 8, 8)
    conv1: (32, 8, 8) = convolution('input', stride=(1, 1), module='conv1')
    output: conv1
"""

import ast
import re

from .graph import INPUT, Graph, GraphError, Node

__all__ = ["parse", "to_text"]

_LINE = re.compile(r"(?P<name>[\w.]+): (?P<shape>\([\d, ]*\)) = (?P<call>\w+\(.*\))")
_MODULE = "module"


def to_text(graph):
    """Text of a graph, ending in a newline; :func:`parse` gives an equal graph."""
    lines = [f"{INPUT}: {graph.in_shape!r}"]
    for node in graph.nodes:
        given = [repr(each) for each in node.inputs]
        given += [f"{key}={value!r}" for key, value in node.attributes.items()]
        given += [f"{_MODULE}={node.module!r}"] if node.module else []
        lines.append(f"{node.name}: {node.shape!r} = {node.op}({', '.join(given)})")
    return "\n".join([*lines, f"output: {graph.output}", ""])


def parse(text):
    """The graph of a text.

    Raises
    ------
    GraphError
        If a line is not one of :func:`to_text`, or the nodes make no graph.
    """
    lines = text.splitlines()
    first = re.fullmatch(rf"{INPUT}: (\([\d, ]*\))", lines[0]) if lines else None
    last = re.fullmatch(r"output: ([\w.]+)", lines[-1]) if lines else None
    if first is None:
        raise GraphError(f"Graph line 1 must be the input and its shape, not {_shown(lines, 0)}")
    if last is None:
        raise GraphError(f"Graph line {len(lines)} must be the output, not {_shown(lines, -1)}")
    nodes = tuple(_node(number, line) for number, line in enumerate(lines[1:-1], 2))
    return Graph(_shape(1, first[1]), nodes, last[1])


def _shown(lines, index):
    return repr(lines[index]) if lines else "nothing"


def _node(number, line):
    found = _LINE.fullmatch(line)
    try:
        call = ast.parse(found["call"], mode="eval").body if found else None
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        call = None
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
        raise GraphError(f"Graph line {number} must be a node, its shape and its call, "
                         f"not {line!r}")
    inputs = tuple(_literal(number, each) for each in call.args)
    given = {each.arg: _literal(number, each.value) for each in call.keywords}
    module = given.pop(_MODULE, "")
    if None in given or not all(isinstance(each, str) for each in (*inputs, module)):
        raise GraphError(f"Graph line {number} must name its inputs and its module, not {line!r}")
    return Node(found["name"], call.func.id, inputs, _shape(number, found["shape"]), given, module)


def _shape(number, text):
    shape = _literal(number, text)
    if not isinstance(shape, tuple) or not all(isinstance(size, int) and size > 0
                                               for size in shape):
        raise GraphError(f"Graph line {number} must have a shape of positive integers, not {text}")
    return shape


def _literal(number, source):
    try:
        return ast.literal_eval(source)
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
        shown = source if isinstance(source, str) else ast.unparse(source)
        raise GraphError(f"Graph line {number} must hold plain values, not {shown}") from None
