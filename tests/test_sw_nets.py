"""The networks: shapes, quantization in every scheme, one step of training, what compiles."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from xnorloom.sw.graph.trace import FrontendError

from xnorloom.hw.spec.config import PRESETS
from xnorloom.sw import data
from xnorloom.sw.data import DataInfo
from xnorloom.sw.machine.driver import Driver
from xnorloom.sw.machine.reference import ReferenceMachine
from xnorloom.sw.ops.layers import QuantConv2d, QuantLinear
from xnorloom.sw.passes.compiler import compile_network
from xnorloom.sw.passes.lower import lower
from xnorloom.sw.passes.snap import snap
from xnorloom.sw.quantizers import SCHEMES
from xnorloom.sw.quantizers.base import ActivationQuantizer
from xnorloom.sw.quantizers.sawb import SawbWeight
from xnorloom.sw.training import nets

DATA = {
    "digits": data.info("digits"),
    "mnist": DataInfo("mnist:x", (1, 28, 28), 10, 8, 1 / 255),
    "cifar10": DataInfo("cifar10:x", (3, 32, 32), 10, 8, 1 / 255),
}
WIDTHS = {"mlp": 16, "cnn": 4, "vgg": 4, "resnet18": 4}


def images(about, count=2):
    codes = torch.randint(0, 2 ** about.input_bits, (count, *about.in_shape))
    return codes * about.input_step


@pytest.mark.parametrize("about", DATA.values(), ids=DATA)
@pytest.mark.parametrize("net", nets.NETS)
def test_every_net_is_built_for_its_data(net, about):
    torch.manual_seed(0)
    model = nets.NETS[net](about, width=WIDTHS[net])
    assert model(images(about)).shape == (2, about.classes)


@pytest.mark.parametrize("net, parameters, layers", [
    ("mlp", 26_378, 3), ("cnn", 66_154, 4), ("vgg", 4_660_106, 7), ("resnet18", 11_173_962, 21)])
def test_full_sizes(net, parameters, layers):
    about = DATA["digits"] if net in ("mlp", "cnn") else DATA["cifar10"]
    with torch.device("meta"):
        model = nets.NETS[net](about)
    assert sum(each.numel() for each in model.parameters()) == parameters
    assert sum(isinstance(each, (nn.Conv2d, nn.Linear)) for each in model.modules()) == layers


@pytest.mark.parametrize("scheme", sorted(SCHEMES))
@pytest.mark.parametrize("net", nets.NETS)
def test_every_net_trains_a_step_in_every_scheme(net, scheme):
    torch.manual_seed(0)
    about = dataclasses.replace(DATA["cifar10"], in_shape=(3, 16, 16))
    float_model = nets.NETS[net](about, width=WIDTHS[net])
    model = nets.prepare(copy.deepcopy(float_model), scheme, about)
    matrices = [each for each in model.modules() if isinstance(each, (QuantConv2d, QuantLinear))]
    assert not any(type(each) in (nn.Conv2d, nn.Linear, nn.ReLU) for each in model.modules())
    assert [each.input_quantizer is not None for each in matrices] == [True] + [False] * (
        len(matrices) - 1)
    for edge in (matrices[0], matrices[-1]):
        assert isinstance(edge.weight_quantizer, SawbWeight) and edge.weight_quantizer.bits == 8
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    F.cross_entropy(model(images(about)), torch.tensor([1, 2])).backward()
    optimizer.step()
    assert all(torch.isfinite(each).all() for each in model.parameters())
    assert all(each.weight.grad is not None for each in matrices)
    assert torch.isfinite(model.eval()(images(about))).all()


def test_every_activation_of_a_resnet_is_its_own():
    model = nets.prepare(nets.resnet18(DATA["cifar10"], width=2), "pact-sawb-w2a2")
    assert sum(isinstance(each, ActivationQuantizer) for each in model.modules()) == 17 + 1
    block = model.stage2[0]
    assert block.conv1.source is block.shortcut[0].source is model.stage1[1].act2
    assert block.conv2.source is block.act1 and model.linear.source is model.stage4[1].act2


@pytest.mark.parametrize("net, fragment", [
    ("vgg", "Node 'pool1' (MaxPool2d) is not something the machine can run"),
    ("resnet18", "Node 'stage1.0.shortcut' (Identity) reads act1; branches are not supported")])
def test_what_does_not_run_on_the_machine_yet_is_named(net, fragment):
    about = DATA["cifar10"]
    model = nets.prepare(nets.NETS[net](about, width=2), "pact-sawb-w2a2", about)
    with pytest.raises(FrontendError) as caught:
        lower(model, about.in_shape)
    assert fragment in str(caught.value)


@pytest.mark.parametrize("about", [DATA["digits"], DATA["mnist"]], ids=["digits", "mnist"])
def test_an_mlp_runs_on_the_machine(about):
    torch.manual_seed(0)
    model = nets.prepare(nets.mlp(about), "lsbq-w1a2", about)
    pictures = images(about, 16)
    model(pictures)
    snapped = snap(model.eval())
    network = lower(snapped, about.in_shape)
    assert network.in_shape == (np.prod(about.in_shape), 1, 1)
    config = PRESETS["default"]
    driver = Driver(ReferenceMachine(config), compile_network(network, config))
    driver.load()
    result = driver.run(pictures.numpy(), observe=True)
    np.testing.assert_array_equal(result.outputs, snapped(pictures))
    for name, values in snapped.trace(pictures).items():
        sign = 1 if name != "linear3" else network.layers[-1].sign[:, None, None]
        np.testing.assert_array_equal(result.maps[name], values * sign, err_msg=name)
