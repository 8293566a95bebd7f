"""What a network may be made of: one answer, before training and before compiling."""

import copy
from collections import OrderedDict

import pytest
import torch
from torch import nn
from xnorloom.sw.graph.trace import FrontendError

import xnorloom
from xnorloom import cli
from xnorloom.sw.data import DataInfo
from xnorloom.sw.passes.check import check_network
from xnorloom.sw.passes.lower import lower
from xnorloom.sw.passes.quantize import quantize_
from xnorloom.sw.training import nets
from xnorloom.sw.training.train import train

MNIST = DataInfo("mnist:x", (1, 28, 28), 10, 8, 1 / 255)
SCHEME = "pact-sawb-w2a2"


@pytest.mark.parametrize("net, why", [
    ("vgg", "Node 'pool1' (MaxPool2d) is not something the machine can run: max pooling is not s"),
    ("resnet18", "Node 'stage1.0.shortcut' (Identity) reads act1; branches are not supported, ")])
def test_nothing_is_trained_that_cannot_run(net, why, tmp_path, capsys):
    def trained(_progress):
        raise AssertionError

    with pytest.raises(FrontendError) as caught:
        train(net, "lsbq-w1a2", progress=trained)
    assert str(caught.value).startswith(why)
    assert cli.main(["train", "--net", net, "-o", str(tmp_path / "net.pt")]) == 2
    said = capsys.readouterr().err
    assert said == f"xnorloom train: {caught.value}\n" and not list(tmp_path.iterdir())


@pytest.mark.parametrize("net", nets.NETS)
def test_float_quantized_and_lowered_networks_get_one_answer(net):
    # Widths of a channel or two: only the shapes of the maps matter.
    model = nets.NETS[net](MNIST, width=2)
    asked = (lambda: check_network(model, MNIST.in_shape),
             lambda: quantize_(copy.deepcopy(model), SCHEME, in_shape=MNIST.in_shape),
             lambda: check_network(nets.prepare(copy.deepcopy(model), SCHEME), MNIST.in_shape),
             lambda: lower(nets.prepare(copy.deepcopy(model), SCHEME), MNIST.in_shape))
    answers = []
    for ask in asked:
        try:
            ask()
            answers.append(None)
        except FrontendError as error:
            answers.append(str(error))
    assert answers == answers[:1] * len(asked)
    assert (answers[0] is None) == (net == "mlp")
    if net == "cnn":
        assert answers[0].startswith("Layer 'linear' must read a map of at most 7 x 7, not 14 x 14")


def test_the_networks_that_run_are_let_through():
    for net in ("mlp", "cnn"):
        model = nets.NETS[net](DataInfo("digits", (1, 8, 8), 10, 5, 1 / 16))
        check_network(model, (1, 8, 8))
        assert type(quantize_(model, SCHEME, in_shape=(1, 8, 8)))


def chain(*between, **named):
    return nn.Sequential(OrderedDict(
        first=nn.Conv2d(1, 2, 3), norm=nn.BatchNorm2d(2), act=nn.ReLU(), **named,
        **{f"extra{index}": module for index, module in enumerate(between)},
        flatten=nn.Flatten(), last=nn.Linear(2 * 36, 3)))


def test_a_size_is_checked_only_if_it_is_known():
    model = chain()
    quantize_(copy.deepcopy(model), SCHEME)
    with pytest.raises(FrontendError, match="^Layer 'last' must have 18 inputs for a map of "):
        quantize_(model, SCHEME, in_shape=(1, 5, 5))
    assert type(model.first) is nn.Conv2d
    quantize_(model, SCHEME, in_shape=(1, 8, 8))


@pytest.mark.parametrize("module, message", [
    (nn.BatchNorm2d(3), "Batch norm 'extra0' must have the 2 channels of layer 'first', not 3"),
    (nn.BatchNorm2d(2, track_running_stats=False), "it must keep running statistics"),
    (nn.Flatten(2), "it must flatten all but the batch"),
    (nn.LeakyReLU(), "activations must be ReLU, ReLU6, Hardtanh"),
    (nn.Conv1d(2, 2, 1), "Node 'extra0' (Conv1d) is not something the machine can run; supported:"),
    (nn.ConvTranspose2d(2, 2, 1), "(ConvTranspose2d) is not something the machine can run;"),
    (nn.Conv2d(2, 2, 1), "Node 'extra0' (Conv2d) must read a quantized activation, not layer "),
])
def test_modules_beyond_the_machine_are_named(module, message):
    model = nn.Sequential(OrderedDict(first=nn.Conv2d(1, 2, 3), extra0=module, act=nn.ReLU(),
                                      last=nn.Conv2d(2, 2, 1)))
    with pytest.raises(FrontendError) as caught:
        quantize_(model, SCHEME)
    assert message in str(caught.value)
    assert type(model.first) is nn.Conv2d


def test_a_layer_that_computes_something_else_is_not_replaced():
    class Standardized(nn.Conv2d):
        def forward(self, x):
            return super().forward(x - x.mean())

    with pytest.raises(FrontendError, match="^Node 'mean' .call_method mean. is not something the "
                                            "machine can run: averages are not supported yet; "):
        quantize_(nn.Sequential(Standardized(1, 2, 3)), SCHEME)


def test_the_front_door_asks_too():
    with pytest.raises(FrontendError, match="max pooling is not supported yet"):
        xnorloom.quantize_(chain(nn.MaxPool2d(2)), SCHEME)
    model = xnorloom.quantize_(chain(nn.MaxPool2d(2)), SCHEME, torch_only=True)
    assert torch.isfinite(model.extra0(torch.rand(1, 2, 4, 4))).all()
