"""A torch module as a graph: tracing, and the chain of stages that the machine can run."""

import dataclasses
from dataclasses import dataclass, field

import torch
from torch import fx, nn

from ..ops.support import SUPPORTED, reason, role

__all__ = ["FrontendError", "Stage", "describe", "is_flatten", "is_passing", "stages", "trace"]


_LAST = (-1, 3)
"""The last axis of a map."""


class FrontendError(ValueError):
    """A model that cannot be lowered; the message names the node and what is supported."""


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m, module_qualified_name):
        return hasattr(m, "graph_role") or super().is_leaf_module(m, module_qualified_name)


def trace(model):
    """The model's ``torch.fx`` graph; quantized layers and quantizers are single nodes.

    Raises
    ------
    FrontendError
        If torch.fx cannot trace it.
    """
    if not isinstance(model, nn.Module):
        raise FrontendError(f"Model must be a torch.nn.Module, not {model!r}")
    # Tracing marks nothing, but a root with a role of its own would not be a leaf of itself.
    if hasattr(model, "graph_role") or isinstance(model, (nn.Conv2d, nn.Linear)):
        raise FrontendError(f"A model must contain its layers, not be one layer: wrap "
                            f"{type(model).__name__} in torch.nn.Sequential")
    try:
        return _Tracer().trace(model)
    except Exception as error:  # torch.fx raises whatever the model's own code raises on proxies
        raise FrontendError(f"Model {type(model).__name__} cannot be traced by torch.fx: "
                            f"{str(error).splitlines()[0] if str(error) else error!r}") from error


def describe(model, node):
    """A node for messages: its name, and the module type or function behind it."""
    if node.op == "call_module":
        return f"{node.target!r} ({type(model.get_submodule(node.target)).__name__})"
    target = getattr(node.target, "__name__", node.target)
    return f"{node.name!r} ({node.op} {target})"


def is_flatten(model, node):
    """Whether a node flattens everything but the batch."""
    if node.op == "call_module":
        return role(model.get_submodule(node.target)) == "flatten"
    function = node.op == "call_function" and node.target is torch.flatten
    if not function and not (node.op == "call_method" and node.target == "flatten"):
        return False
    start, end = (*node.args[1:], *[None] * 2)[:2]
    start = node.kwargs.get("start_dim", 0) if start is None else start
    end = node.kwargs.get("end_dim", -1) if end is None else end
    return start == 1 and end in _LAST


def is_passing(model, node):
    """Whether a node returns its input unchanged in a trained network."""
    return node.op == "call_module" and role(model.get_submodule(node.target)) == "passing"


@dataclass(frozen=True, eq=False)
class Stage:
    """One matrix layer, what follows it up to the next, and where its input comes from. The model
    may be a float, a quantized or a snapped one.

    Parameters
    ----------
    name : str
        Name of the matrix layer's module.
    layer : torch.nn.Module
        The matrix layer.
    source : str
        Name of the stage it reads, or ``"input"``.
    flattened : bool
        Whether its input is flattened first.
    tail : list of torch.nn.Module
        Elementwise modules between layer and quantizer, in order.
    quantizer : torch.nn.Module or None
        The activation; None: the layer's values are the network's result.
    quantizer_name : str or None
    """

    name: str
    layer: nn.Module
    source: str
    flattened: bool
    tail: list = field(default_factory=list)
    quantizer: nn.Module | None = None
    quantizer_name: str | None = None


class _Matcher:
    """Walks a traced chain and groups its nodes into stages."""

    def __init__(self, model):
        self.model = model
        self.stages = []
        self.open: Stage | None = None
        self.flattened = False

    def error(self, node, problem):
        return FrontendError(f"Node {describe(self.model, node)} {problem}; supported: {SUPPORTED}")

    def unsupported(self, node):
        module = self.model.get_submodule(node.target) if node.op == "call_module" else None
        why = reason(module, node.name)
        return self.error(node, "is not something the machine can run"
                          + (f": {why}" if why else ""))

    def close(self, quantizer=None, name=None):
        assert self.open is not None
        self.stages.append(dataclasses.replace(self.open, quantizer=quantizer,
                                               quantizer_name=name))
        self.open = None

    def visit(self, node):
        if is_flatten(self.model, node):
            # After the last layer it changes nothing that the machine computes.
            self.flattened = True
            return
        if is_passing(self.model, node):
            return
        found = role(self.model.get_submodule(node.target)) if node.op == "call_module" else None
        if found is None:
            raise self.unsupported(node)
        if node.kwargs:
            raise self.error(node, f"must be given its input by position, not as "
                                   f"{next(iter(node.kwargs))!r}")
        if found == "matrix":
            self.matrix(node)
        elif self.open is None:
            raise self.error(node, "must follow a convolution or linear layer")
        elif self.flattened:
            raise self.error(node, "must not follow a Flatten: flatten after the activation")
        elif found == "elementwise":
            self.open.tail.append(self.model.get_submodule(node.target))
        else:
            self.close(self.model.get_submodule(node.target), node.target)

    def matrix(self, node):
        if self.open is not None:
            raise self.error(node, "must read a quantized activation, not layer "
                                   f"{self.open.name!r}")
        if node.target == "input":
            raise self.error(node, "must have another name: 'input' is the network's input")
        layer = self.model.get_submodule(node.target)
        source = self.stages[-1].name if self.stages else "input"
        self.open = Stage(node.target, layer, source, self.flattened)
        self.flattened = False

    def finish(self, node):
        if self.open is None and not self.stages:
            raise FrontendError(f"Model {type(self.model).__name__} must hold a convolution or "
                                f"linear layer, and has none; supported: {SUPPORTED}")
        if self.open is None:
            raise self.error(node, "must be followed by a convolution or linear layer, which "
                                   "ends a network")
        if self.open.tail:
            raise self.error(node, f"must be the last layer {self.open.name!r} itself, without a "
                                   "batch norm after it")
        self.close()


def stages(model):
    """The stages of a float, quantized or snapped model, in order of execution.

    Raises
    ------
    FrontendError
        If a node is not supported, or the graph is not a chain from one input to one output.
    """
    graph = trace(model)
    matcher, used = _Matcher(model), set()
    previous: fx.Node | None = None
    for node in graph.nodes:
        if node.op == "get_attr":
            continue
        if node.op == "placeholder":
            if previous is not None and node.args and not node.users:
                continue
            if previous is not None:
                raise matcher.error(node, "is a second input; a network has one")
        elif previous is None:
            raise matcher.error(node, "must read the network's input")
        elif node.op == "output":
            if node.args[0] is not previous:
                raise matcher.error(node, "must be one tensor, the last layer's")
            matcher.finish(previous)
        else:
            if any(each.op == "get_attr" for each in node.all_input_nodes):
                raise matcher.unsupported(node)
            if list(node.all_input_nodes) != [previous]:
                names = ", ".join(each.name for each in node.all_input_nodes) or "nothing"
                raise matcher.error(node, f"reads {names}; branches are not supported, it must "
                                          f"read {previous.name}")
            if node.op == "call_module" and node.target in used:
                raise matcher.error(node, "is called twice; each use needs a module of its own")
            used.add(node.target if node.op == "call_module" else node)
            matcher.visit(node)
        previous = node
    return matcher.stages
