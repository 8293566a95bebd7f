"""What an operator is: one file of this folder says everything about it.

A file defines a subclass of :class:`Operator` (or of a ready-made kind, such as
:class:`sw.ops.function.Function`) and registers an instance. It is found by its being there.
"""

from dataclasses import dataclass

__all__ = ["OPERATORS", "Call", "Operator", "Parameter", "Refused", "Value", "as_map",
           "operator_of_aten", "register"]


class Refused(ValueError):
    """What an operator cannot do; begins after the name of the node, and names demand and value."""


@dataclass(frozen=True)
class Value:
    """A tensor computed by the network: its name, and its shape with the batch."""

    name: str
    shape: tuple


@dataclass(frozen=True)
class Parameter:
    """A parameter or buffer of the model: its name in the state, and its shape."""

    name: str
    shape: tuple

    @property
    def module(self):
        """Path of the module it belongs to; empty for the model itself."""
        return self.name.rpartition(".")[0]


@dataclass(frozen=True)
class Call:
    """One call of a torch function, as ``torch.export`` hands it on.

    Parameters
    ----------
    aten : str
        The function's name in ATen, without namespace and overload.
    arguments : dict
        By the schema's names: :class:`Value`, :class:`Parameter`, or plain data; defaults filled
        in.
    shape : tuple of int
        Of the result, with the batch.
    inside : torch.nn.Module or None
        The module whose forward pass makes the call.
    """

    aten: str
    arguments: dict
    shape: tuple
    inside: object = None

    def __getitem__(self, name):
        return self.arguments.get(name)

    def value(self, name):
        """An argument that must be computed by the network.

        Raises
        ------
        Refused
            If it is a parameter or a constant.
        """
        found = self[name]
        if not isinstance(found, Value):
            raise Refused(f"must read a value of the network as its {name}, not a constant")
        return found

    def parameter(self, name, *, optional=False):
        """An argument that must be a parameter or buffer of the model, or None.

        Raises
        ------
        Refused
            If it is computed, or a constant.
        """
        found = self[name]
        if found is None and optional:
            return None
        if not isinstance(found, Parameter):
            raise Refused(f"must have a parameter of the model as its {name}, not a computed "
                          "tensor")
        return found


class Operator:
    """One operator: pattern, float meaning, integer meaning, limits.

    Attributes
    ----------
    name : str
    aten : tuple of str
        Names of the torch functions that :meth:`read` takes.
    kind : str
        ``matrix``: a layer with a weight, whose input must be codes; ``coded``: maps codes to
        codes, such as a maximum; ``layout``: the same values with other axes; ``affine``: a gain
        and a shift per channel; ``function``: monotone, element by element; ``sum``; ``last``: the
        host computes it at the network's end; ``passing``: nothing once a network is trained;
        ``padding``;
        ``quantize``.
    modules : tuple of type
        Modules of torch, for the list of what is supported.
    """

    name = ""
    aten: tuple = ()
    kind = ""
    modules: tuple = ()

    def read(self, call):
        """Recognizes a call.

        Parameters
        ----------
        call : Call

        Returns
        -------
        inputs : tuple of str
            Names of the values it reads.
        attributes : dict
            Plain data.
        parameters : dict of str to Parameter
            By the name that the module of :meth:`module` gives them.

        Raises
        ------
        Refused
            If an option is beyond what is supported.
        """
        return (call.value("self").name,), {}, {}

    def module(self, node, tensors):
        """The float module of a node, or None if it has no tensors.

        Parameters
        ----------
        node : sw.graph.graph.Node
        tensors : dict of str to tensor
            Its parameters and buffers, by the names of :meth:`read`.
        """
        return None

    def positive(self, node, *inputs):
        """Whether its values are 0 or more, given whether its inputs are: a bool."""
        return False

    def run(self, node, module, *inputs):
        """Float meaning: the value of a batch.

        ``inputs`` are the values read; behind them, where a node names quantizers, its sources: see
        :meth:`sw.graph.model.GraphModel.sources`.
        """
        return module(*inputs)

    def lower(self, node, module, fuser, *inputs):
        """Integer meaning: what becomes of symbolic values.

        Parameters
        ----------
        node : sw.graph.graph.Node
        module : torch.nn.Module or None
            As trained, in float64.
        fuser : sw.passes.fuse.Fuser
            Where layers are collected.
        *inputs : sw.ops.values.Map or sw.ops.values.Sum

        Raises
        ------
        Refused
            If there is none.
        """
        raise NotImplementedError


OPERATORS: dict[str, Operator] = {}
"""Operators by name."""

_BY_ATEN: dict[str, Operator] = {}


def register(operator):
    """Makes an operator known; returns it."""
    OPERATORS[operator.name] = operator
    _BY_ATEN.update(dict.fromkeys(operator.aten, operator))
    return operator


def operator_of_aten(name):
    """The operator that a torch function belongs to, or None; ``relu_`` is ``relu``."""
    return _BY_ATEN.get(name) or _BY_ATEN.get(name.rstrip("_"))


def as_map(shape):
    """A shape as channels, height and width: a vector has one pixel, a signal one line."""
    return {1: (*shape, 1, 1), 2: (shape[0], 1, *shape[1:])}.get(len(shape), tuple(shape))
