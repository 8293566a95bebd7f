import json

import numpy as np
import pytest
import torch
from torch import nn

from tests.single import SingleLayer
from xnorloom.hw.spec.config import PRESETS
from xnorloom.sw.bitplanes import BitPlanes, group_index
from xnorloom.sw.graph.evaluate import evaluate
from xnorloom.sw.passes.lower import lower
from xnorloom.sw.passes.quantize import quantize_
from xnorloom.sw.passes.snap import Affine, SnapError, snap
from xnorloom.sw.passes.staircase import StaircaseError, search
from xnorloom.sw.quantizers.lsbq import LsbqConfig, LsbqWeight
from xnorloom.sw.quantizers.pact import PactActivation
from xnorloom.sw.quantizers.planes import binary_planes, unsigned_codebook
from xnorloom.sw.quantizers.sawb import PactSawbConfig

MACHINE = PRESETS["tiny"]


def random_weights(rng, planes, grouping="layer", shape=(3, 5, 3, 2), channels=None):
    groups = {"layer": 1, "row": shape[2], "pixel": shape[2] * shape[3]}[grouping]
    scales = rng.uniform(0.05, 1, size=(planes, channels or shape[0], groups))
    return BitPlanes(rng.integers(0, 2, size=(planes, *shape)), scales, grouping=grouping)


def signed_codebook(rng, bits):
    scales = np.sort(rng.uniform(0.1, 1, size=bits))[::-1] * 4.0 ** -np.arange(bits)
    return BitPlanes(binary_planes(bits), scales.reshape(-1, 1, 1))


def exact_value(layer, codes):
    """Value of a layer from its codes in unsnapped arithmetic, by the definition of BitPlanes."""
    levels = torch.from_numpy(layer.codebook.reconstruct())
    (vertical, horizontal), weights = layer.padding, torch.from_numpy(layer.weights.reconstruct())
    padded = nn.functional.pad(codes, (horizontal, horizontal, vertical, vertical),
                               value=layer.pad_code)
    return nn.functional.conv2d(levels[padded], weights, stride=layer.stride)


@pytest.mark.parametrize("grouping", ["layer", "row", "pixel"])
@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("weight_planes, bits", [(1, 1), (1, 2), (2, 2), (3, 1), (2, 5)])
def test_snapped_values_are_close_to_the_unsnapped_ones(grouping, signed, weight_planes, bits):
    rng = np.random.default_rng([weight_planes, bits, signed])
    book = signed_codebook(rng, bits) if signed else unsigned_codebook(bits, 0.3)
    weights = random_weights(rng, weight_planes, grouping)
    bias = rng.normal(size=3)
    layer = SingleLayer("a", weights, book, pad_code=2 ** (bits - 1) - 1 if signed else 0,
                         bias=bias, stride=(2, 1), padding=(1, 2))
    codes = torch.from_numpy(rng.integers(0, 2 ** bits, size=(4, 5, 7, 6)))
    wanted = exact_value(layer, codes) + torch.from_numpy(bias)[:, None, None]
    largest = float(wanted.abs().max())
    np.testing.assert_allclose(layer(codes), wanted, atol=2e-3 * largest)
    assert np.abs(layer.scales).max() <= 2 ** 15 - 1
    assert np.abs(layer.scales).max() > 2 ** 13


def test_unsigned_code_zero_contributes_exactly_nothing():
    rng = np.random.default_rng(0)
    layer = SingleLayer("a", random_weights(rng, 2, "pixel"), unsigned_codebook(3, 0.3),
                         padding=(2, 1), bias=np.array([0.0, 0.5, -0.25]))
    values = layer(torch.zeros(1, 5, 4, 4, dtype=torch.int64))
    np.testing.assert_array_equal(
        values, np.broadcast_to(np.array([0, 0.5, -0.25])[:, None, None], values.shape))


