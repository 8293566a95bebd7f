"""Operators: how torch is read, what is refused, and that a new one is one file."""

import importlib
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from xnorloom.sw import ops
from xnorloom.sw.graph.export import export
from xnorloom.sw.graph.model import GraphModel, build_modules
from xnorloom.sw.graph.text import to_text
from xnorloom.sw.ops import registry
from xnorloom.sw.ops.average_pool import AveragePool
from xnorloom.sw.ops.function import scalar
from xnorloom.sw.ops.max_pool import CodeOrder
from xnorloom.sw.passes.normalize import normalize
from xnorloom.sw.passes.pipeline import lower_model
from xnorloom.sw.passes.quantize import quantize_
from xnorloom.sw.quantizers.lsbq import LsbqActivation
from xnorloom.sw.quantizers.pixels import NormedPixels
from xnorloom.sw.quantizers.symmetric import SymmetricActivation

SHAPE = (2, 8, 8)


class Calls(nn.Module):
    """A convolution with parameters of its own, a call, and a layer behind it."""

    def __init__(self, call):
        super().__init__()
        self.weight, self.bias = (nn.Parameter(torch.randn(3, 2, 3, 3) * 0.3),
                                  nn.Parameter(torch.rand(3)))
        self.square = nn.Parameter(torch.randn(4, 3, 3, 3))
        self.slope = nn.Parameter(torch.rand(3))
        self.mean, self.variance = (nn.Buffer(torch.rand(3)), nn.Buffer(torch.rand(3) + 0.5))
        self.call = call

    def forward(self, x):
        return self.call(self, F.conv2d(x, self.weight, self.bias, padding=1))


CALLS = {
    "relu": lambda m, x: F.relu(x), "relu method": lambda m, x: x.relu(),
    "relu in place": lambda m, x: x.relu_(), "relu6": lambda m, x: F.relu6(x),
    "hardtanh": lambda m, x: F.hardtanh(x, -0.5, 2.0), "tanh": lambda m, x: torch.tanh(x),
    "clamp": lambda m, x: x.clamp(max=0.3), "clamp_min": lambda m, x: torch.clamp_min(x, 0.1),
    "leaky": lambda m, x: F.leaky_relu(x), "sigmoid": lambda m, x: x.sigmoid(),
    "prelu": lambda m, x: F.prelu(x, m.slope), "dropout": lambda m, x: F.dropout(x, 0.2, False),
    "norm": lambda m, x: F.batch_norm(x, m.mean, m.variance, m.bias, m.bias),
    "plain norm": lambda m, x: F.batch_norm(x, m.mean, m.variance),
    "max": lambda m, x: F.max_pool2d(x, 3, 2, 1), "max one": lambda m, x: F.max_pool2d(x, (1, 2)),
    "average": lambda m, x: F.avg_pool2d(x, 2),
    "adaptive": lambda m, x: F.adaptive_avg_pool2d(x, 4),
    "mean": lambda m, x: x.mean((2, 3)), "mean kept": lambda m, x: x.mean((-1, -2), keepdim=True),
    "add": lambda m, x: x + x.relu(), "add in place": lambda m, x: x.relu().add_(x),
    "cat": lambda m, x: torch.cat([x, x.tanh()], 1), "concat": lambda m, x: torch.concat([x, x], 1),
    "pad": lambda m, x: F.conv2d(F.pad(x, (1, 0, 2, 1)), m.square, None, 2),
    "flatten": lambda m, x: x.flatten(1), "view": lambda m, x: x.view(x.shape[0], -1),
    "squeeze": lambda m, x: F.adaptive_avg_pool2d(x, 1).squeeze(-1).squeeze(-1),
    "softmax": lambda m, x: x.mean((2, 3)).softmax(1), "log": lambda m, x: F.log_softmax(x, dim=1),
    "alias": lambda m, x: x.clone().contiguous(),
}


@pytest.mark.parametrize("name", CALLS)
def test_functional_forms_are_read_and_run_alike(name):
    torch.manual_seed(0)
    model = Calls(CALLS[name]).eval()
    graph, state = export(model, SHAPE)
    x = torch.randn(3, *SHAPE)
    for each in (graph, normalize(graph)):
        twin = GraphModel(each, build_modules(each, state)).eval()
        torch.testing.assert_close(twin(x), model(x))


def test_in_place_results_are_read_by_whoever_reads_the_argument():
    def call(_model, x):
        y = x.flatten(1)
        x.relu_()
        return torch.cat([x.flatten(1), x.mean((2, 3))], 1) if y is not None else x

    model = Calls(call).eval()
    graph, state = export(model, SHAPE)
    x = torch.randn(3, *SHAPE)
    torch.testing.assert_close(GraphModel(graph, build_modules(graph, state))(x), model(x))


