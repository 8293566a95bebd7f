"""A network as a graph of named nodes, whatever it was written in.

Values carry the name of the node that makes them; :data:`INPUT` is the network's input. Nodes are
plain data: what an operator means is in :mod:`sw.ops`, tensors are in the modules that a node
names.
"""

from collections import Counter
from dataclasses import dataclass, field, replace

__all__ = ["INPUT", "Graph", "GraphError", "Node"]

INPUT = "input"
"""Name of the network's input."""


class GraphError(ValueError):
    """A graph that is none; the message names the node."""


@dataclass(frozen=True)
class Node:
    """One operator at work.

    Parameters
    ----------
    name : str
        Of letters, digits, ``_`` and ``.``; also that of its value.
    op : str
        Name of an operator.
    inputs : tuple of str
        Values it reads.
    shape : tuple of int
        Of its value, without the batch.
    attributes : dict of str to plain data
        Numbers, strings, booleans, None, and tuples of them.
    module : str
        Path of the module that holds its tensors; empty if it has none.
    """

    name: str
    op: str
    inputs: tuple
    shape: tuple
    attributes: dict = field(default_factory=dict)
    module: str = ""

    def __getitem__(self, attribute):
        return self.attributes[attribute]

    def changed(self, **attributes):
        """This node with other attributes."""
        return replace(self, attributes={**self.attributes, **attributes})


@dataclass(frozen=True)
class Graph:
    """Nodes in order of execution.

    Parameters
    ----------
    in_shape : tuple of int
        Of the input, without the batch.
    nodes : tuple of Node
        Each reads the input or nodes before it.
    output : str
        Value that is the network's result.

    Raises
    ------
    GraphError
        If two nodes have one name, or one reads what is not there before it.
    """

    in_shape: tuple
    nodes: tuple
    output: str

    def __post_init__(self):
        known = {INPUT}
        for node in self.nodes:
            missing = next((name for name in node.inputs if name not in known), None)
            if missing is not None:
                raise GraphError(f"Node {node.name!r} must read the input or a node before it, "
                                 f"not {missing!r}")
            if node.name in known:
                raise GraphError(f"Node {node.name!r} must have a name of its own")
            known.add(node.name)
        if self.output not in known:
            raise GraphError(f"Output must be the input or a node, not {self.output!r}")

    def __getitem__(self, name):
        return self._by_name[name]

    @property
    def _by_name(self):
        return {node.name: node for node in self.nodes}

    def shape(self, name):
        """Shape of a value, without the batch."""
        return self.in_shape if name == INPUT else self._by_name[name].shape

    def readers(self, name):
        """Nodes that read a value, once for every time they do, in order of execution."""
        return [node for node in self.nodes for each in node.inputs if each == name]

    def uses(self):
        """How often every value is read, the network's result once more: a Counter."""
        found = Counter(each for node in self.nodes for each in node.inputs)
        found[self.output] += 1
        return found

    def rebuilt(self, nodes, renamed=None):
        """A graph of these nodes in place of its own, with values renamed and dead nodes left out.

        Parameters
        ----------
        nodes : iterable of Node
        renamed : dict of str to str, optional
            By old name: what is read instead.
        """
        renamed = renamed or {}

        def name(value):
            while value in renamed:
                value = renamed[value]
            return value

        nodes = [replace(node, inputs=tuple(name(each) for each in node.inputs))
                 for node in nodes]
        output, alive, kept = name(self.output), {name(self.output)}, []
        for node in reversed(nodes):
            if node.name in alive:
                kept.append(node)
                alive.update(node.inputs)
        return Graph(self.in_shape, tuple(reversed(kept)), output)
