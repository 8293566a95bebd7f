"""What is wrong with a model is said in one true sentence, before anything is computed."""

import math
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

import xnorloom
from xnorloom.errors import sentence
from xnorloom.sw.graph.errors import FrontendError
from xnorloom.sw.passes.lower import lower
from xnorloom.sw.passes.pipeline import lower_model
from xnorloom.sw.passes.quantize import quantize_

SCHEME = "pact-sawb-w2a2"
SHAPE = (1, 8, 8)
NAN, INF = math.nan, math.inf


def net():
    torch.manual_seed(0)
    return nn.Sequential(OrderedDict(conv=nn.Conv2d(1, 3, 3), norm=nn.BatchNorm2d(3), act=nn.ReLU(),
                                     flat=nn.Flatten(), last=nn.Linear(3 * 36, 2)))


def asked(model, scheme=SCHEME, in_shape=SHAPE, **options):
    return quantize_(model, scheme, in_shape=in_shape, **options)


def quantized():
    return asked(net())


def said(act, *arguments, **options):
    with pytest.raises(Exception) as caught:
        act(*arguments, **options)
    text = sentence(caught.value)
    assert text and "\n" not in text
    return text


def runs(model):
    """Whether every pass does what the one before it did, and the result is near the model's."""
    shape = model.graph.in_shape
    model(torch.rand(4, *shape))
    _network, snapped = lower_model(model.eval())
    images = torch.rand(3, *shape)
    with torch.no_grad():
        wanted = model(images).double()
    return bool((snapped(images) - wanted).abs().max() <= 0.5 * wanted.abs().max())


@pytest.mark.parametrize("tensor, value, demand", [
    ("conv.bias", NAN, "Layer 'conv' cannot be {}: bias must be finite, not nan"),
    ("last.bias", INF, "Layer 'last' cannot be {}: bias must be finite, not inf"),
    ("conv.weight", NAN, "Layer 'conv' cannot be {}: weight must be finite, not nan"),
    ("norm.weight", -INF, "Layer 'norm' cannot be {}: weight must be finite, not -inf"),
    ("norm.bias", NAN, "Layer 'norm' cannot be {}: bias must be finite, not nan"),
    ("norm.running_mean", NAN, "Layer 'norm' cannot be {}: running_mean must be finite"),
    ("norm.running_var", INF, "Layer 'norm' cannot be {}: running_var must be finite, not inf"),
    ("norm.running_var", -1.0, "Layer 'norm' cannot be {}: running_var must be at least 0"),
])
def test_numbers_that_are_none(tensor, value, demand):
    model = net()
    twin = quantized()
    for each in (model, twin):
        with torch.no_grad():
            each.state_dict()[tensor].view(-1)[1] = value
    assert said(asked, model).startswith(demand.format("quantized"))
    assert said(xnorloom.snap, twin).startswith(demand.format("snapped"))


def old_weight_norm(layer):
    with pytest.warns(FutureWarning, match="weight_norm"):
        return nn.utils.weight_norm(layer)


@pytest.mark.parametrize("change, which, remedy", [
    (lambda layer: prune.l1_unstructured(layer, "weight", 0.5), "weight", "prune.remove("),
    (lambda layer: prune.l1_unstructured(layer, "bias", 1), "bias", "prune.remove(layer, 'bias') "),
    (parametrizations.weight_norm, "weight", "parametrize.remove_parametrizations(layer"),
    (parametrizations.spectral_norm, "weight", "parametrize.remove_parametrizations(layer, 'weig"),
    (old_weight_norm, "weight", "the remover of what computes it first"),
])
def test_a_computed_weight_must_be_made_a_parameter(change, which, remedy):
    model = net()
    change(model.conv)
    for torch_only in (False, True):
        text = said(asked, model, torch_only=torch_only)
        assert text.startswith(f"Layer 'conv' cannot be quantized: {which} must be a parameter, ")
        assert remedy in text


