import copy

import numpy as np
import pytest
import torch
from torch import nn

from xnorloom.sw.passes.quantize import quantize_
from xnorloom.sw.passes.snap import snap
from xnorloom.sw.quantizers.syq import SyqConfig, SyqWeight, subgroup_means, syq_codes

SUBGROUPS = ("pixel", "row", "layer")


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def spread(quantizer, kernel):
    """Scale of every tap, from the definition of the subgroups."""
    height, width = kernel.shape[2:]
    alpha = quantizer.alpha.detach()
    taps = {"pixel": lambda i, j: i * width + j, "row": lambda i, j: i, "layer": lambda i, j: 0}
    return torch.stack([torch.stack([alpha[taps[quantizer.grouping](i, j)] for j in range(width)])
                        for i in range(height)])


def test_codes():
    kernel = torch.tensor([-2.0, -0.05, 0.0, 0.1, 0.1001, 2.0])
    assert syq_codes(kernel, "ternary", 0.05).tolist() == [-1, 0, 0, 1, 1, 1]
    assert syq_codes(kernel, "ternary", 0.0).tolist() == [-1, -1, 0, 1, 1, 1]
    assert syq_codes(kernel, "binary").tolist() == [-1, -1, 1, 1, 1, 1]


@pytest.mark.parametrize("subgroup, axes", [("pixel", (0, 1)), ("row", (0, 1, 3)),
                                            ("layer", (0, 1, 2, 3))])
def test_scales_start_at_the_mean_of_their_subgroup(subgroup, axes):
    kernel = normal(5, 4, 3, 2)
    wanted = kernel.double().abs().mean(dim=axes).flatten()
    torch.testing.assert_close(subgroup_means(kernel, subgroup), wanted)
    alpha = SyqWeight(kernel, subgroup).alpha
    assert alpha.dtype == torch.float32 and alpha.shape == wanted.shape
    torch.testing.assert_close(alpha.detach().double(), wanted, rtol=1e-6, atol=0)


@pytest.mark.parametrize("subgroup", SUBGROUPS)
@pytest.mark.parametrize("weights, eta", [("binary", 0.05), ("ternary", 0.05), ("ternary", 0.3)])
def test_values_and_gradients(subgroup, weights, eta):
    kernel = normal(5, 4, 3, 3).requires_grad_()
    quantizer = SyqWeight(kernel, subgroup, weights, eta)
    upstream = normal(5, 4, 3, 3, seed=1)
    values = quantizer(kernel)
    values.backward(upstream)
    codes, alpha = syq_codes(kernel.detach(), weights, eta), spread(quantizer, kernel)
    np.testing.assert_array_equal(values.detach(), codes * alpha)
    above = codes != 0
    np.testing.assert_array_equal(kernel.grad, torch.where(above, alpha * upstream, upstream))
    per_tap = (upstream * codes).sum(dim=(0, 1))
    wanted = {"pixel": per_tap.flatten(), "row": per_tap.sum(dim=1),
              "layer": per_tap.sum().reshape(1)}[subgroup]
    torch.testing.assert_close(quantizer.alpha.grad, wanted, rtol=1e-5, atol=1e-5)
    assert len(codes.unique()) == quantizer.levels


@pytest.mark.parametrize("subgroup", SUBGROUPS)
@pytest.mark.parametrize("weights, planes", [("binary", 1), ("ternary", 2)])
def test_planes_reconstruct_the_float_weight(subgroup, weights, planes):
    kernel = normal(5, 4, 3, 2)
    quantizer = SyqWeight(kernel, subgroup, weights)
    with torch.no_grad():
        quantizer.alpha.copy_(normal(len(quantizer.alpha), seed=2))
    found = quantizer.planes(kernel)
    assert found.count == planes and found.grouping == subgroup and found.offset == 0
    np.testing.assert_array_equal(found.reconstruct().astype(np.float32),
                                  quantizer(kernel).detach())


