"""Normalization: what the machine does in one step stands together, whatever the model's order.

Padding goes into the convolutions behind it. A function that rises commutes with a maximum, with
flattening and with concatenation, and goes before them, so that it stands behind the layer whose
values it maps.
"""

from dataclasses import replace

from ..graph.graph import INPUT, Graph
from ..ops.registry import OPERATORS

__all__ = ["normalize"]

_COMMUTING = ("max_pool", "flatten", "concatenation")


def normalize(graph):
    """A graph of the same meaning, in the order in which layers are built.

    Parameters
    ----------
    graph : sw.graph.graph.Graph
        A float model's.

    Returns
    -------
    sw.graph.graph.Graph
    """
    graph = _padded(graph)
    while True:
        changed = _swapped(graph)
        if changed is None:
            return graph
        graph = changed


def _padded(graph):
    """Padding as an attribute of whoever reads it; other readers keep the node, and are refused
    when layers are built."""
    nodes, pads = [], {}
    for node in graph.nodes:
        before = pads.get(node.inputs[0]) if len(node.inputs) == 1 else None
        if before is not None and "padding" in node.attributes and node.op.startswith(
                ("padding", "convolution")):
            source, amount = before
            total = tuple(map(sum, zip(amount, node["padding"])))
            node = replace(node.changed(padding=total), inputs=(source,))
        if node.op == "padding":
            pads[node.name] = (node.inputs[0], node["padding"])
        nodes.append(node)
    return graph.rebuilt(nodes)


def _swapped(graph):
    """The graph with one function moved forward, or None."""
    uses = graph.uses()
    for node in graph.nodes:
        if OPERATORS[node.op].kind != "function" or node.inputs[0] == INPUT:
            continue
        before = graph[node.inputs[0]]
        alone = uses[before.name] == 1 and before.op in _COMMUTING
        if alone and (not node.module or before.op == "max_pool"):
            return _moved(graph, before, node)
    return None


def _moved(graph, before, node):
    """``node`` on every input of ``before``, and ``before`` on what results."""
    copies = []
    for index, name in enumerate(before.inputs):
        own = node.name if not index else _free(graph, f"{node.name}_{index}")
        copies.append(replace(node, name=own, inputs=(name,), shape=graph.shape(name)))
    moved = replace(before, inputs=tuple(copy.name for copy in copies))
    nodes = []
    for each in graph.nodes:
        if each is before:
            nodes += [*copies, moved]
        elif each is not node:
            nodes.append(replace(each, inputs=tuple(
                before.name if name == node.name else name for name in each.inputs)))
    output = before.name if graph.output == node.name else graph.output
    return Graph(graph.in_shape, tuple(nodes), output)


def _free(graph, wanted):
    taken = {node.name for node in graph.nodes}
    while wanted in taken:
        wanted += "_"
    return wanted
