"""Quantization of a model: which quantizer stands where, and what stays as it was."""

import operator

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from xnorloom.sw.graph.errors import FrontendError
from xnorloom.sw.graph.evaluate import evaluate
from xnorloom.sw.ops.layers import QuantConv1d, QuantConv2d, QuantLinear, padded
from xnorloom.sw.passes.build import build
from xnorloom.sw.passes.pipeline import lower_model
from xnorloom.sw.passes.quantize import quantize_
from xnorloom.sw.quantizers import SCHEMES, UnknownNameError, get_scheme
from xnorloom.sw.quantizers.lsbq import LsbqActivation, LsbqConfig, LsbqWeight
from xnorloom.sw.quantizers.pact import PactActivation
from xnorloom.sw.quantizers.pixels import NormedPixels, PixelQuantizer
from xnorloom.sw.quantizers.sawb import PactSawbConfig, SawbWeight
from xnorloom.sw.quantizers.symmetric import SymmetricActivation

SHAPE = (1, 8, 8)


def source(model, name):
    """The quantizer that the first part of what a layer reads comes from, or None."""
    return model.sources(model.graph[name])[0][1]


def small():
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(),
                         nn.Dropout(0.1), nn.Conv2d(4, 5, 3, stride=2, padding=1), nn.ReLU(),
                         nn.Flatten(), nn.Linear(80, 3))


@pytest.mark.parametrize("scheme, weight, activation", [
    ("lsbq-w1a2", LsbqWeight, LsbqActivation), ("pact-sawb-w2a2", SawbWeight, PactActivation)])
def test_a_quantized_network_has_the_parameters_and_names_of_the_model(scheme, weight, activation):
    float_model = small()
    names, parameters = list(float_model.state_dict()), list(float_model.parameters())
    model = quantize_(float_model, scheme, in_shape=SHAPE, input_bits=5, input_step=1 / 16)
    assert [type(model[index]) for index in (0, 2, 4, 5, 7)] == [
        QuantConv2d, activation, QuantConv2d, activation, QuantLinear]
    assert type(model[4].weight_quantizer) is weight
    assert all(type(model[index].weight_quantizer) is SawbWeight
               and model[index].weight_quantizer.bits == 8 for index in (0, 7))
    assert (model.input_quantizer.bits, model.input_quantizer.step) == (5, 1 / 16)
    assert source(model, "0") is model.input_quantizer
    assert source(model, "4") is model[2] and source(model, "7") is model[5]
    assert {id(each) for each in parameters} <= {id(each) for each in model.parameters()}
    assert [name for name in model.state_dict() if name in names] == names
    model(torch.rand(2, *SHAPE)).sum().backward()
    assert all(each.grad is not None for each in parameters)
    # The float model can still be called.
    assert type(float_model[0]) is nn.Conv2d and float_model(torch.rand(1, *SHAPE)).shape == (1, 3)


def test_the_mode_is_that_of_the_model():
    assert quantize_(small(), "lsbq-w1a2", in_shape=SHAPE).training
    assert not quantize_(small().eval(), "lsbq-w1a2", in_shape=SHAPE)[3].training


def test_filter_leaves_modules_as_they_are():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    options = {"filter_fn": lambda module, name: name != "0", "in_shape": (4,)}
    with pytest.raises(FrontendError, match="^Module '0' must not be left out by filter_fn unless "
                                            "torch_only is true: "):
        quantize_(model, "lsbq-w1a2", **options)
    found = quantize_(model, "lsbq-w1a2", torch_only=True, **options)
    assert type(found[0]) is nn.Linear and type(found[2]) is QuantLinear
    found(torch.rand(3, 4)).sum().backward()


def test_layers_left_out_count_as_first_and_last():
    model = quantize_(small(), "lsbq-w1a2", in_shape=SHAPE, torch_only=True,
                      filter_fn=lambda module, name: name not in ("0", "7"))
    assert [type(model[index]) for index in (0, 4, 7)] == [nn.Conv2d, QuantConv2d, nn.Linear]
    assert type(model[4].weight_quantizer) is LsbqWeight and source(model, "4") is model[2]