@pytest.mark.parametrize("signed", [True, False])
def test_accumulators_follow_the_machine_formula(signed):
    rng = np.random.default_rng(4)
    book = signed_codebook(rng, 2) if signed else unsigned_codebook(2, 0.7)
    weights = random_weights(rng, 2, "row", shape=(3, 4, 2, 3))
    layer = SingleLayer("a", weights, book, bias=rng.normal(size=3))
    codes = rng.integers(0, 4, size=(6, 4, 2, 3))
    differ = book.planes[:, codes][:, None, :, None] != weights.planes[None, :, None]
    taps = group_index("row", (2, 3))
    counts = np.stack([differ[..., taps == group].sum(axis=(-2, -1)) for group in range(2)])
    counts = counts.transpose(3, 4, 0, 1, 2)
    accumulators = layer.biases + np.einsum("nmgij,mgij->nm", counts, layer.scales)
    values = layer(torch.from_numpy(codes))[:, :, 0, 0].numpy()
    np.testing.assert_array_equal(values * 2.0 ** layer.frac_bits, accumulators)
    assert (accumulators >= layer.low).all() and (accumulators <= layer.high).all()


def test_powers_of_two_stay_exact():
    rng = np.random.default_rng(5)
    scales = np.array([4.0, 2.0, 1.0]).reshape(-1, 1, 1) * 0.0137
    weights = BitPlanes(rng.integers(0, 2, size=(3, 2, 3, 3, 3)), scales)
    found = SingleLayer("a", weights, unsigned_codebook(3, 1 / 16)).scales[:, 0]
    np.testing.assert_array_equal(found[:, :-1], 2 * found[:, 1:])
    np.testing.assert_array_equal(found[:, :, :-1], 2 * found[:, :, 1:])
    assert (found[:, -1, -1] < 0).all()


def test_equal_scales_stay_equal():
    weights = BitPlanes(np.ones((2, 3, 4, 1, 1)), np.full((2, 3, 1), 0.123))
    found = SingleLayer("a", weights, signed_codebook(np.random.default_rng(0), 2)).scales
    np.testing.assert_array_equal(found[..., 0], found[..., 1])


def test_zero_weights_are_zero():
    weights = BitPlanes(np.ones((1, 2, 3, 1, 1)), np.zeros((1, 2, 1)))
    layer = SingleLayer("a", weights, unsigned_codebook(2, 1.0), bias=np.array([0.0, 3.0]))
    assert layer(torch.full((1, 3, 1, 1), 3))[0, :, 0, 0].tolist() == [0.0, 3.0]


def test_narrow_accumulators_cost_grid_bits_until_nothing_is_left():
    rng = np.random.default_rng(6)
    weights, book = random_weights(rng, 1, shape=(4, 16, 3, 3)), unsigned_codebook(2, 1.0)
    wide, narrow = (SingleLayer("a", weights, book, acc_bits=bits) for bits in (32, 16))
    assert narrow.frac_bits < wide.frac_bits
    assert max(-narrow.low.min(), narrow.high.max()) < 2 ** 15
    with pytest.raises(SnapError, match="^Layer 'a' must keep its scales above 0 with accumulators "
                                        "of 7 bits: [1-9][0-9]* bits are missing$"):
        SingleLayer("a", weights, book, acc_bits=7)


def test_weights_with_an_offset_are_refused():
    weights = BitPlanes(np.ones((1, 2, 3, 1, 1)), np.ones((1, 2, 1)), offset=0.5)
    with pytest.raises(SnapError, match="^Layer 'a' weights must have offset 0, not 0.5$"):
        SingleLayer("a", weights, unsigned_codebook(2, 1.0))


def test_affine_is_a_batch_norm():
    norm = nn.BatchNorm2d(4)
    with torch.no_grad():
        for each in (norm.weight, norm.bias, norm.running_mean):
            each.normal_(generator=torch.Generator().manual_seed(0))
        norm.running_var.uniform_(0.1, 2, generator=torch.Generator().manual_seed(1))
    x = torch.randn(2, 4, 3, 3, generator=torch.Generator().manual_seed(2)).double()
    affine = Affine.from_batch_norm(norm)
    np.testing.assert_allclose(affine(x), norm.eval().double()(x).detach(), rtol=1e-12)
    assert torch.equal(affine(x)[:, :, 1, 2], affine(x[:, :, 1, 2]))


