"""A graph and its tensors as a torch module: what is trained, and what the machine is built from.
"""

from collections.abc import Callable

from torch import nn

from ..ops.operator import Refused
from ..ops.registry import OPERATORS
from .errors import FrontendError
from .graph import INPUT, Graph

__all__ = ["Branch", "GraphModel", "build_modules", "tensors_of"]


class Branch(nn.Module):
    """A place in the tree of module names; its children are found by index as by name."""

    def __getitem__(self, name):
        return self._modules[str(name)]

    def __setitem__(self, name, module):
        self.add_module(str(name), module)

    def __contains__(self, name):
        return str(name) in self._modules

    def forward(self, *_inputs):
        """Does not run: the graph does.

        Raises
        ------
        TypeError
            Always.
        """
        raise TypeError("Only the whole network can be called, not a part of it")


class GraphModel(Branch):
    """Runs a graph.

    Modules have the paths that they had in the model they come from, so the names of its state
    stay, and ``model.stage1[0].conv1`` finds a layer.

    Parameters
    ----------
    graph : Graph
    modules : dict of str to torch.nn.Module
        By path: the module of every node that names one.

    Attributes
    ----------
    graph : Graph
    """

    graph: Graph

    def __init__(self, graph, modules):
        super().__init__()
        self.graph = graph
        for path, module in modules.items():
            parent = self
            *above, last = path.split(".")
            for name in above:
                if name not in parent._modules:
                    parent.add_module(name, Branch())
                parent = parent._modules[name]
            if last in parent._modules:
                # Something below it came first.
                module._modules.update(parent._modules[last]._modules)
                del parent._modules[last]
            elif hasattr(parent, last):
                raise FrontendError(f"Module {path!r} must have another name: a torch module has "
                                    f"{last!r} already")
            parent.add_module(last, module)

    def module(self, node):
        """The module of a node, or None."""
        return self.get_submodule(node.module) if node.module else None

    def sources(self, node):
        """Where the parts of what a node reads come from, as its module is told at every call.

        Parameters
        ----------
        node : sw.graph.graph.Node

        Returns
        -------
        tuple of (int, ActivationQuantizer or None)
            Channels and quantizer of every part; empty where the graph names none.
        """
        named = node.attributes.get("pads", node.attributes.get("order", ()))
        return tuple((channels, self.get_submodule(name) if name else None)
                     for channels, name in named)

    def run(self, node, values):
        """The value of a node for a batch.

        Parameters
        ----------
        node : sw.graph.graph.Node
        values : dict of str to tensor
            By name, of what it reads at least.
        """
        return OPERATORS[node.op].run(node, self.module(node),
                                      *(values[name] for name in node.inputs), *self.sources(node))

    def forward(self, x):
        """The network's result for a batch."""
        return self.values(x, keep=())[self.graph.output]

    def values(self, x, keep=None, replaced: Callable | None = None):
        """Values of every node for a batch.

        Parameters
        ----------
        x : tensor, shape ``(n, *in_shape)``
        keep : collection of str, optional
            Names to keep to the end, besides the output; None: all.
        replaced : callable, optional
            ``replaced(node, value)`` may return another value for a node.

        Returns
        -------
        dict of str to tensor
        """
        values, left = {INPUT: x}, self.graph.uses()
        for node in self.graph.nodes:
            value = self.run(node, values)
            values[node.name] = value if replaced is None else replaced(node, value)
            for name in node.inputs:
                left[name] -= 1
                if keep is not None and not left[name] and name not in keep:
                    values.pop(name, None)
        return values

    def inputs_of(self, name, x):
        """What a node reads, for a batch; nothing behind it runs.

        Parameters
        ----------
        name : str
        x : tensor, shape ``(n, *in_shape)``

        Returns
        -------
        list of tensor
        """
        values = {INPUT: x}
        for node in self.graph.nodes:
            if node.name == name:
                return [values[each] for each in node.inputs]
            values[node.name] = self.run(node, values)
        raise KeyError(name)

    def extra_repr(self):
        """What the network reads and how many nodes it has, for ``repr``."""
        return f"in_shape={self.graph.in_shape}, {len(self.graph.nodes)} nodes"


def tensors_of(node, state):
    """Tensors of a node's module by the names that its operator gives them.

    Parameters
    ----------
    node : sw.graph.graph.Node
    state : dict of str to tensor
        Parameters and buffers by name.
    """
    prefix = f"{node.module}."
    found = {name.removeprefix(prefix): value for name, value in state.items()
             if name.startswith(prefix)}
    return found or {key: state[name] for key, name in node.attributes.get("tensors", ())}


def build_modules(graph, state):
    """Float modules of a graph, by path.

    Parameters
    ----------
    graph : Graph
    state : dict of str to tensor
        Parameters and buffers by name; parameters become those of the modules.
    """
    modules = {}
    for node in graph.nodes:
        if node.op not in OPERATORS:
            raise FrontendError(f"Node {node.name!r} must be a known operator, not {node.op!r}")
        if not node.module or node.op == "quantize" or "order" in node.attributes:
            continue
        try:
            module = OPERATORS[node.op].module(node, tensors_of(node, state))
        except Refused as error:
            raise FrontendError(f"Node {node.name!r} ({node.op}) {error}") from None
        count = state.get(f"{node.module}.num_batches_tracked")
        if count is not None:
            module.num_batches_tracked = count
        modules[node.module] = module
    return modules