def test_edges_may_follow_the_scheme():
    model = quantize_(small(), PactSawbConfig(edge_bits=None), in_shape=SHAPE)
    assert [model[index].weight_quantizer.bits for index in (0, 4, 7)] == [2, 2, 2]


def quantized(*layers, scheme="pact-sawb-w2a2", in_shape=SHAPE, **options):
    return quantize_(nn.Sequential(*layers), scheme, in_shape=in_shape, **options)


def ops(model):
    return {node.name: node.op for node in model.graph.nodes}


@pytest.mark.parametrize("scheme", ["pact-sawb-w2a2", "lsbq-w1a2", "gpfq-w4a4", "balanced-w2a2",
                                    "syq-row-wta4"])
@pytest.mark.parametrize("function", [nn.Hardtanh(), nn.ReLU6(), nn.Tanh(), nn.Sigmoid(),
                                      nn.LeakyReLU(), nn.PReLU(3)])
def test_a_quantizer_stands_behind_a_function_and_keeps_it(scheme, function):
    torch.manual_seed(0)
    model = quantized(nn.Conv2d(1, 3, 1), function, nn.Conv2d(3, 2, 1), scheme=scheme)
    x = torch.rand(4, *SHAPE)
    if scheme == "gpfq-w4a4":
        model.get_submodule("1.quantizer").alpha.data.fill_(1.0)
    model(x)
    values = model.eval().values(x)
    torch.testing.assert_close(values["1"], function(values["0"]))
    quantizer = model.get_submodule("1.quantizer")
    assert torch.equal(values["1.quantizer"], quantizer(values["1"]))
    # Whatever can be below 0 has codes below 0.
    below = not isinstance(function, (nn.ReLU6, nn.Sigmoid))
    assert quantizer.signed or not below
    assert bool((quantizer.codebook().reconstruct() < 0).any()) == quantizer.signed


@pytest.mark.parametrize("scheme", ["pact-sawb-w2a2", "gpfq-w4a4", "syq-row-wta4"])
def test_the_clip_of_unsigned_codes_is_the_relu_before_it(scheme):
    model = quantized(nn.Conv2d(1, 3, 1), nn.ReLU(), nn.Conv2d(3, 2, 1), scheme=scheme)
    assert ops(model)["1"] == "quantize" and "1.quantizer" not in ops(model)
    x = torch.randn(50)
    assert torch.equal(model[1](x), model[1](x.relu()))


def test_lsbq_is_the_nonlinearity_where_a_relu_stands_right_before_it():
    model = quantized(nn.Conv2d(1, 3, 1), nn.ReLU(), nn.Conv2d(3, 2, 1), scheme="lsbq-w1a2")
    assert ops(model)["1"] == "quantize"
    kept = quantized(nn.Conv2d(1, 3, 1), nn.ReLU(), nn.BatchNorm2d(3), nn.Conv2d(3, 2, 1),
                     scheme="lsbq-w1a2")
    assert ops(kept)["1"] == "relu" and ops(kept)["2.quantizer"] == "quantize"


def test_signed_fixed_point_keeps_its_relu():
    from xnorloom.sw.quantizers.syq import SyqConfig

    scheme = SyqConfig(activation_bits=4, fraction_bits=2, signed_activations=True)
    model = quantized(nn.Conv2d(1, 3, 1), nn.ReLU(), nn.Conv2d(3, 2, 1), scheme=scheme)
    assert ops(model)["1"] == "relu" and model.get_submodule("1.quantizer").signed


@pytest.mark.parametrize("pool", [nn.MaxPool2d(2), nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(4)])
def test_a_layer_behind_a_pool_reads_the_activation_before_it(pool):
    model = quantized(nn.Conv2d(1, 2, 3), nn.ReLU(), pool, nn.Conv2d(2, 2, 3, padding=1),
                      scheme="pact-sawb-w2a2", in_shape=(1, 10, 10))
    assert source(model, "3") is model[1]
    model(torch.rand(2, 1, 10, 10)).sum().backward()
    assert model[0].weight.grad.any()