def test_a_pruned_layer_runs_once_it_is_made_permanent():
    model = net()
    prune.l1_unstructured(model.conv, "weight", 0.5)
    prune.remove(model.conv, "weight")
    assert runs(asked(model))


def test_a_layer_named_like_the_input_gets_another_name():
    model = asked(nn.Sequential(OrderedDict(input=nn.Linear(4, 2))), in_shape=(4,))
    assert [node.name for node in model.graph.nodes] == ["input_quantizer", "input_1"]
    assert runs(model) and "input.weight" in model.state_dict()


class Flattening(nn.Module):
    def __init__(self, how):
        super().__init__()
        self.conv, self.act, self.last = nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Linear(108, 2)
        self.how = how

    def forward(self, x):
        return self.last(self.how(self.act(self.conv(x))))


@pytest.mark.parametrize("how", [
    lambda x: torch.flatten(x, 1), lambda x: torch.flatten(x, start_dim=1),
    lambda x: torch.flatten(input=x, start_dim=1), lambda x: x.flatten(start_dim=1, end_dim=-1),
    lambda x: torch.flatten(x, 1, 3), lambda x: x.reshape(-1, 108),
    lambda x: x.view(x.size(0), -1), lambda x: x.view(len(x), 108),
    lambda x: torch.flatten(torch.relu(x), 1), lambda x: torch.relu(torch.flatten(x, 1)),
    lambda x: torch.flatten(nn.functional.max_pool2d(x, 1), 1)])
def test_every_way_to_flatten(how):
    assert runs(asked(Flattening(how)))


@pytest.mark.parametrize("how, why", [
    (lambda x: torch.flatten(x).reshape(len(x), -1), "'flatten' (flatten) must flatten all but "),
    (lambda x: torch.flatten(x.transpose(1, 2), 1), "Node 'transpose' (transpose) is not some"),
    (lambda x: torch.flatten(x * 2, 1), "Node 'mul' (mul) is not something the machine can run;"),
    (lambda x: torch.flatten(x + 1, 1), "Node 'add' (add) must read a value of the network as its"),
    (lambda x: torch.flatten(x + x.mean((2, 3), keepdim=True), 1), "must add values of one shape"),
    (lambda x: torch.flatten(torch.add(x, x, alpha=2), 1), "alpha must be 1, not 2"),
    (lambda x: torch.flatten(torch.cat([x, x], 2)[:, :, :6], 1), "must join channels, axis 1"),
    (lambda x: torch.flatten(x, 1).cumsum(1), "Node 'cumsum' (cumsum) is not something the "),
])
def test_functions_beyond_the_machine(how, why):
    assert why in said(lambda: asked(Flattening(how)))


@pytest.mark.parametrize("shape", [8, "188", ("1", 8, 8), (1, -8, 8), (True, 8, 8), (1.0, 8, 8),
                                   (1, 8, 8, 8), (), (0, 8, 8), {1: 2}])
def test_input_shapes_that_are_none(shape):
    wanted = ("Input shape must be (channels, height, width), (channels, samples) or (inputs,) of "
              f"positive integers, not {shape!r}")
    for act in (lambda: asked(net(), in_shape=shape), lambda: lower(quantized(), shape)):
        assert said(act) == wanted


def test_another_shape_than_it_was_quantized_for():
    assert said(lower, quantized(), (1, 9, 9)) == (
        "Input shape must be (1, 8, 8), which the model was quantized for, not (1, 9, 9)")


@pytest.mark.parametrize("shape", [[1, 8, 8], np.array([1, 8, 8]), torch.Size([1, 8, 8])])
def test_any_sequence_of_integers_is_a_shape(shape):
    model = asked(net(), in_shape=shape)
    assert model.graph.in_shape == lower(model, shape).in_shape == SHAPE


def test_float_models_and_other_things():
    for act in (lambda: xnorloom.snap(net()), lambda: lower(net())):
        assert said(act) == ("Model Sequential must be quantized: pass it through quantize_ first, "
                             "and use what that returns")
    for act in (lambda: xnorloom.snap(3), lambda: asked(3)):
        assert said(act) == "Model must be a torch.nn.Module, not 3"


