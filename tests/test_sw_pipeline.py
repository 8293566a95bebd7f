"""The passes in a row: what is printed, and that a wrong pass does not go unnoticed."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from tests.graphs import KINDS, random_net
from xnorloom.sw.graph.export import export
from xnorloom.sw.graph.text import parse
from xnorloom.sw.passes.golden import GoldenError, check_codes, check_float, check_fused
from xnorloom.sw.passes.lower import lower
from xnorloom.sw.passes.normalize import normalize
from xnorloom.sw.passes.pipeline import PASSES, lower_model
from xnorloom.sw.passes.quantize import quantize_
from xnorloom.sw.passes.snap import snap

SHAPE = (1, 8, 8)


def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.MaxPool2d(2), nn.ReLU(),
                         nn.Conv2d(4, 3, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(27, 3),
                         nn.Softmax(1))


def trained(**options):
    network = quantize_(model(), "pact-sawb-w2a2", in_shape=SHAPE, **options)
    for each in network.modules():
        if hasattr(each, "alpha"):
            nn.init.constant_(each.alpha, 1.0)
    for _ in range(10):
        network(torch.rand(8, *SHAPE))
    return network.eval()


def test_every_pass_can_be_printed(tmp_path):
    network = trained(dump=tmp_path)
    lower_model(network, dump=tmp_path)
    texts = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert sorted(texts) == [f"{number}-{name}.txt" for number, name in enumerate(PASSES)]
    assert parse(texts["2-quantize.txt"]) == network.graph
    assert parse(texts["0-import.txt"]) == export(model(), SHAPE)[0]
    assert "max pool (2, 2)" in texts["3-fuse.txt"]
    assert "host: softmax, result (3,)" in texts["5-lower.txt"]
    assert texts["4-snap.txt"].count("fraction bits") == 3


def test_a_snapped_model_is_lowered_without_its_graph(tmp_path):
    snapped = snap(trained())
    network, same = lower_model(snapped, dump=tmp_path, name="x", info={"a": 1})
    assert same is snapped and network.name == "x" and network.info == {"a": 1}
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "3-fuse.txt", "4-snap.txt", "5-lower.txt"]


def test_a_wrong_rewriting_of_the_float_graph_is_noticed():
    graph, state = export(model(), SHAPE)
    after = normalize(graph)
    check_float("normalize", graph, after, state)
    wrong = after.rebuilt([dataclasses.replace(node, op="tanh") if node.op == "relu" else node
                           for node in after.nodes])
    with pytest.raises(GoldenError, match="^Pass 'normalize' changed a value of 'result' by "):
        check_float("normalize", graph, wrong, state)


def test_a_wrong_scale_is_noticed():
    network = trained()
    snapped = snap(network)
    check_fused(network, snapped)
    snapped.layers[1].terms[0].kernels *= 1.1
    with pytest.raises(GoldenError, match="^Pass 'snap' changed a value of '4' by "):
        check_fused(network, snapped)


def test_rounding_a_bias_is_no_fault():
    torch.manual_seed(0)
    network = quantize_(nn.Sequential(nn.Conv2d(1, 4, 3), nn.MaxPool2d(2)), "pact-sawb-w4a4",
                        in_shape=SHAPE)
    # Scales of 8, 4, 2 and 1 units are exact, and what they leave in the bias is 7.5.
    nn.init.constant_(network.module(network.graph["0.quantizer"]).alpha, 15 / 16)
    lowered, snapped = lower_model(network.eval(), scale_bits=6)
    assert snapped.report[-1]["error"] == 0
    assert set(np.abs(lowered.layers[-1].terms[0].scales).flat) == {1, 2, 4, 8}


@pytest.mark.parametrize("change", [
    lambda layer: {"biases": layer.biases + 2 ** 14},
    lambda layer: {"terms": (dataclasses.replace(layer.terms[0], scales=layer.terms[0].scales * 2),
                             )},
    lambda layer: {"pool": dataclasses.replace(layer.pool, window=(1, 1))}])
def test_a_wrong_integer_is_noticed(change):
    snapped = snap(trained())
    network = lower(snapped)
    check_codes(snapped, network)
    first, *rest = network.layers
    wrong = dataclasses.replace(
        network, layers=(dataclasses.replace(first, **change(first)), *rest))
    with pytest.raises(GoldenError, match="^Pass 'lower' changed [0-9]+ of [0-9]+ results of layer "
                                          "'0'$"):
        check_codes(snapped, wrong)


@pytest.mark.parametrize("seed", range(8))
def test_normalization_keeps_the_meaning_of_random_networks(seed):
    net = random_net(seed, KINDS[seed % len(KINDS)])
    graph, state = export(net, net.in_shape)
    check_float("normalize", graph, normalize(graph), state)


def test_what_the_host_computes_is_the_network_s_end():
    network = trained()
    lowered, snapped = lower_model(network)
    images = torch.rand(5, *SHAPE)
    outputs = snapped(images)
    np.testing.assert_allclose(outputs.sum(dim=1), 1)
    raw = snapped.trace(images)["7"] * 2.0 ** -lowered.layers[-1].frac_bits
    np.testing.assert_array_equal(lowered.head.apply(raw), outputs)