class Block(nn.Module):
    def __init__(self, add=torch.add, relu=True):
        super().__init__()
        self.one, self.act1, self.two = nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3)
        self.act2, self.last = nn.ReLU() if relu else nn.Identity(), nn.Linear(3, 2)
        self.add = add

    def forward(self, x):
        x = self.act1(self.one(x))
        return self.last(self.act2(self.add(self.two(x), x)))


@pytest.mark.parametrize("add", [lambda x, y: x + y, torch.add, operator.add, operator.iadd])
def test_a_value_read_twice_is_one_quantized_map(add):
    model = quantize_(Block(add), "pact-sawb-w2a2", in_shape=(3,))
    assert source(model, "last") is model.act2 and source(model, "two") is model.act1
    assert len([op for op in ops(model).values() if op == "quantize"]) == 3
    model(torch.rand(4, 3)).sum().backward()
    assert all(torch.isfinite(each.grad).all() for each in model.parameters())


def test_a_sum_that_no_activation_ends_is_quantized_with_its_sign():
    model = quantize_(Block(relu=False), "pact-sawb-w2a2", in_shape=(3,))
    quantizer = model.get_submodule("add.quantizer")
    assert isinstance(quantizer, SymmetricActivation) and source(model, "last") is quantizer
    assert isinstance(quantize_(Block(relu=False), "lsbq-w1a2", in_shape=(3,)).get_submodule(
        "add.quantizer"), LsbqActivation)


class Rectified(nn.Module):
    """The published block of LSBQ: a ReLU that feeds nothing but an addition."""

    def __init__(self, relus):
        super().__init__()
        self.stem, self.one, self.two = (nn.Conv2d(channels, 3, 1) for channels in (1, 3, 3))
        self.last, self.relus = nn.Conv2d(3, 2, 1), relus

    def forward(self, x):
        x = torch.relu(self.stem(x))
        y, z = torch.relu(self.one(x)), self.two(x)
        return self.last(torch.relu(y + (torch.relu(z) if self.relus == 2 else z)))


def test_one_relu_before_an_addition_stays_unquantized():
    model = quantize_(Rectified(1), "pact-sawb-w2a2", in_shape=SHAPE)
    assert list(ops(model).values()).count("quantize") == 3
    model = quantize_(Rectified(2), "pact-sawb-w2a2", in_shape=SHAPE)
    assert list(ops(model).values()).count("quantize") == 4


def test_signed_padding_is_the_named_code():
    layer = QuantConv2d(1, 1, 3, padding=1, bias=False, weight_quantizer=LsbqWeight("ls1"))
    read = LsbqActivation("ls2")
    read(torch.randn(2, 1, 6, 6, generator=torch.Generator().manual_seed(0)))
    read.eval()
    with torch.no_grad():
        layer.weight.fill_(1.0)
    value = read.codebook().reconstruct()[1]
    assert read.pad_code == 1 and value < 0
    corner = float(layer(torch.zeros(1, 1, 4, 4), (1, read))[0, 0, 0, 0].detach())
    assert corner == pytest.approx(5 * value, rel=1e-6)


def test_padding_is_zeros_where_they_are_asked_for():
    layers = nn.Conv2d(1, 3, 1), nn.ReLU(), nn.Conv2d(3, 2, 3, padding=1)
    model = quantized(*layers, scheme="lsbq-w1a2", padding="zero")
    assert source(model, "2") is None and model.graph["2"]["pads"] == ((3, ""),)
    codes = quantized(*layers, scheme="lsbq-w1a2")
    assert source(codes, "2") is codes[1]
    # Unsigned codes have a zero, which is padded with either way.
    assert quantized(*layers, padding="zero").graph["2"]["pads"] == ((3, "1"),)


def test_every_part_of_a_concatenation_is_padded_with_its_own_value():
    x = torch.arange(8.0).reshape(1, 2, 2, 2)
    found = padded(x, (1, 0, 0, 2), [(1, 5.0), (1, -3.0)])
    assert found.shape == (1, 2, 3, 4)
    assert found[0, 0, 0].tolist() == [5.0] * 4 and found[0, 1, :, 3].tolist() == [-3.0] * 3
    assert torch.equal(found[:, :, 1:, :2], x)