@pytest.mark.parametrize("layer, shape", [
    (nn.Conv2d(2, 4, (3, 2), (1, 2), (2, 1), (2, 1), 2), SHAPE),
    (nn.Conv2d(2, 4, (3, 5), padding="same", dilation=2), SHAPE),
    (nn.Conv2d(2, 4, 3, padding="valid"), SHAPE), (nn.Conv1d(2, 4, 4, 3, 1), (2, 20)),
    (nn.Conv1d(2, 4, 3, padding="same"), (2, 20)), (nn.MaxPool1d(3, 2, 1), (2, 20)),
    (nn.AvgPool1d(2), (2, 20)), (nn.AdaptiveAvgPool1d(5), (2, 20)), (nn.PReLU(2), (2, 20)),
    (nn.Dropout2d(), SHAPE), (nn.Dropout1d(), (2, 20)), (nn.BatchNorm1d(2), (2, 20)),
    (nn.AvgPool2d(3, 2, 1), SHAPE), (nn.Flatten(), SHAPE)])
def test_modules_are_read_and_run_alike(layer, shape):
    model = nn.Sequential(nn.Identity(), layer).eval()
    graph, state = export(model, shape)
    x = torch.randn(3, *shape)
    torch.testing.assert_close(GraphModel(graph, build_modules(graph, state)).eval()(x), model(x))


def test_normalization_brings_functions_to_their_layers():
    model = nn.Sequential(nn.ZeroPad2d((1, 2, 0, 1)), nn.Conv2d(2, 3, 3, padding=1),
                          nn.MaxPool2d(2), nn.Flatten(), nn.ReLU(), nn.Linear(60, 2))
    graph = normalize(export(model, SHAPE)[0])
    assert [node.op for node in graph.nodes] == ["convolution", "relu", "max_pool", "flatten",
                                                 "linear"]
    assert graph["1"]["padding"] == (1, 2, 2, 3)
    assert graph["4"].shape == graph["1"].shape == (3, 9, 11)
    assert normalize(graph) == graph


def test_a_function_goes_before_a_concatenation_on_every_part():
    def call(_model, x):
        return torch.cat([x, x.tanh()], 1).relu().flatten(1)

    graph = normalize(export(Calls(call), SHAPE)[0])
    assert to_text(graph).count("= relu(") == 2
    assert graph.output == "flatten" and graph["flatten"].inputs == ("cat",)


HARDSIGMOID = '''"""Hard sigmoid: ``min(max(x + 3, 0), 6) / 6``."""

import torch.nn.functional as F
from torch import nn

from xnorloom.sw.ops.function import Function
from xnorloom.sw.ops.operator import register

register(Function("hardsigmoid", F.hardsigmoid, aten=("hardsigmoid",),
                  modules=(nn.Hardsigmoid,), positive=lambda attributes: True))
'''


def test_a_new_operator_is_one_file(tmp_path, monkeypatch):
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Hardsigmoid(), nn.Conv2d(3, 2, 1))
    (tmp_path / "hardsigmoid.py").write_text(HARDSIGMOID)
    monkeypatch.setattr(ops, "__path__", [*ops.__path__, str(tmp_path)])
    known = dict(registry.OPERATORS)
    try:
        importlib.reload(registry)
        assert "hardsigmoid" in registry.OPERATORS and "Hardsigmoid" in registry.supported()
        network = quantize_(model, "pact-sawb-w2a2", in_shape=SHAPE)
        for _ in range(3):
            network(torch.rand(4, *SHAPE))
        lowered, _snapped = lower_model(network.eval())
        assert len(lowered.layers) == 2
    finally:
        sys.modules.pop("xnorloom.sw.ops.hardsigmoid", None)
        for name in set(registry.OPERATORS) - set(known):
            del registry.OPERATORS[name]


def test_exact_functions_give_one_answer_for_one_number():
    sigmoid = registry.OPERATORS["sigmoid"].function
    x = torch.linspace(-30, 30, 1003, dtype=torch.float64)
    whole, odd = sigmoid(x), sigmoid(x[5:12])
    assert torch.equal(whole[5:12], odd) and (whole.diff() >= 0).all()
    torch.testing.assert_close(whole, torch.sigmoid(x))
    assert scalar(torch.tanh, float)(torch.ones(2)).tolist() == torch.ones(2).tanh().tolist()


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_even_levels_around_zero(bits):
    quantizer = SymmetricActivation(bits)
    with pytest.raises(ValueError, match="^SymmetricActivation has no clipping level; run a "):
        quantizer.codebook()
    x = torch.randn(400, generator=torch.Generator().manual_seed(0), requires_grad=True)
    quantizer(x).sum().backward()
    alpha = float(quantizer.alpha.detach())
    assert alpha == pytest.approx(3 * float(x.detach().abs().mean()))
    levels = quantizer.codebook().reconstruct()
    np.testing.assert_allclose(levels, np.linspace(-alpha, alpha, 2 ** bits), atol=1e-6)
    values = x.detach().double()
    nearest = np.abs(levels[:, None] - values.numpy()).argmin(axis=0)
    np.testing.assert_array_equal(quantizer.encode(values), nearest)
    clipped = x.detach().abs() >= alpha
    assert torch.equal(x.grad, (~clipped).float())
    assert float(quantizer.alpha.grad) == float(x.detach().sign()[clipped].sum())


