"""quantize_: turns a float torch model into a quantized network that trains and compiles."""

import numbers
from dataclasses import replace

from ..graph.errors import FrontendError
from ..graph.export import export
from ..graph.graph import INPUT, Graph, Node
from ..graph.text import to_text
from ..ops.registry import OPERATORS, supported
from ..quantizers import get_scheme
from .assign import float_names, scheme_of_value
from .build import build
from .check import check_network
from .golden import check_float
from .normalize import normalize
from .places import Places, origin_of
from .texts import write_texts

__all__ = ["PADDINGS", "quantize_", "quantize_graph"]

PADDINGS = ("code", "zero")
"""What stands outside a map of codes of both signs: a code, or true zeros."""


def quantize_(model, scheme, *, in_shape=None, input_bits=8, input_step=1 / 255, padding="code",
              filter_fn=None, torch_only=False, dump=None):
    """Makes a quantized network of a float model and takes over its parameters. Use what it
    returns.

    The input gets a pixel quantizer, every layer a weight quantizer, and every value that a layer
    or a pool reads, or that is read twice, an activation quantizer, behind the function that made
    it. The weights of the network's first and last layer follow ``SchemeConfig.edge_bits``. Weights
    are taken over as they are; the network then wants :func:`sw.training.fit.fit` (at least one
    batch in training mode, which sets activation scales). Modules and tensors keep their names.

    A network that no machine can run is refused, before anything is spent on its training.

    Parameters
    ----------
    model : torch.nn.Module
        A float model that ``torch.export`` can read.
    scheme : str, SchemeConfig or mapping
        A registered scheme's name, or a configuration of your own; or a mapping of patterns
        (``"stage1.*"``) to such, of which the first that fits the name of a layer or of an
        activation decides. None for a pattern leaves float what it fits, for torch only where the
        machine would need codes.
    in_shape : tuple of int
        ``(channels, height, width)`` of one image, ``(channels, samples)`` of one signal, or
        ``(inputs,)`` of one vector.
    input_bits, input_step : int, float
        Bits of a pixel, and the value of one step of it.
    padding : str
        How maps of codes without a zero are padded: ``"code"`` with the code just below zero,
        which costs nothing; ``"zero"`` with true zeros, as the float model is, which takes a
        machine with ``border_classes``. Codes that have a zero are padded with it.
    filter_fn : callable, optional
        ``filter_fn(module, name) -> bool``; layers for which it is false stay as they are, and
        activations get no quantizer. The network is then for torch only.
    torch_only : bool
        Quantizes for torch alone: whether a machine can run the network is not asked.
    dump : path-like, optional
        Folder, made if need be, that gets the graph after every pass as text.

    Returns
    -------
    sw.graph.model.GraphModel
        In the mode of the model, with its parameters.

    Raises
    ------
    FrontendError
        If the model cannot be read, or no machine can run it.
    ValueError
        If the scheme is unknown, a weight is empty or not finite, or an option is out of its range.
    """
    scheme = get_scheme(scheme)
    if isinstance(input_step, bool) or not isinstance(input_step, numbers.Real):
        raise ValueError(f"Input step must be a number, not {input_step!r}")
    if padding not in PADDINGS:
        raise ValueError(f"Padding must be one of {', '.join(PADDINGS)}, not {padding!r}")
    if filter_fn is not None and not callable(filter_fn):
        raise ValueError(f"Filter filter_fn must be a function, not {filter_fn!r}")
    if in_shape is None:
        raise FrontendError("Input shape 'in_shape' must be given, as (channels, height, width), "
                            "not None")
    graph, state = export(model, in_shape)
    left_out = _left_out(model, graph, filter_fn)
    if left_out and not torch_only:
        raise FrontendError(f"Module {left_out[0]!r} must not be left out by filter_fn unless "
                            "torch_only is true: the machine runs quantized layers only")
    passes = {"import": graph, "normalize": normalize(graph)}
    if passes["normalize"] != graph:
        check_float("normalize", graph, passes["normalize"], state)
    floats = float_names(passes["normalize"], scheme)
    if floats and not torch_only:
        raise FrontendError(f"Module {floats[0]!r} must have a scheme, not None, unless torch_only "
                            "is true: the machine runs quantized layers only")
    graph = passes["quantize"] = quantize_graph(
        passes["normalize"], scheme, input_bits=input_bits, input_step=input_step,
        padding=padding, left_out=[*left_out, *floats])
    if dump is not None:
        write_texts(dump, {name: to_text(each) for name, each in passes.items()})
    network = build(graph, state, scheme).train(model.training)
    if not torch_only:
        check_network(network)
    return network


def _left_out(model, graph, filter_fn):
    if filter_fn is None:
        return []
    modules = dict(model.named_modules())
    names = [(node.module or node.name) for node in graph.nodes
             if OPERATORS[node.op].kind in ("matrix", "function")]
    return [name for name in names if name in modules and not filter_fn(modules[name], name)]