@pytest.mark.parametrize("weights", ["binary", "ternary"])
def test_zero_weights_stay_zero_and_can_leave_it(weights):
    weight = torch.zeros(3, 2, 2, 2, requires_grad=True)
    quantizer = SyqWeight(weight, "pixel", weights)
    values = quantizer(weight)
    values.sum().backward()
    assert not values.any() and not quantizer.planes(weight).reconstruct().any()
    assert (weight.grad == 1).all()


@pytest.mark.parametrize("value", [0.7, -0.7])
@pytest.mark.parametrize("weights", ["binary", "ternary"])
def test_equal_weights_are_kept(value, weights):
    weight = torch.full((2, 3, 3, 3), value)
    torch.testing.assert_close(SyqWeight(weight, "row", weights)(weight).detach(), weight)


def test_scales_travel_with_the_state():
    kernel = normal(4, 3, 3, 3)
    quantizer, other = SyqWeight(kernel), SyqWeight(torch.zeros_like(kernel))
    other.load_state_dict(quantizer.state_dict())
    assert torch.equal(other(kernel), quantizer(kernel))


def small_network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Hardtanh(),
        nn.Conv2d(4, 6, 3, stride=2, padding=1), nn.BatchNorm2d(6), nn.Hardtanh(),
        nn.Conv2d(6, 5, 1), nn.BatchNorm2d(5), nn.Hardtanh(), nn.Flatten(), nn.Linear(80, 4))


def test_a_layer_without_such_groups_has_one_scale():
    model = quantize_(small_network(), SyqConfig(subgroup="row", edge_bits=None),
                      in_shape=(1, 8, 8))
    quantizers = [module for module in model.modules() if isinstance(module, SyqWeight)]
    assert [each.grouping for each in quantizers] == ["row", "row", "layer", "layer"]


@pytest.mark.parametrize("options", [
    {"subgroup": "pixel"},
    {"subgroup": "row", "weights": "binary", "activation_bits": 2, "fraction_bits": 1},
    {"subgroup": "pixel", "activation_bits": 3, "fraction_bits": 2, "signed_activations": True}])
def test_snapping_changes_little(options):
    model = quantize_(small_network(), SyqConfig(**options), in_shape=(1, 8, 8))
    images = torch.rand(32, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    model.train()
    for _ in range(20):
        model(images)
    before = model.eval()(images).detach()
    snapped = snap(copy.deepcopy(model))
    close = (snapped(images) - before).abs().amax(dim=1) < 1e-2 * float(before.abs().max())
    assert close.float().mean() > 0.7


@pytest.mark.parametrize("make, message", [
    (lambda: SyqWeight(torch.ones(3, 4), "pixel"),
     "SyqWeight subgroup must be 'layer' for a kernel with a single pixel, not 'pixel'"),
    (lambda: SyqWeight(torch.ones(3, 4, 1, 5), "row"),
     "SyqWeight subgroup must be 'layer' for a kernel with a single row, not 'row'"),
    (lambda: SyqWeight(torch.ones(3, 4), "column"),
     "SyqWeight subgroup must be one of pixel, row, layer, not 'column'"),
    (lambda: SyqWeight(torch.ones(3, 4), "layer", "quaternary"),
     "SyqWeight weights must be one of binary, ternary, not 'quaternary'"),
    (lambda: SyqWeight(torch.ones(3, 4), "layer", eta=1.5),
     "SyqWeight eta must be from 0 to 1, not 1.5"),
    (lambda: SyqWeight(torch.ones(0, 4), "layer"),
     "weight must not be empty, but has shape (0, 4)"),
    (lambda: SyqWeight(torch.tensor([[1.0, torch.inf]]), "layer"),
     "weight must be finite, not inf"),
    (lambda: SyqConfig(signed_activations=True).activation_quantizer(),
     "SyqConfig fraction_bits must be given for signed activations, not None"),
])
def test_options_out_of_range(make, message):
    with pytest.raises(ValueError) as caught:
        make()
    assert str(caught.value) == message
