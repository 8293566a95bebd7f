"""What is wrong with a model is said in one true sentence, before anything is computed."""

import copy
import math
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune
from xnorloom.sw.graph.trace import FrontendError

import xnorloom
from xnorloom.errors import sentence
from xnorloom.sw.machine.driver import Driver
from xnorloom.sw.machine.reference import ReferenceMachine
from xnorloom.sw.passes.quantize import quantize_

SCHEME = "pact-sawb-w2a2"
NAN, INF = math.nan, math.inf


def net():
    torch.manual_seed(0)
    return nn.Sequential(OrderedDict(conv=nn.Conv2d(1, 3, 3), norm=nn.BatchNorm2d(3), act=nn.ReLU(),
                                     flat=nn.Flatten(), last=nn.Linear(3 * 36, 2)))


def quantized():
    return quantize_(net(), SCHEME)


def said(act, *arguments, **options):
    with pytest.raises(Exception) as caught:
        act(*arguments, **options)
    text = sentence(caught.value)
    assert text and "\n" not in text
    return text


def runs(model, in_shape=(1, 8, 8)):
    """Whether the machine's reference does what the snapped model does."""
    model(torch.rand(4, *in_shape))
    image = xnorloom.compile(model.eval(), "tiny", in_shape=in_shape)
    driver = Driver(ReferenceMachine(image.config), image)
    driver.load()
    images = np.random.default_rng(0).random((3, *in_shape))
    wanted = xnorloom.snap(model, "tiny")(images)
    return np.array_equal(driver.run(images).outputs, wanted.reshape(3, -1))


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
    assert said(quantize_, model, SCHEME).startswith(demand.format("quantized"))
    assert type(model.conv) is nn.Conv2d
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
    model, twin = net(), quantized()
    change(model.conv)
    change(twin.conv)
    for act, verb in ((lambda: quantize_(model, SCHEME), "quantized"),
                      (lambda: quantize_(model, SCHEME, torch_only=True), "quantized"),
                      (lambda: xnorloom.snap(twin), "snapped")):
        text = said(act)
        assert text.startswith(f"Layer 'conv' cannot be {verb}: {which} must be a parameter, not ")
        assert remedy in text


def test_a_pruned_layer_runs_once_it_is_made_permanent():
    model = net()
    prune.l1_unstructured(model.conv, "weight", 0.5)
    prune.remove(model.conv, "weight")
    assert runs(quantize_(model, SCHEME))


def test_a_layer_named_like_the_input():
    model = nn.Sequential(OrderedDict(input=nn.Linear(4, 2)))
    assert said(lambda: quantize_(model, SCHEME)).startswith(
        "Node 'input' (Linear) must have another name: 'input' is the network's input; ")


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
    lambda x: torch.flatten(x, 1, 3)])
def test_every_way_to_flatten(how):
    assert runs(quantize_(Flattening(how), SCHEME))


@pytest.mark.parametrize("how, why", [
    (lambda x: torch.flatten(x), "it must flatten all but the batch"),
    (lambda x: torch.flatten(input=x, start_dim=1, end_dim=2), "it must flatten all but the batch"),
    (lambda x: x.reshape(-1, 108), "it must flatten all but the batch"),
    (lambda x: torch.flatten(torch.relu(x), 1), "it must be a module, such as torch.nn.ReLU"),
    (lambda x: torch.flatten(nn.functional.max_pool2d(x, 1), 1), "max pooling is not supported"),
    (lambda x: torch.flatten(x * 2, 1), "Node 'mul' (call_function mul) is not something the "),
])
def test_functions_beyond_the_machine(how, why):
    assert why in said(lambda: quantize_(Flattening(how), SCHEME))


@pytest.mark.parametrize("shape", [8, "188", ("1", 8, 8), (1, -8, 8), (True, 8, 8), (1.0, 8, 8),
                                   (1, 8), (), (0, 8, 8), {1: 2}])
def test_input_shapes_that_are_none(shape):
    wanted = ("Input shape must be (channels, height, width) or (inputs,) of positive integers, "
              f"not {shape!r}")
    images = np.zeros((2, 1, 8, 8), np.float32)
    for act in (lambda: quantize_(net(), SCHEME, in_shape=shape),
                lambda: xnorloom.compile(quantized(), in_shape=shape),
                lambda: xnorloom.compare(quantized(), (images, None), "tiny", in_shape=shape)):
        assert said(act) == wanted


@pytest.mark.parametrize("shape", [[1, 8, 8], np.array([1, 8, 8]), torch.Size([1, 8, 8])])
def test_any_sequence_of_integers_is_a_shape(shape):
    assert xnorloom.compile(quantized(), in_shape=shape).metadata["input"]["shape"] == [1, 8, 8]


