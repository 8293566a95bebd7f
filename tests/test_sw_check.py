"""What a network may be made of: one answer, before training and before compiling."""

import copy
from collections import OrderedDict

import pytest
import torch
from torch import nn

import xnorloom
from xnorloom.sw.data import DataInfo
from xnorloom.sw.graph.errors import FrontendError
from xnorloom.sw.passes.check import check_network
from xnorloom.sw.passes.lower import lower
from xnorloom.sw.passes.quantize import quantize_
from xnorloom.sw.training import nets
from xnorloom.sw.training.train import train

SCHEME = "pact-sawb-w2a2"
SHAPE = (1, 8, 8)


def test_nothing_is_trained_that_cannot_run(monkeypatch):
    def trained(_progress):
        raise AssertionError

    def strided(info):
        return nn.Sequential(nn.Conv2d(1, 2, 1, stride=16), nn.ReLU(), nn.Flatten(),
                             nn.Linear(2, info.classes))

    monkeypatch.setitem(nets.NETS, "strided", strided)
    with pytest.raises(FrontendError, match=r"^Layer '0' stride must be from 1 to 15 in each "
                                            r"direction, not \(16, 16\)$"):
        train("strided", "lsbq-w1a2", progress=trained)


@pytest.mark.parametrize("model, shape", [
    (nn.Sequential(nn.Conv2d(1, 2, 1, stride=16)), (1, 40, 40)),
    (nn.Sequential(nn.Conv1d(1, 2, 1)), (1, 5000)),
    (nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.MaxPool2d(16), nn.Conv2d(2, 2, 1)),
     (1, 32, 32))])
def test_float_and_quantized_networks_get_one_answer(model, shape):
    def prepared():
        return quantize_(copy.deepcopy(model), SCHEME, in_shape=shape, torch_only=True)

    answers = []
    for ask in (lambda: quantize_(copy.deepcopy(model), SCHEME, in_shape=shape),
                lambda: check_network(prepared())):
        with pytest.raises(FrontendError) as caught:
            ask()
        answers.append(str(caught.value))
    assert answers[0] == answers[1]


@pytest.mark.parametrize("net", nets.NETS)
def test_every_net_is_let_through(net):
    about = DataInfo("digits", SHAPE, 10, 5, 1 / 16)
    model = nets.NETS[net](about, width=2)
    check_network(quantize_(model, SCHEME, in_shape=SHAPE))


def test_checking_changes_nothing():
    model = quantize_(chain(), "lsbq-w1a2", in_shape=SHAPE, torch_only=True)
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    check_network(model)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert model.training and torch.equal(torch.get_rng_state(), state)


def chain(*between, **named):
    return nn.Sequential(OrderedDict(
        first=nn.Conv2d(1, 2, 3), norm=nn.BatchNorm2d(2), act=nn.ReLU(), **named,
        **{f"extra{index}": module for index, module in enumerate(between)},
        flatten=nn.Flatten(), last=nn.Linear(2 * 36, 3)))


def test_a_size_is_checked():
    with pytest.raises(FrontendError, match="^Layer 'last' must read 72 inputs, not a map or "
                                            r"vector of \(18,\)$"):
        quantize_(chain(), SCHEME, in_shape=(1, 5, 5))
    with pytest.raises(FrontendError, match="^Input shape 'in_shape' must be given, as "):
        quantize_(chain(), SCHEME)