def trained_like(scheme):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU(),
                          nn.Conv2d(6, 5, 3, stride=2, padding=1), nn.BatchNorm2d(5), nn.ReLU(),
                          nn.Flatten(), nn.Linear(80, 4))
    model = quantize_(model, scheme, in_shape=(1, 8, 8), input_bits=5, input_step=1 / 16)
    images = torch.randint(0, 17, (64, 1, 8, 8)) / 16
    for each in model.modules():
        if isinstance(each, PactActivation):
            with torch.no_grad():
                each.alpha.fill_(1.5)
    for _ in range(30):
        model(images)
    return model.eval(), images


@pytest.mark.parametrize("scheme, share", [
    (LsbqConfig(edge_bits=None), 0.9), (PactSawbConfig(edge_bits=None), 0.9),
    ("lsbq-w1a2", 0.75), ("pact-sawb-w2a2", 0.9)])
def test_snapping_changes_little_and_leaves_the_model_alone(scheme, share):
    model, images = trained_like(scheme)
    before = model(images).detach()
    snapped = snap(model)
    logits = snapped(images)
    assert logits.dtype == torch.float64 and model[0].weight.dtype == torch.float32
    assert torch.equal(model(images), before)
    close = (logits - before).abs().amax(dim=1) < 1e-2 * float(before.abs().max())
    # Of the other images, a code beside a threshold went to its neighbour.
    assert close.float().mean() > share
    assert snap(snapped) is snapped and not snapped.train().training


@pytest.mark.parametrize("scheme", ["lsbq-w1a2", "pact-sawb-w2a2"])
def test_trace_holds_every_layer_as_integers(scheme):
    model, images = trained_like(scheme)
    snapped = snap(model)
    trace = snapped.trace(images.numpy())
    assert {name: each.shape for name, each in trace.items()} == {
        "0": (64, 6, 8, 8), "3": (64, 5, 4, 4), "7": (64, 4, 1, 1)}
    assert all(each.dtype == np.int64 for each in trace.values())
    assert set(np.unique(trace["0"])) <= {0, 1, 2, 3} and len(np.unique(trace["3"])) > 1
    frac_bits = snapped.layers[-1].integers.frac_bits
    np.testing.assert_array_equal(trace["7"][:, :, 0, 0] * 2.0 ** -frac_bits, snapped(images))
    assert not any(module._forward_hooks for module in snapped.modules())


def test_codes_are_those_of_the_quantized_model():
    model, images = trained_like("pact-sawb-w2a2")
    codes = snap(model).trace(images)["0"]
    wanted = model[2].encode(model.values(images)["1"])
    assert (codes == wanted.numpy()).mean() > 0.999


def test_a_model_never_quantized_is_refused():
    with pytest.raises(ValueError, match="^Model Sequential must be quantized: pass it through "
                                         "quantize_ first, and use what that returns$"):
        snap(nn.Sequential(nn.Linear(2, 2)))


def test_search_finds_every_step():
    steps = np.array([[-5, 0, 7], [3, 3, 100], [-200, -90, 4]])

    def codes(accumulators):
        return (steps.T[:, None] <= accumulators).sum(axis=0)

    low, high = np.array([-100, -100, -80]), np.array([90, 90, 90])
    found = search(codes, low, high, 4)
    np.testing.assert_array_equal(found, [[-5, 0, 7], [3, 3, 91], [-80, -80, 4]])


def test_search_copes_with_the_widest_range():
    limit = np.array([2 ** 31 - 2])
    found = search(lambda accumulators: (accumulators >= 12345) * 1, -limit, limit, 2)
    assert found.tolist() == [[12345]]


def test_a_falling_function_is_refused():
    with pytest.raises(StaircaseError, match="^Codes must rise with the accumulator, but channel "
                                             "1 does not at -9$"):
        search(lambda accumulators: (accumulators * np.array([1, -1]) > 2) * 1,
               np.array([-9, -9]), np.array([9, 9]), 2)