def quantize_graph(graph, scheme, *, input_bits=8, input_step=1 / 255, padding="code",
                   left_out=()):
    """The graph with quantizers where codes are needed, and layers marked for theirs.

    Parameters
    ----------
    graph : Graph
        Normalized.
    scheme : SchemeConfig or SchemeMap
    input_bits, input_step, padding
        See :func:`quantize_`.
    left_out : collection of str
        Layers and activations without quantizers.

    Raises
    ------
    FrontendError
        If there is no layer.
    """
    matrices = [node.name for node in graph.nodes if OPERATORS[node.op].kind == "matrix"]
    if not matrices:
        raise FrontendError("Model must hold a convolution or linear layer, and has none; "
                            f"supported: {supported()}")
    origin = origin_of(graph)
    writer = _Writer(graph, scheme, padding)
    if origin == INPUT:
        writer.pixels(INPUT, codes="pixels", bits=input_bits, step=float(input_step))
    places = Places(graph, left_out, origin).found - {origin}
    for node in graph.nodes:
        if node.name in matrices and node.module not in left_out:
            edge = node.name in (matrices[0], matrices[-1])
            _config, attributes = scheme_of_value(scheme, node.module or node.name)
            node = node.changed(weights="edge" if edge else "inner", **attributes)
        writer.add(node, quantized=node.name in places)
        if node.name == origin:
            writer.pixels(origin, codes="normed", bits=input_bits)
    return writer.graph()


class _Writer:
    """Writes the quantized graph, node by node."""

    def __init__(self, graph, scheme, padding):
        self.source, self.scheme, self.padding = graph, scheme, padding
        self.nodes, self.positive, self.renamed = {}, {INPUT: True}, {}
        self.rising = {"": True}

    def pixels(self, origin, **attributes):
        """The quantizer of the input, behind what the host does with it."""
        self.renamed[origin] = self.quantizer("input_quantizer", origin,
                                              self.source.shape(origin),
                                              attributes["codes"] == "pixels", **attributes)

    def quantizer(self, name, reads, shape, positive=False, rising=True, **attributes):
        taken = {node.name for node in self.source.nodes} - {reads}
        if name in taken and name not in self.renamed:
            name = f"{name}_"
        self.rising[name] = rising
        self.nodes[name] = Node(name, "quantize", (reads,), shape,
                                {**attributes, "positive": positive}, name)
        self.positive[name] = positive
        return name

    def add(self, node, *, quantized):
        """A node of the float graph, and its quantizer where it has one."""
        inputs = tuple(self.renamed.get(name, name) for name in node.inputs)
        node = Node(node.name, node.op, inputs, node.shape, node.attributes, node.module)
        if quantized:
            config, attributes = scheme_of_value(self.scheme, node.name)
            own = config.activation_quantizer()
            if node.op in own.absorbs:
                self.nodes[node.name] = Node(
                    node.name, "quantize", inputs, node.shape,
                    {**attributes, "codes": "scheme", "positive": not own.signed}, node.name)
                self.positive[node.name] = not own.signed
                self.rising[node.name] = own.rising
                return
        if OPERATORS[node.op].kind == "matrix" and "weights" in node.attributes:
            node = node.changed(pads=tuple(self.pads(inputs[0])))
        if node.op == "max_pool":
            sources = self.sources(inputs[0])
            if not all(self.rising[source] for _channels, source in sources):
                node = replace(node.changed(order=tuple(sources)), module=node.name)
        self.nodes[node.name] = node
        self.positive[node.name] = OPERATORS[node.op].positive(
            node, *(self.positive[name] for name in inputs))
        if quantized:
            both = not own.signed and not self.positive[node.name]
            self.renamed[node.name] = self.quantizer(
                f"{node.name}.quantizer", node.name, node.shape,
                not own.signed and not both, own.rising or both, **attributes,
                codes="signed" if both else "scheme")

    def sources(self, name):
        """Channels and quantizer of every part of a map; no quantizer: there is none, or averages
        of codes that have no zero."""
        node = self.nodes.get(name)
        if node is None:
            return [(self.source.in_shape[0], "")]
        kind = OPERATORS[node.op].kind
        if kind == "quantize":
            return [(node.shape[0], name)]
        if kind not in ("coded", "passing", "layout"):
            return [(node.shape[0], "")]
        parts = [part for each in node.inputs for part in self.sources(each)]
        averaged = node.op == "average_pool" and not self.positive[name]
        return [(channels, "") for channels, _ in parts] if averaged else parts

    def pads(self, name):
        """Channels of every part of a map, and the quantizer whose code it is padded with; none:
        true zeros."""
        return [(channels, "" if source and self.padding == "zero"
                 and not self.nodes[source]["positive"] else source)
                for channels, source in self.sources(name)]

    def graph(self):
        """What has been written."""
        output = self.renamed.get(self.source.output, self.source.output)
        graph = Graph(self.source.in_shape, tuple(self.nodes.values()), output)
        return graph.rebuilt(graph.nodes)