def test_float_models_and_other_things():
    images = np.zeros((2, 1, 8, 8), np.float32)
    for act in (lambda: xnorloom.snap(net()), lambda: xnorloom.compile(net(), in_shape=(1, 8, 8)),
                lambda: xnorloom.compare(net(), (images, None), "tiny")):
        assert said(act) == ("Node 'conv' (Conv2d) must be quantized: pass the model through "
                             "quantize_ first")
    for act in (lambda: xnorloom.snap(3), lambda: quantize_(3, SCHEME)):
        assert said(act) == "Model must be a torch.nn.Module, not 3"


def test_a_quantized_model_is_not_quantized_again():
    for model, first in ((quantized(), "'conv' (QuantConv2d)"),
                         (xnorloom.snap(quantized()), "'model.conv' (SnappedLayer)")):
        for torch_only in (False, True):
            assert said(quantize_, model, SCHEME, torch_only=torch_only) == (
                f"Model must be a float one, but module {first} is quantized already")


def test_an_activation_left_out_is_named():
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    quantize_(model, SCHEME, torch_only=True, filter_fn=lambda module, name: name != "0")
    assert said(lambda: xnorloom.snap(model)).startswith("Node '0' (Linear) must be quantized")
    model = quantized()
    model.act = nn.ReLU()
    assert said(lambda: xnorloom.snap(model)).startswith("Node 'act' (ReLU) must be quantized")


class Called(nn.Module):
    def __init__(self):
        super().__init__()
        self.last = nn.Linear(4, 2)

    def forward(self, x, mask=None):
        return self.last(input=x)


@pytest.mark.parametrize("model, message", [
    (lambda: nn.Sequential(), "Model Sequential must hold a convolution or linear layer, and "),
    (lambda: nn.Sequential(nn.Linear(3, 3), nn.ReLU()), "Node '1' (ReLU) must be followed by a "),
    (lambda: nn.Sequential(nn.LazyLinear(3)), "Layer '0' cannot be quantized: weight must be "),
    (lambda: net().to("meta"), "must be on the CPU, not on 'meta'"),
    (lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm1d(2), nn.ReLU(), nn.Conv2d(2, 2, 1)),
     "Batch norm '1' must not be a BatchNorm1d behind layer '0' (Conv2d)"),
    (Called, "must be given its input by position, not as 'input'"),
])
def test_models_that_are_none(model, message):
    for torch_only in (False, True):
        if message.startswith(("Node '1'", "Batch norm")) and torch_only:
            continue
        made = model()
        assert message in said(quantize_, made, SCHEME, torch_only=torch_only)


def test_hooks_are_not_lost():
    model = net()
    model.conv.register_forward_hook(lambda *_: None)
    assert said(lambda: quantize_(model, SCHEME)) == (
        "Layer 'conv' cannot be quantized: layer must have no forward hooks, which its quantized "
        "one would not have")


@pytest.mark.parametrize("options, message", [
    ({"scheme": "pact-sawb-w2a"}, "Scheme must be a registered name, not 'pact-sawb-w2a', did "),
    ({"scheme": None}, "Scheme must be a registered name, not None; known: "),
    ({"input_step": "x"}, "Input step must be a number, not 'x'"),
    ({"filter_fn": 3}, "Filter filter_fn must be a function, not 3"),
    ({"input_bits": 9}, "PixelQuantizer bits must be an integer from 1 to 8, not 9"),
])
def test_options_that_are_none(options, message):
    model = net()
    assert said(lambda: quantize_(model, **{"scheme": SCHEME, **options})).startswith(message)
    assert type(model.conv) is nn.Conv2d


@pytest.mark.parametrize("change", [
    lambda model: model.half().float(), lambda model: model.double(),
    lambda model: nn.init.constant_(model.conv.weight, 0.3),
    lambda model: nn.init.zeros_(model.last.weight),
    lambda model: model.conv.weight.data.mul_(1e-30)])
def test_odd_models_run_all_the_same(change):
    model = net()
    change(model)
    assert runs(quantize_(model, SCHEME).float())


def test_an_argument_that_is_never_used_is_no_second_input():
    class Default(nn.Module):
        def __init__(self):
            super().__init__()
            self.last = nn.Linear(4, 2)

        def forward(self, x, mask=None):
            return self.last(x)

    assert runs(quantize_(Default(), SCHEME), (4,))
    with pytest.raises(FrontendError, match="^Node 'y' .placeholder y. is a second input"):
        class Two(Default):
            def forward(self, x, y):
                return self.last(x)
        quantize_(copy.deepcopy(Two()), SCHEME)