@pytest.mark.parametrize("module, message", [
    (nn.BatchNorm2d(3), "Layer 'extra0' must read the 3 channels of its input, not 2"),
    (nn.BatchNorm2d(2, track_running_stats=False),
     "Node 'extra0' (BatchNorm2d) must keep running statistics; supported: "),
    (nn.Sequential(nn.Flatten(2), nn.Unflatten(2, (6, 6))),
     "Node 'extra0.0' (Flatten) must flatten all but the batch"),
    (nn.GELU(), "Node 'extra0' (GELU) is not something the machine can run: it falls somewhere"),
    (nn.LeakyReLU(-0.5), ("Node 'extra0' (LeakyReLU) must have a slope of at least 0 to rise "
                         "everywhere, not -0.5")),
    (nn.ConvTranspose2d(2, 2, 1), "(ConvTranspose2d) is not something the machine can run;"),
    (nn.LayerNorm(6), "(LayerNorm) is not something the machine can run: it depends on the image"),
    (nn.Upsample(scale_factor=2), "(Upsample) is not something the machine can run;"),
    (nn.ReflectionPad2d(1), "(ReflectionPad2d) must pad with the constant 0, not 'reflect'"),
    (nn.ConstantPad2d(1, 2.0), "(ConstantPad2d) must pad with the constant 0, not 'constant' 2.0"),
    (nn.Sequential(nn.ZeroPad2d(1), nn.MaxPool2d(2)),
     "Node 'extra0.0' (padding) must be read by nothing but convolutions; supported: "),
    (nn.AvgPool2d(3, 3, 1, count_include_pad=False),
     "(AvgPool2d) count_include_pad must be true with padding, not False"),
    (nn.AvgPool2d(2, divisor_override=3), "divisor_override must be the size of the window, not 3"),
    (nn.MaxPool2d(2, dilation=2), "(MaxPool2d) dilation must be 1, not (2, 2)"),
])
def test_modules_beyond_the_machine_are_named(module, message):
    model = nn.Sequential(OrderedDict(first=nn.Conv2d(1, 2, 3), extra0=module, act=nn.ReLU(),
                                      last=nn.Conv2d(2, 2, 1)))
    with pytest.raises(FrontendError) as caught:
        quantize_(model, SCHEME, in_shape=SHAPE)
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert type(model.first) is nn.Conv2d


def test_a_layer_that_computes_something_else_is_not_replaced():
    class Standardized(nn.Conv2d):
        def forward(self, x):
            return super().forward(x - x.mean())

    with pytest.raises(FrontendError, match="^Node '0.mean' .mean. must average over all pixels, "
                                            "and nothing else, not over axes "):
        quantize_(nn.Sequential(Standardized(1, 2, 3)), SCHEME, in_shape=SHAPE)


class Joined(nn.Module):
    def __init__(self, after):
        super().__init__()
        self.one, self.two, self.last = nn.Conv2d(1, 2, 1), nn.Conv2d(1, 2, 1), nn.Conv2d(4, 2, 1)
        self.after = after

    def forward(self, x):
        return self.last(self.after(torch.cat([self.one(x), self.two(x)], 1)))


@pytest.mark.parametrize("after, message", [
    (nn.BatchNorm2d(4), "Node 'after' (batch_norm) must not read a concatenation: only a "),
    (nn.Sequential(nn.ReLU(), nn.Conv2d(4, 4, 1, groups=2)),
     "Node 'after.1' (convolution) groups must be 1 over a concatenation, not 2")])
def test_what_cannot_read_a_concatenation_is_named(after, message):
    with pytest.raises(FrontendError) as caught:
        quantize_(Joined(after), SCHEME, in_shape=SHAPE)
    assert message in str(caught.value)


def test_many_terms_and_wide_codes_are_refused():
    class Wide(nn.Module):
        def __init__(self, count):
            super().__init__()
            self.parts = nn.ModuleList(nn.Conv2d(1, 1, 1) for _ in range(count))

        def forward(self, x):
            return sum((part(x) for part in self.parts[1:]), self.parts[0](x))

    quantize_(Wide(15), SCHEME, in_shape=SHAPE)
    with pytest.raises(FrontendError, match="^Layer 'parts.0' must sum at most 15 maps, not 16$"):
        quantize_(Wide(16), SCHEME, in_shape=SHAPE)


def test_the_front_door_asks_too():
    with pytest.raises(FrontendError, match="it falls somewhere"):
        xnorloom.quantize_(chain(nn.GELU()), SCHEME, in_shape=SHAPE)


def test_a_network_for_torch_only_is_refused_when_it_is_lowered():
    model = quantize_(chain(), SCHEME, in_shape=SHAPE, torch_only=True,
                      filter_fn=lambda module, name: name != "last")
    assert torch.isfinite(model(torch.rand(2, *SHAPE))).all()
    with pytest.raises(FrontendError, match="^Node 'last' .linear. must be quantized: "):
        lower(model)