@pytest.mark.parametrize("layer, make", [
    (nn.Conv2d(4, 6, (3, 2), (1, 2), (1, 0), (2, 1), 2), QuantConv2d),
    (nn.Conv1d(4, 6, 3, 2, 1, 2, 2), QuantConv1d), (nn.Linear(4, 3, bias=False), QuantLinear)])
def test_a_quantized_layer_computes_what_the_float_one_does(layer, make):
    new = make.from_float(layer, nn.Identity())
    x = torch.rand(2, 4, *(7, 6)[:layer.weight.dim() - 2])
    torch.testing.assert_close(new(x), layer(x))
    assert new.weight is layer.weight


def test_the_input_is_rounded():
    model = quantized(nn.Linear(1, 1, bias=False), in_shape=(1,), input_bits=2, input_step=1 / 3)
    assert isinstance(model.input_quantizer, PixelQuantizer)
    assert model.values(torch.tensor([[0.4]]))["input_quantizer"].item() == pytest.approx(1 / 3)


def test_a_batch_norm_on_the_input_comes_before_its_codes():
    model = quantized(nn.BatchNorm2d(1), nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Conv2d(2, 2, 1))
    assert isinstance(model.input_quantizer, NormedPixels)
    assert model.graph["input_quantizer"].inputs == ("0",)
    x = torch.rand(16, *SHAPE) + 3
    for _ in range(50):
        model(x)
    values = model.eval().values(x)
    step = model.input_quantizer.step
    assert (values["input_quantizer"] - values["0"]).abs().max() < 0.6 * step < 0.02


@pytest.mark.parametrize("model, fragment", [
    (nn.Sequential(nn.Conv2d(1, 2, 1), nn.GELU(), nn.Conv2d(2, 2, 1)), "Node '1' (GELU) is not"),
    (nn.Sequential(nn.Conv2d(1, 2, 1, padding_mode="reflect", padding=1)), "Node '0' (Conv2d) "),
])
def test_what_cannot_be_quantized_is_named(model, fragment):
    with pytest.raises(FrontendError) as caught:
        quantize_(model, "lsbq-w1a2", in_shape=SHAPE, torch_only=True)
    assert fragment in str(caught.value)


def test_a_single_layer_is_a_model():
    model = quantize_(nn.Conv2d(1, 2, 1), "lsbq-w1a2", in_shape=SHAPE)
    assert isinstance(model.conv2d, QuantConv2d)


def test_a_layer_used_twice_is_named_and_a_function_is_not():
    shared, act = nn.Linear(3, 3), nn.ReLU()
    model = nn.Sequential(shared, act, shared, act, nn.Linear(3, 2))
    with pytest.raises(FrontendError, match="^Node '2' .Linear. is called twice; each use needs "
                                            "a module of its own$"):
        quantize_(model, "lsbq-w1a2", in_shape=(3,))
    model = nn.Sequential(nn.Linear(3, 3), act, nn.Linear(3, 3), act, nn.Linear(3, 2))
    found = quantize_(model, "pact-sawb-w2a2", in_shape=(3,))
    assert isinstance(found["1"], PactActivation) and isinstance(found["3"], PactActivation)
    assert found["1"] is not found["3"]


def test_schemes_are_found_by_name():
    assert set(SCHEMES) >= {"lsbq-w1a2", "pact-sawb-w2a2"}
    own = PactSawbConfig(weight_bits=4, activation_bits=3)
    assert get_scheme(own) is own and own.activation_quantizer().bits == 3
    with pytest.raises(UnknownNameError) as caught:
        get_scheme("lsbq-w1a22")
    assert str(caught.value) == ("Scheme must be a registered name, not 'lsbq-w1a22', did you mean "
                                 "'lsbq-w1a2'?")


