"""From a float torch model, through ``torch.export``, to a graph."""

import operator
from collections import Counter
from collections.abc import Mapping, Set

import torch
from torch import nn

from ..ops.operator import Call, Parameter, Refused, Value
from ..ops.registry import operator_of_aten, supported
from ..ops.support import check_input, check_layer, check_norm, why_not
from ..quantizers import ActivationQuantizer
from .errors import FrontendError
from .graph import INPUT, Graph, Node
from .model import GraphModel

__all__ = ["checked_shape", "export"]

_BATCH = 2
"""Images of the example: two, so that a model that joins its images shows it."""


def checked_shape(in_shape):
    """A shape of one image, signal or vector as a tuple.

    Raises
    ------
    FrontendError
        If it is none.
    """
    try:
        if isinstance(in_shape, (Mapping, Set)):
            raise TypeError
        shape = tuple(operator.index(size) for size in in_shape)
        wrong = len(shape) not in (1, 2, 3) or min(shape) < 1 or any(
            isinstance(size, bool) for size in in_shape)
    except TypeError:
        wrong = True
    if wrong:
        raise FrontendError("Input shape must be (channels, height, width), (channels, samples) or "
                            f"(inputs,) of positive integers, not {in_shape!r}")
    return shape


def export(model, in_shape):
    """The graph of a float model, and the tensors it names.

    Parameters
    ----------
    model : torch.nn.Module
        Left as it is.
    in_shape : tuple of int
        ``(channels, height, width)`` of one image, ``(channels, samples)`` of one signal or
        ``(inputs,)`` of one vector.

    Returns
    -------
    graph : Graph
        As the model has it, nothing replaced.
    state : dict of str to tensor
        Parameters and buffers by name.

    Raises
    ------
    FrontendError
        If the model cannot be exported, or calls something that is no operator here.
    """
    if not isinstance(model, nn.Module):
        raise FrontendError(f"Model must be a torch.nn.Module, not {model!r}")
    if isinstance(model, GraphModel) or getattr(model, "quantized", False):
        raise FrontendError(f"Model must be a float one, not a {type(model).__name__}, which is "
                            "quantized already")
    shape = checked_shape(in_shape)
    _check_modules(model)
    program = _program(model, shape)
    # A module that is used twice has two names.
    reader = _Reader(program, dict(model.named_modules(remove_duplicate=False)))
    state = {**dict(model.named_buffers()), **dict(model.named_parameters())}
    return Graph(shape, *reader.read()), state


def _check_modules(model):
    for name, module in model.named_modules():
        if isinstance(module, (GraphModel, ActivationQuantizer)):
            raise FrontendError(f"Model must be a float one, but module {name!r} "
                                f"({type(module).__name__}) is quantized already")
        check = (check_layer if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Linear))
                 else check_norm if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)) else None)
        try:
            if check is not None:
                check(module)
        except ValueError as error:
            name = name or type(module).__name__
            raise FrontendError(f"Layer {name!r} cannot be quantized: {error}") from None


def _program(model, shape):
    kind = next((each.dtype for each in model.parameters() if each.is_floating_point()),
                torch.float32)
    images = torch.zeros(_BATCH, *shape, dtype=kind)
    modes = [(module, module.training) for module in model.modules()]
    hooks = [module.register_forward_pre_hook(check_input(name))
             for name, module in model.named_modules()]
    model.eval()
    try:
        with torch.no_grad():
            model(images)
        for hook in hooks:
            hook.remove()
        return torch.export.export(model, (images,), strict=False)
    except FrontendError:
        raise
    except Refused as error:
        raise FrontendError(str(error)) from None
    except Exception as error:  # torch and the model's own code raise whatever they like
        said = str(error).strip().splitlines()
        raise FrontendError(f"Model {type(model).__name__} cannot be exported for an input of "
                            f"{shape!r}: {said[0] if said else repr(error)}") from None
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in modes:
            module.training = mode


