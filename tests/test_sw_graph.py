"""The graph: what makes one, its text and back, and running it."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from xnorloom.sw.graph.export import export
from xnorloom.sw.graph.graph import Graph, GraphError, Node
from xnorloom.sw.graph.model import GraphModel, build_modules
from xnorloom.sw.graph.text import parse, to_text
from xnorloom.sw.passes.quantize import quantize_

NAMES = st.from_regex(r"[a-z0-9_]{1,4}(\.[a-z0-9_]{1,3}){0,2}", fullmatch=True)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8), lambda each: st.lists(each, max_size=3).map(tuple), max_leaves=5)
SHAPES = st.lists(st.integers(1, 4095), min_size=1, max_size=3).map(tuple)
KEYS = st.sampled_from(["stride", "padding", "p", "codes", "tensors"])


@st.composite
def graphs(draw):
    names = draw(st.lists(NAMES.filter(lambda name: name != "input"), min_size=1, max_size=6,
                          unique=True))
    nodes = [Node(name, draw(st.from_regex(r"[a-z_]{1,9}", fullmatch=True)),
                  tuple(draw(st.lists(st.sampled_from(["input", *names[:index]]), max_size=3))),
                  draw(SHAPES), draw(st.dictionaries(KEYS, PLAIN, max_size=3)),
                  draw(st.just("") | NAMES)) for index, name in enumerate(names)]
    return Graph(draw(SHAPES), tuple(nodes), draw(st.sampled_from(names)))


@given(graphs())
def test_a_graph_is_read_back_from_its_text(graph):
    text = to_text(graph)
    assert parse(text) == graph
    assert len(text.splitlines()) == len(graph.nodes) + 2


def test_the_text_of_a_network():
    model = nn.Sequential(nn.Conv2d(1, 2, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(18, 3))
    graph, state = export(model, (1, 8, 8))
    assert to_text(graph) == (
        "input: (1, 8, 8)\n"
        "0: (2, 3, 3) = convolution('input', kernel=(3, 3), stride=(2, 2), dilation=(1, 1), "
        "groups=1, padding=(0, 0, 0, 0), module='0')\n"
        "1: (2, 3, 3) = relu('0')\n"
        "2: (18,) = flatten('1')\n"
        "3: (3,) = linear('2', module='3')\n"
        "output: 3\n")
    assert list(state) == ["0.weight", "0.bias", "3.weight", "3.bias"]


def changed(number, line):
    text = ["input: (1, 8, 8)", "a: (2,) = relu('input')", "b: (2,) = addition('a', 'a', x=1)",
            "output: b"]
    text[number - 1] = line
    return "\n".join(text)


@pytest.mark.parametrize("text, message", [
    ("", "Graph line 1 must be the input and its shape, not nothing"),
    (changed(1, "input (1, 8, 8)"),
     "Graph line 1 must be the input and its shape, not 'input (1, 8, 8)'"),
    (changed(1, "input: (1)"), "Graph line 1 must have a shape of positive integers, not (1)"),
    (changed(4, "output:"), "Graph line 4 must be the output, not 'output:'"),
    (changed(2, "a = relu('input')"),
     "Graph line 2 must be a node, its shape and its call, not \"a = relu('input')\""),
    (changed(2, "a: (2,) = relu('input'"),
     "Graph line 2 must be a node, its shape and its call, not \"a: (2,) = relu('input'\""),
    (changed(2, "a: (2,) = relu(input)"), "Graph line 2 must hold plain values, not input"),
    (changed(2, "a: (2,) = relu(open('x'))"),
     "Graph line 2 must hold plain values, not open('x')"),
    (changed(2, "a: (2,) = relu(*'xy')"), "Graph line 2 must hold plain values, not *'xy'"),
    (changed(2, "a: (2,) = relu('input', **{'a': 1})"),
     "Graph line 2 must name its inputs and its module, not \"a: (2,) = relu('input', **{'a': 1})\""
     ),
    (changed(2, "a: (2,) = relu(3)"),
     "Graph line 2 must name its inputs and its module, not 'a: (2,) = relu(3)'"),
    (changed(2, "a: (0,) = relu('input')"),
     "Graph line 2 must have a shape of positive integers, not (0,)"),
    (changed(2, "a: (2,) = relu('b')"),
     "Node 'a' must read the input or a node before it, not 'b'"),
    (changed(3, "a: (2,) = relu('input')"), "Node 'a' must have a name of its own"),
    (changed(4, "output: c"), "Output must be the input or a node, not 'c'"),
])
def test_texts_that_are_no_graph(text, message):
    with pytest.raises(GraphError) as caught:
        parse(text)
    assert str(caught.value) == message


def diamond():
    return Graph((2,), (Node("a", "relu", ("input",), (2,)), Node("b", "tanh", ("a",), (2,)),
                        Node("c", "addition", ("a", "b"), (2,)), Node("d", "relu", ("b",), (2,))),
                 "c")


def test_who_reads_what():
    graph = diamond()
    assert [node.name for node in graph.readers("a")] == ["b", "c"]
    assert graph.uses() == {"input": 1, "a": 2, "b": 2, "c": 1}
    assert graph.shape("input") == graph.shape("d") == (2,)


def test_a_rebuilt_graph_has_no_dead_nodes():
    graph = diamond()
    shorter = graph.rebuilt([graph["a"], graph["c"]], {"b": "a"})
    assert shorter == Graph((2,), (graph["a"], Node("c", "addition", ("a", "a"), (2,))), "c")
    assert [node.name for node in graph.rebuilt(graph.nodes).nodes] == ["a", "b", "c"]


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(3, 3), nn.Linear(3, 3)

    def forward(self, x):
        return self.two(torch.relu(self.one(x))) + x


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks, self.last = nn.Sequential(Block(), Block()), nn.Linear(3, 2)

    def forward(self, x):
        return self.last(self.blocks(x))


def test_a_graph_runs_like_the_model_and_keeps_its_names():
    model = Net()
    graph, state = export(model, (3,))
    twin = GraphModel(graph, build_modules(graph, state))
    x = torch.rand(5, 3)
    assert torch.equal(twin(x), model(x))
    assert list(twin.state_dict()) == list(model.state_dict())
    assert twin.blocks[1].two.weight is model.blocks[1].two.weight
    assert [node.name for node in graph.nodes] == [
        "blocks.0.one", "blocks.0.relu", "blocks.0.two", "blocks.0.add", "blocks.1.one",
        "blocks.1.relu_1", "blocks.1.two", "blocks.1.add_1", "last"]
    values = twin.values(x)
    assert torch.equal(values["blocks.0.add"], model.blocks[0](x))
    assert torch.equal(twin.inputs_of("last", x)[0], model.blocks(x))
    with pytest.raises(TypeError, match="^Only the whole network can be called, not a part of it$"):
        twin.blocks(x)


def test_a_copy_is_linked_to_its_own_quantizers():
    model = quantize_(nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.Conv2d(2, 2, 3, padding=1)),
                      "pact-sawb-w2a2", in_shape=(1, 4, 4))
    twin = copy.deepcopy(model)
    (read,) = twin.sources(twin.graph["2"])
    assert read == (2, twin[1]) and twin[1] is not model[1]


def test_a_name_that_torch_uses_itself_is_named():
    model = nn.Module()
    with pytest.raises(ValueError, match="^Module 'forward' must have another name: a torch module "
                                         "has 'forward' already$"):
        GraphModel(Graph((1,), (), "input"), {"forward": model})
