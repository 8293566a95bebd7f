"""The networks: shapes, quantization in every scheme, one step of training, what compiles."""

import copy
import dataclasses

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from xnorloom.sw import data
from xnorloom.sw.data import DataInfo
from xnorloom.sw.ops.layers import QuantConv2d, QuantLinear
from xnorloom.sw.passes.check import check_network
from xnorloom.sw.passes.pipeline import lower_model
from xnorloom.sw.quantizers import SCHEMES
from xnorloom.sw.quantizers.base import ActivationQuantizer
from xnorloom.sw.quantizers.sawb import SawbWeight
from xnorloom.sw.training import nets

DATA = {
    "digits": data.info("digits"),
    "mnist": DataInfo("mnist:x", (1, 28, 28), 10, 8, 1 / 255),
    "cifar10": DataInfo("cifar10:x", (3, 32, 32), 10, 8, 1 / 255),
}
WIDTHS = {"mlp": 16, "cnn": 4, "cnv": 4, "vgg": 4, "resnet": 4, "resnet18": 4, "mobilenet": 4}


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
    ("mlp", 26_378, 3), ("cnn", 66_154, 4), ("cnv", 1_546_698, 9), ("vgg", 4_660_106, 7),
    ("resnet", 78_042, 10), ("resnet18", 11_173_962, 21), ("mobilenet", 19_114, 10)])
def test_full_sizes(net, parameters, layers):
    about = DATA["digits"] if net in ("mlp", "cnn") else DATA["cifar10"]
    with torch.device("meta"):
        model = nets.NETS[net](about)
    assert sum(each.numel() for each in model.parameters()) == parameters
    assert sum(isinstance(each, (nn.Conv2d, nn.Linear)) for each in model.modules()) == layers


def test_cnv_is_finn_s():
    model = nets.cnv(DATA["cifar10"])
    shapes = [tuple(each.weight.shape) for each in model.modules()
              if isinstance(each, (nn.Conv2d, nn.Linear))]
    assert shapes == [(64, 3, 3, 3), (64, 64, 3, 3), (128, 64, 3, 3), (128, 128, 3, 3),
                      (256, 128, 3, 3), (256, 256, 3, 3), (512, 256), (512, 512), (10, 512)]
    assert all(each.padding == (0, 0) for each in model.modules() if isinstance(each, nn.Conv2d))
    small = [each.padding for each in nets.cnv(DATA["mnist"]).modules()
             if isinstance(each, nn.Conv2d)]
    assert small == [(1, 1)] * 2 + [(0, 0)] * 4


def source(model, node):
    """The quantizer that the first part of what a layer reads comes from."""
    return model.sources(node)[0][1]


@pytest.mark.parametrize("scheme", sorted(SCHEMES))
@pytest.mark.parametrize("net", nets.NETS)
def test_every_net_trains_a_step_in_every_scheme(net, scheme):
    torch.manual_seed(0)
    about = dataclasses.replace(DATA["cifar10"], in_shape=(3, 16, 16))
    float_model = nets.NETS[net](about, width=WIDTHS[net])
    model = nets.prepare(copy.deepcopy(float_model), scheme, about)
    matrices = [each for each in model.modules() if isinstance(each, (QuantConv2d, QuantLinear))]
    assert not any(type(each) in (nn.Conv2d, nn.Linear, nn.ReLU) for each in model.modules())
    first = next(node for node in model.graph.nodes if "pads" in node.attributes)
    assert model.module(first) is matrices[0] and source(model, first) is model.input_quantizer
    for edge in (matrices[0], matrices[-1]):
        assert isinstance(edge.weight_quantizer, SawbWeight) and edge.weight_quantizer.bits == 8
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    F.cross_entropy(model(images(about)), torch.tensor([1, 2])).backward()
    optimizer.step()
    assert all(torch.isfinite(each).all() for each in model.parameters())
    assert all(each.weight.grad is not None for each in matrices)
    assert torch.isfinite(model.eval()(images(about))).all()


def test_every_activation_of_a_resnet_is_its_own():
    model = nets.prepare(nets.resnet18(DATA["cifar10"], width=2), "pact-sawb-w2a2",
                         DATA["cifar10"])
    assert sum(isinstance(each, ActivationQuantizer) for each in model.modules()) == 17 + 1
    block, before = model.stage2[0], model.stage1[1].act2
    reads = {node.module: source(model, node) for node in model.graph.nodes
             if "pads" in node.attributes}
    assert reads["stage2.0.conv1"] is reads["stage2.0.shortcut.0"] is before
    assert reads["stage2.0.conv2"] is block.act1 and reads["linear"] is model.stage4[1].act2


@pytest.mark.parametrize("about", DATA.values(), ids=DATA)
@pytest.mark.parametrize("net", nets.NETS)
@pytest.mark.parametrize("scheme", ["lsbq-w1a2", "pact-sawb-w2a2"])
def test_every_net_becomes_integers_for_every_data_set(net, about, scheme):
    torch.manual_seed(0)
    model = nets.prepare(nets.NETS[net](about, width=2), scheme, about)
    check_network(model)
    for _ in range(3):
        model(images(about))
    network, _snapped = lower_model(model.eval())
    assert network.layers[-1].out_shape == (about.classes, 1, 1)


def test_the_residual_network_has_shortcuts_and_pools_of_both_kinds():
    model = nets.prepare(nets.resnet(DATA["digits"], width=4), "pact-sawb-w2a2")
    network, _snapped = lower_model(model.eval())
    layers = {layer.name: layer for layer in network.layers}
    assert [term.source for term in layers["stage1.0.conv2"].terms] == ["stage1.0.conv1", "conv1"]
    assert layers["stage1.0.conv2"].terms[1].blocks == 4
    assert [term.kernel for term in layers["stage2.0.conv2"].terms] == [(3, 3), (1, 1)]
    assert layers["stage1.0.conv2"].pool.kind == "max"
    assert layers["stage3.0.conv2"].pool.kind == "sum"
    assert layers["stage3.0.conv2"].format.planes == 4


def test_a_mobile_net_has_as_many_blocks_as_channels():
    model = nets.prepare(nets.mobilenet(DATA["digits"], width=4), "pact-sawb-w2a2")
    network, _snapped = lower_model(model.eval())
    blocks = {layer.name: layer.terms[0].blocks for layer in network.layers}
    assert blocks["conv2d"] == 4 and blocks["conv3d"] == 8 and blocks["conv3p"] == 1


def test_an_mlp_reads_vectors():
    about = DATA["mnist"]
    model = nets.prepare(nets.mlp(about, width=4), "pact-sawb-w2a2", about)
    network, _snapped = lower_model(model.eval())
    assert network.in_shape == (28 * 28, 1, 1) and network.layers[0].terms[0].kernel == (1, 1)