def test_a_normed_input_is_rounded_over_its_range():
    quantizer = NormedPixels(4)
    with pytest.raises(ValueError, match="^NormedPixels has no range; run a batch in training "):
        quantizer.codebook()
    x = torch.tensor([[-1.0, 0.0, 0.5, 2.0]])
    quantizer(x)
    assert quantizer.range.tolist() == [-1.0, 2.0] and quantizer.step == 0.2
    assert quantizer.low == -5 and quantizer.pad_value() == 0.0
    assert quantizer.encode(torch.tensor([-9.0, -1.0, 0.0, 0.11, 9.0])).tolist() == [0, 0, 5, 6, 15]
    quantizer(x / 2)
    np.testing.assert_allclose(quantizer.range, [-0.995, 1.99])


def test_the_largest_code_wins_where_values_do_not_rise():
    quantizer = LsbqActivation("greedy-2")
    quantizer.scales.copy_(torch.tensor([0.5, 0.75]))
    quantizer.batches += 1
    levels = quantizer.codebook().reconstruct()
    assert (np.diff(levels) < 0).any() and not quantizer.rising and LsbqActivation("ls2").rising
    order = CodeOrder()
    values = torch.from_numpy(levels).reshape(1, 1, -1)
    assert order(values, (1, quantizer)).flatten().tolist() == [0, 1, 2, 3]


def test_an_average_of_even_codes_is_their_sum():
    model = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2),
                          nn.Conv2d(3, 2, 1))
    for scheme, pooled in (("pact-sawb-w2a2", True), ("lsbq-w1a1", True), ("lsbq-w1a2", False)):
        network = quantize_(model, scheme, in_shape=SHAPE)
        network(torch.rand(8, *SHAPE))
        lowered, _snapped = lower_model(network.eval())
        first, last = lowered.layers
        assert (first.pool is not None) == pooled
        assert last.terms[0].kernel == ((1, 1) if pooled else (2, 2))
        assert last.terms[0].stride == ((1, 1) if pooled else (2, 2))
    assert isinstance(registry.OPERATORS["average_pool"], AveragePool)


class Forked(nn.Module):
    """A map that a pool reads, and a layer besides."""

    def __init__(self, pool):
        super().__init__()
        self.stem, self.one, self.two = (nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(3, 2, 1),
                                         nn.Conv2d(3, 2, 1, stride=2))
        self.pool = pool

    def forward(self, x):
        x = torch.relu(self.stem(x))
        return self.one(self.pool(x)) + self.two(x)


@pytest.mark.parametrize("scheme", ["pact-sawb-w2a2", "lsbq-w1a1", "lsbq-w1g3"])
@pytest.mark.parametrize("pool", [nn.MaxPool2d(2), nn.AvgPool2d(2)])
def test_a_map_that_is_read_pooled_and_as_it_is_becomes_two(scheme, pool):
    torch.manual_seed(0)
    network = quantize_(Forked(pool), scheme, in_shape=SHAPE)
    for _ in range(3):
        network(torch.rand(8, *SHAPE))
    layers = {layer.name: layer for layer in lower_model(network.eval())[0].layers}
    assert layers["stem"].pool is None
    averaged = isinstance(pool, nn.AvgPool2d) and scheme == "lsbq-w1g3"
    assert list(layers) == (["stem", "one"] if averaged else ["stem", "pool", "one"])
    if not averaged:
        copied = layers["pool"]
        assert copied.terms[0].source == "stem" and copied.terms[0].blocks == 3
        assert copied.pool is not None


@pytest.mark.parametrize("scheme", ["syq-row-wta4", "syq-pixel-wta4"])
def test_an_average_too_wide_for_a_code_repeats_the_weights_of_its_reader(scheme):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 3, 1), nn.ReLU(), nn.AvgPool2d(5), nn.Conv2d(3, 4, 2),
                          nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))
    network = quantize_(model, scheme, in_shape=(2, 15, 15))
    network(torch.rand(8, 2, 15, 15))
    lowered, _snapped = lower_model(network.eval())
    assert lowered.layers[0].pool is None
    (term,) = lowered.layers[1].terms
    assert term.kernel == (10, 10) and term.stride == (5, 5) and term.grouping != "layer"