def test_a_quantized_model_is_not_quantized_again():
    for model in (quantized(), xnorloom.snap(quantized())):
        for torch_only in (False, True):
            assert said(asked, model, torch_only=torch_only).startswith(
                f"Model must be a float one, not a {type(model).__name__}")
    text = said(asked, nn.Sequential(quantized()))
    assert text == "Model must be a float one, but module '0' (GraphModel) is quantized already"


def test_an_activation_left_out_is_named():
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    model = asked(model, in_shape=(4,), torch_only=True,
                  filter_fn=lambda module, name: name != "1")
    assert said(lambda: xnorloom.snap(model)).startswith(
        "Node '2' (linear) must read codes: quantize what it reads; supported: ")


class Called(nn.Module):
    def __init__(self):
        super().__init__()
        self.last = nn.Linear(4, 2)

    def forward(self, x, mask=None):
        return self.last(input=x)


@pytest.mark.parametrize("model, message", [
    (lambda: nn.Sequential(), "Model must hold a convolution or linear layer, and has none; "),
    (lambda: nn.Sequential(nn.ReLU()), "Model must hold a convolution or linear layer, and has "),
    (lambda: nn.Sequential(nn.LazyLinear(3)), "Layer '0' cannot be quantized: weight must be "),
    (lambda: net().to("meta"), "must be on the CPU, not on 'meta'"),
    (lambda: Returning(lambda y: (y, y)), ("Model must return one tensor that it computes of its "
     "input, not 2 results")),
    (lambda: Returning(lambda y: None), "Model must return one tensor"),
])
def test_models_that_are_none(model, message):
    for torch_only in (False, True):
        assert message in said(asked, model(), torch_only=torch_only)


class Returning(nn.Module):
    def __init__(self, what):
        super().__init__()
        self.conv, self.what = nn.Conv2d(1, 2, 1), what

    def forward(self, x):
        return self.what(self.conv(x))


def test_arguments_by_name_are_arguments():
    assert runs(asked(Called(), in_shape=(4,)))


def test_hooks_are_not_lost():
    model = net()
    model.conv.register_forward_hook(lambda *_: None)
    assert said(asked, model) == (
        "Layer 'conv' cannot be quantized: layer must have no forward hooks, which its quantized "
        "one would not have")


@pytest.mark.parametrize("options, message", [
    ({"scheme": "pact-sawb-w2a"}, "Scheme must be a registered name, not 'pact-sawb-w2a', did "),
    ({"scheme": None}, "Scheme must be a registered name, not None; known: "),
    ({"input_step": "x"}, "Input step must be a number, not 'x'"),
    ({"filter_fn": 3}, "Filter filter_fn must be a function, not 3"),
    ({"padding": "same"}, "Padding must be one of code, zero, not 'same'"),
    ({"input_bits": 9}, "PixelQuantizer bits must be an integer from 1 to 8, not 9"),
])
def test_options_that_are_none(options, message):
    model = net()
    assert said(lambda: asked(model, **options)).startswith(message)


@pytest.mark.parametrize("change", [
    lambda model: model.half().float(), lambda model: model.double(),
    lambda model: nn.init.constant_(model.conv.weight, 0.3),
    lambda model: nn.init.zeros_(model.last.weight),
    lambda model: model.conv.weight.data.mul_(1e-30)])
def test_odd_models_run_all_the_same(change):
    model = net()
    change(model)
    assert runs(asked(model).float())


def test_an_argument_that_is_never_used_is_no_second_input():
    class Default(nn.Module):
        def __init__(self):
            super().__init__()
            self.last = nn.Linear(4, 2)

        def forward(self, x, mask=None):
            return self.last(x)

    class Two(Default):
        def forward(self, x, y):
            return self.last(x)

    assert runs(asked(Default(), in_shape=(4,)))
    with pytest.raises(FrontendError, match="^Model Two cannot be exported for an input of .4,.: "):
        asked(Two(), in_shape=(4,))