def test_dropout_stays_in_training():
    model = quantized(nn.Conv2d(1, 8, 1), nn.ReLU(), nn.Dropout2d(0.5), nn.Conv2d(8, 2, 1))
    x = torch.rand(4, *SHAPE)
    dropped = model.values(x)["2"]
    assert ((dropped == 0).flatten(2).all(dim=2)).any() and not torch.equal(model(x), model(x))
    assert torch.equal(model.eval()(x), model(x))
    assert F.relu(dropped).shape == (4, 8, 8, 8)


class Clamped(nn.Module):
    """A batch norm behind a sum whose first part was clamped, straight or through a function."""

    def __init__(self, function):
        super().__init__()
        self.stem, self.one, self.two = (nn.Conv2d(channels, 3, 1) for channels in (1, 3, 3))
        self.norm, self.last, self.function = nn.BatchNorm2d(3), nn.Conv2d(3, 2, 1), function

    def forward(self, x):
        x = torch.relu(self.stem(x))
        return self.last(self.norm(self.function(torch.relu(self.one(x)) + self.two(x))))


@pytest.mark.parametrize("function, where", [(nn.Identity(), "add.quantizer"),
                                             (nn.Tanh(), "function.quantizer")])
def test_a_clamped_sum_is_quantized_before_a_gain_of_any_sign(function, where):
    torch.manual_seed(0)
    model = Clamped(function)
    with torch.no_grad():
        model.norm.weight.copy_(torch.tensor([1.0, -1.0, -0.5]))
    network = quantize_(model, "pact-sawb-w2a2", in_shape=SHAPE)
    assert ops(network)[where] == "quantize" and network.graph["norm"].inputs == (where,)
    for _ in range(3):
        network(torch.rand(4, *SHAPE))
    lower_model(network.eval())


def compiled(model):
    """Results of every layer in the snapped model, and of its integers."""
    network, snapped = lower_model(model.eval(), name="net")
    images = torch.rand(5, *SHAPE, generator=torch.Generator().manual_seed(3))
    found = evaluate(network, network.encode(images.numpy()))
    for name, values in snapped.trace(images).items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)
    return model(images).detach().numpy(), snapped(images).numpy()


@pytest.mark.parametrize("scheme, new", [
    ("pact-sawb-w2a2", lambda: PactActivation(3, 0.7)),
    ("lsbq-w1a2", lambda: LsbqActivation("ternary"))])
def test_a_replaced_activation_is_what_is_padded_with_and_compiled(scheme, new):
    torch.manual_seed(0)
    model = quantized(nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.Conv2d(3, 3, 3, padding=1),
                      nn.ReLU(), nn.Conv2d(3, 2, 3, padding=1), scheme=scheme)
    x = torch.rand(8, *SHAPE)
    model(x)
    model[1] = new()
    assert source(model, "2") is model[1]
    model.train()(x)
    framed = model[2].frame(torch.zeros(1, 3, 2, 2), model.sources(model.graph["2"]))
    assert float(framed[0, 0, 0, 0]) == float(model[1].pad_value())
    here, there = compiled(model)
    assert np.isclose(here, there, atol=1e-2 * np.abs(here).max()).mean() > 0.95


def test_codes_of_a_replaced_quantizer_order_a_maximum():
    torch.manual_seed(0)
    model = quantized(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(3, 2, 1),
                      scheme=LsbqConfig(activations="greedy-2"))
    model(torch.rand(8, *SHAPE))
    model[1] = stale = LsbqActivation("greedy-2")
    stale.scales.copy_(torch.tensor([0.5, 0.75]))
    stale.batches += 1
    here, there = compiled(model)
    assert np.isclose(here, there, atol=1e-2 * np.abs(here).max()).mean() > 0.95


def test_a_graph_that_names_no_quantizer_is_refused():
    model = quantized(nn.Conv2d(1, 3, 1), nn.ReLU(), nn.Conv2d(3, 2, 3, padding=1))
    graph = model.graph.rebuilt([node if node.name != "2" else node.changed(pads=((3, "9"),))
                                 for node in model.graph.nodes])
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    with pytest.raises(FrontendError, match="^Node '2' pads must name quantizers of the graph, "
                                            "not '9'$"):
        build(graph, tensors, get_scheme("pact-sawb-w2a2"))