class _Reader:
    """Turns the nodes of an exported program into ours."""

    def __init__(self, program, modules):
        self.program, self.modules = program, modules
        self.values, self.nodes, self.taken = {}, [], Counter([INPUT, "output"])

    def read(self):
        """Nodes, and the name of the output."""
        signature = self.program.graph_signature
        tensors = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
        inputs = [node for node in self.program.graph.nodes
                  if node.op == "placeholder" and node.name in signature.user_inputs]
        for node in self.program.graph.nodes:
            if node.op == "placeholder":
                self.values[node] = self._given(node, tensors, inputs)
            elif node.op == "output":
                return tuple(self.nodes), self._output(node)
            else:
                self._call(node)
        raise AssertionError("a program without output")

    def _given(self, node, tensors, inputs):
        shape = tuple(node.meta["val"].shape) if hasattr(node.meta.get("val"), "shape") else ()
        if node.name in tensors:
            return Parameter(tensors[node.name], shape)
        if inputs and node is inputs[0]:
            return Value(INPUT, shape)
        return None

    def _output(self, node):
        found = [self.values.get(each) if isinstance(each, torch.fx.Node) else None
                 for each in node.args[0]]
        if len(found) != 1 or not isinstance(found[0], Value):
            raise FrontendError("Model must return one tensor that it computes of its input, not "
                                f"{len(found)} results")
        if found[0].name == INPUT:
            raise FrontendError("Model must hold a convolution or linear layer, and has none; "
                                f"supported: {supported()}")
        return found[0].name

    def _call(self, node):
        packet = getattr(node.target, "overloadpacket", None)
        name = getattr(packet, "__name__", getattr(node.target, "__name__", str(node.target)))
        unread = not node.users and not name.endswith("_")
        if unread or name.startswith(("_assert", "sym_", "_set_grad")):
            return
        path, place = self._place(node, name)
        known = operator_of_aten(name)
        shown = f"Node {place!r} ({type(self.modules[path]).__name__ if path else name})"
        if known is None:
            why = why_not(self.modules.get(path), name)
            raise FrontendError(f"{shown} is not something the machine can run"
                                f"{f': {why}' if why else ''}; supported: {supported()}")
        call = Call(name, self._arguments(node), tuple(node.meta["val"].shape),
                    self.modules.get(path))
        try:
            inputs, attributes, parameters = known.read(call)
        except Refused as error:
            raise FrontendError(f"{shown} {error}; supported: {supported()}") from None
        module = next((each.module for each in parameters.values()), "")
        if any(each.name != f"{module}.{key}" for key, each in parameters.items()):
            # Tensors of the model itself, or of several modules: the node gets a module for them.
            module = place
            attributes["tensors"] = tuple((key, each.name) for key, each in parameters.items())
        if module and any(each.module == module for each in self.nodes):
            raise FrontendError(f"{shown} is called twice; each use needs a module of its own")
        if known.name == "dropout":
            module = path or place
        self.nodes.append(Node(place, known.name, inputs, call.shape[1:], attributes, module))
        self.values[node] = Value(place, call.shape)
        if name.endswith("_"):
            # In place: whoever reads the argument from here on reads the result.
            self.values[node.args[0]] = self.values[node]

    def _place(self, node, name):
        """Path of the module that the call makes up, or "", and a name for the node."""
        stack = list((node.meta.get("nn_module_stack") or {}).values())
        path = stack[-1][0].split("@")[0] if stack else ""
        module = self.modules.get(path)
        leaf = path and not list(module.children()) and type(module).__module__.startswith(
            "torch.nn.modules")
        if not leaf:
            wanted = f"{path}.{node.name}" if path else node.name
            path = ""
        else:
            wanted = path
        self.taken[wanted] += 1
        place = wanted if self.taken[wanted] == 1 else f"{wanted}_{self.taken[wanted] - 1}"
        if wanted != place:
            self.taken[place] += 1
        return path, place

    def _arguments(self, node):
        schema = node.target._schema.arguments
        found = {each.name: each.default_value for each in schema if each.has_default_value()}
        found |= {each.name: value for each, value in zip(schema, node.args)}
        found |= node.kwargs
        return {name: self._argument(value) for name, value in found.items()}

    def _argument(self, value):
        if isinstance(value, torch.fx.Node):
            return self.values.get(value)
        if isinstance(value, (list, tuple)):
            return tuple(self._argument(each) for each in value)
        return value