def as_integers(snapped, images):
    """Results of the integer network, which must be those of the snapped one."""
    network, traced = lower(snapped), snapped.trace(images)
    results = evaluate(network, network.encode(images.reshape(-1, *network.in_shape)))
    for layer in network.layers:
        np.testing.assert_array_equal(results[layer.name], traced[layer.name])
    return results


def test_a_last_layer_of_zero_weights_gives_its_bias():
    model = nn.Sequential(nn.Linear(4, 3))
    with torch.no_grad():
        model[0].weight.zero_()
        model[0].bias.copy_(torch.tensor([0.1, 0.4, 0.2]))
    model = quantize_(model, "pact-sawb-w2a2", in_shape=(4,))
    snapped = snap(model.eval(), MACHINE.scale_bits, MACHINE.acc_bits)
    images = np.random.default_rng(0).random((3, 4))
    outputs = as_integers(snapped, images)["0"] * snapped.layers[0].grid[:, None, None]
    np.testing.assert_array_equal(outputs[:, :, 0, 0], snapped(images))
    np.testing.assert_allclose(snapped(images), [[0.1, 0.4, 0.2]] * 3, atol=1e-8)


@pytest.mark.parametrize("dead", [slice(None), slice(1, 3)])
def test_hidden_channels_of_zero_weights_give_the_code_of_their_bias(dead):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    with torch.no_grad():
        model[0].weight[dead] = 0
        model[0].bias.copy_(torch.tensor([0.3, 0.49, 0.1, 0.74]))
    model = quantize_(model, PactSawbConfig(edge_bits=None), in_shape=(4,))
    nn.init.constant_(model[1].alpha, 0.75)
    if dead != slice(None):
        # One scale for all channels: a channel is dead if no plane weighs anything in it.
        model[0].weight_quantizer = LsbqWeight("ls1")
    snapped = snap(model.eval(), MACHINE.scale_bits, MACHINE.acc_bits)
    codes = as_integers(snapped, np.random.default_rng(0).random((3, 4)))["0"][:, :, 0, 0]
    np.testing.assert_array_equal(codes[:, dead], [[1, 2, 0, 3][dead]] * 3)


def magnitudes(values):
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(4, eps=1e-20, momentum=None)
    model = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1, bias=False), norm, nn.ReLU(),
                          nn.Conv2d(4, 2, 1)).double()
    with torch.no_grad():
        model[0].weight *= torch.tensor(values).reshape(-1, 1, 1, 1)
    model = quantize_(model, LsbqConfig(edge_bits=None), in_shape=(2, 8, 8), input_bits=4,
                      input_step=1 / 15)
    images = torch.randint(0, 16, (32, 2, 8, 8)).double() / 15
    for _ in range(60):
        model(images)
    return model.eval(), images


def test_small_channels_keep_their_codes():
    model, images = magnitudes([1, 1e-4, 1e-5, 1e-6])
    snapped = snap(model, MACHINE.scale_bits, MACHINE.acc_bits)
    wanted = model[2].encode(model.values(images)["1"])
    assert all(len(wanted[:, channel].unique()) == 4 for channel in range(4))
    np.testing.assert_array_equal(snapped.trace(images)["0"], wanted)
    as_integers(snapped, images[:3].numpy())
    first, last = snapped.report
    assert [first["name"], last["name"]] == ["0", "3"]
    assert np.ptp(first["frac_bits"]) >= 18 and isinstance(last["frac_bits"], int)
    assert first["lossy"] == [] and first["error"] < 2.0 ** -11


def test_a_loss_of_precision_is_reported_by_layer_and_channel():
    model, _images = magnitudes([1, 1, 1, 1])
    with torch.no_grad():
        model[3].weight[1] *= 1e-4
    first, last = snap(model).report
    assert first["lossy"] == [] and last["lossy"] == [1]
    assert last["error"] > last["limit"] == 2.0 ** -8
    assert json.loads(json.dumps([first, last])) == [first, last]
