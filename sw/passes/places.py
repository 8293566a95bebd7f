"""Where a float network needs codes: what layers and pools read, and what is read twice."""

from ..graph.graph import INPUT
from ..ops.registry import OPERATORS

__all__ = ["Places", "origin_of"]


def origin_of(graph):
    """The value that the input's codes stand for: the input, or what a batch norm alone makes of
    it, which the host then does."""
    origin = name = INPUT
    while len(readers := graph.readers(name)) == 1 and name != graph.output:
        kind = OPERATORS[readers[0].op].kind
        if kind not in ("passing", "layout", "affine") or origin != INPUT:
            break
        name = readers[0].name
        origin = name if kind == "affine" else origin
    return origin


class Places:
    """Finds the values that must be codes.

    A layer sums terms: convolutions of maps, maps themselves, and one that ends in a ReLU, if it
    comes first. So a value is one of ``codes``, ``linear`` (a sum of terms), ``rectified`` (a ReLU
    over that), ``clamped`` (something added to that), ``knotted`` (a function of that) and
    ``curved`` (what else a function makes).

    Parameters
    ----------
    graph : sw.graph.graph.Graph
        A normalized float one.
    left_out : collection of str
        Layers and activations without quantizers.
    origin : str
        See :func:`origin_of`.

    Attributes
    ----------
    found : set of str
        The values that a quantizer stands behind.
    """

    def __init__(self, graph, left_out, origin):
        self.graph, self.found, self.states = graph, {origin}, {INPUT: "codes"}
        self.left_out, uses = left_out, graph.uses()
        self.host = _host(graph, uses)
        for node in graph.nodes:
            self.states[node.name] = self.visit(node, OPERATORS[node.op].kind)
            if uses[node.name] > 1:
                self.need(node.name)

    def root(self, name):
        """The value itself behind what only passes it on; None for codes that a pool makes."""
        while name != INPUT:
            node = self.graph[name]
            kind = OPERATORS[node.op].kind
            if kind == "coded":
                return None
            if kind not in ("passing", "layout"):
                return name
            name = node.inputs[0]
        return name

    def state(self, name):
        root = self.root(name)
        return "codes" if root is None or root in self.found else self.states[root]

    def need(self, name):
        root = self.root(name)
        if root is not None and root not in self.left_out:
            self.found.add(root)

    def visit(self, node, kind):
        """State of a node's value; marks what it needs as codes."""
        if kind in ("matrix", "coded"):
            if node.module not in self.left_out or not node.module:
                for name in node.inputs:
                    self.need(name)
            return "linear"
        if kind == "sum":
            return self.sum(node)
        state = self.state(node.inputs[0])
        if kind == "affine":
            if state in ("clamped", "knotted") and node.name not in self.host:
                # A negative gain would make the clamped sum fall, and staircases rise.
                self.need(node.inputs[0])
                state = "codes"
            return "linear" if state in ("codes", "linear") else "curved"
        if kind == "last":
            return "curved"
        if kind == "function" and state in ("clamped", "knotted"):
            return "knotted"
        if kind == "function":
            return "rectified" if node.op == "relu" and state in ("codes", "linear") else "curved"
        return state

    def sum(self, node):
        first = None
        for name in node.inputs:
            state = self.state(name)
            ends = state in ("rectified", "clamped")
            if state in ("curved", "knotted") or ends and first is not None:
                self.need(name)
            elif ends:
                first = name
        return "linear" if first is None else "clamped"


def _host(graph, uses):
    """Nodes behind the last layer, which the host computes."""
    found, name = set(), graph.output
    while uses[name] == 1 and name != INPUT and OPERATORS[graph[name].op].kind in (
            "affine", "function", "last", "layout", "passing"):
        found.add(name)
        (name,) = graph[name].inputs
    return found
