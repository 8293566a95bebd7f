import copy

import numpy as np
import pytest
import torch
from torch import nn

from xnorloom.sw.graph.evaluate import evaluate
from xnorloom.sw.passes.lower import lower
from xnorloom.sw.passes.quantize import quantize_
from xnorloom.sw.passes.snap import SnapError, snap
from xnorloom.sw.quantizers.least_squares import METHODS, least_squares_scales
from xnorloom.sw.quantizers.lsbq import AVERAGES, LsbqActivation, LsbqConfig, LsbqWeight

PLANES = {"ls1": 1, "ls2": 2, "ternary": 2, "greedy-3": 3, "greedy-4": 4}


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def stored(method, *scales, **options):
    quantizer = LsbqActivation(method, **{"clamp": 4.0, **options})
    quantizer.scales.copy_(torch.tensor(scales))
    quantizer.batches += 1
    return quantizer.eval()


# Codes.

def test_ties_go_up():
    quantizer = stored("ls2", 2.0, 0.5)
    x = torch.tensor([-2.5, -2.0, -1.999, -0.001, -0.0, 0.0, 1.999, 2.0, 3.0])
    assert quantizer.encode(x).tolist() == [0, 1, 1, 1, 2, 2, 2, 3, 3]


def test_ternary_has_two_codes_for_zero_and_uses_all_four():
    quantizer = stored("ternary", 0.5, 0.5)
    assert quantizer.codebook().reconstruct().tolist() == [-1, 0, 0, 1]
    x = torch.tensor([-0.6, -0.5, -0.1, 0.0, 0.4, 0.5])
    assert quantizer.encode(x).tolist() == [0, 1, 1, 2, 2, 3]
    assert quantizer(x).tolist() == [-1, 0, 0, 0, 0, 1]
    assert quantizer.pad_value() == 0


def test_clip_comes_before_the_code():
    quantizer = stored("ls2", 2.5, 0.5, clamp=2.0)
    assert quantizer.encode(torch.tensor([-9.0, 9.0])).tolist() == [1, 2]


@pytest.mark.parametrize("method, scales", [
    ("ls1", (0.7,)), ("ls2", (0.9, 0.4)), ("ls2", (0.5, 0.5)), ("ls2", (0.5, 0.0)),
    ("greedy-3", (0.8, 0.48, 0.27)), ("greedy-4", (1.6, 0.8, 0.4, 0.2)),
    ("greedy-8", tuple(2.0 ** -power for power in range(8)))])
def test_codebook_rises_and_is_what_forward_puts_out(method, scales):
    quantizer = stored(method, *scales)
    book = quantizer.codebook()
    levels = book.reconstruct()
    assert book.offset == 0 and not book.planes[:, 0].any() and book.planes[:, -1].all()
    assert len(levels) == 2 ** quantizer.bits and np.allclose(levels, -levels[::-1])
    x = torch.linspace(-3, 3, 601)
    codes = quantizer.encode(x)
    assert (codes.diff() >= 0).all() and codes.dtype == torch.int64
    np.testing.assert_allclose(quantizer(x), levels[codes], rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(quantizer.levels(), levels, rtol=1e-6, atol=1e-7)
    assert quantizer.pad_code == quantizer.encode(torch.tensor(-1e-6))


# Gradients.

def derivative(method, x, scales):
    """The rule of every method as the paper has it, value by value."""
    def passes(z):
        return float(abs(z) <= 1)

    def sign(z):
        return 1 if z >= 0 else -1

    if method == "ls1":
        return scales[0] * passes(x)
    if method in ("ls2", "ternary"):
        outer = scales[0] * passes(x)
        return outer + scales[1] * passes(x - scales[0] * sign(x)) * (1 - outer)
    slope = quantized = 0.0
    for scale in scales:
        slope += scale * passes(x - quantized) * (1 - slope)
        quantized += scale * sign(x - quantized)
    return slope


VALUES = [-3.0, -1.9, -1.5, -0.5, 0.0, 0.4, 1.0, 1.2, 1.9, 2.5]


@pytest.mark.parametrize("method, scales", [
    ("ls1", (0.9,)), ("ls2", (0.8, 0.3)), ("ls2", (1.6, 0.7)), ("ternary", (0.6, 0.6)),
    ("greedy-3", (0.8, 0.5, 0.3)), ("greedy-4", (1.3, 0.7, 0.4, 0.2))])
def test_gradient_of_an_activation_is_that_of_the_paper(method, scales):
    x, g = torch.tensor(VALUES, requires_grad=True), random(len(VALUES))
    stored(method, *scales, clamp=2.0)(x).backward(g)
    expected = [derivative(method, value, scales) * (abs(value) <= 2) for value in VALUES]
    np.testing.assert_allclose(x.grad, expected * g.numpy(), rtol=1e-5)


@pytest.mark.parametrize("averages", ["off", "eval_only"])
def test_gradient_takes_the_scales_of_each_sample(averages):
    x, g = 2 * random(3, 4, 5), random(3, 4, 5, seed=1)
    x.requires_grad_()
    LsbqActivation("ls2", clamp=100.0, averages=averages)(x).backward(g)
    scales = least_squares_scales(x.flatten(1), "ls2").T.tolist()
    expected = [[derivative("ls2", value, own) for value in sample.flatten().tolist()]
                for sample, own in zip(x.detach(), scales, strict=True)]
    np.testing.assert_allclose(x.grad.flatten(1), expected * g.flatten(1).numpy(), rtol=1e-5)


@pytest.mark.parametrize("method", PLANES)
def test_gradient_of_a_weight_takes_the_scales_of_its_channel(method):
    weight, g = random(4, 3, 3, 3).requires_grad_(), random(4, 3, 3, 3, seed=1)
    quantizer = LsbqWeight(method)
    quantizer(weight).backward(g)
    scales = quantizer.planes(weight).scales[:, :, 0].T
    expected = [[derivative(method, value, own) for value in channel.flatten().tolist()]
                for channel, own in zip(weight.detach(), scales, strict=True)]
    np.testing.assert_allclose(weight.grad.flatten(1), expected * g.flatten(1).numpy(), rtol=1e-5)


# Averages.

@pytest.mark.parametrize("method", PLANES)
@pytest.mark.parametrize("averages", AVERAGES)
def test_modes_of_the_moving_average(method, averages):
    quantizer = LsbqActivation(method, clamp=10.0, momentum=0.75, averages=averages)
    batches = random(2, 3, 4, 5, 5)
    own = [least_squares_scales(batch.flatten(1), method) for batch in batches]
    after = [own[0].mean(dim=1), 0.75 * own[0].mean(dim=1) + 0.25 * own[1].mean(dim=1)]
    for batch, dynamic, average in zip(batches, own, after, strict=True):
        out = quantizer.train()(batch)
        if averages == "train_and_eval":
            assert torch.allclose(out, stored(method, *average, clamp=10.0)(batch))
        else:
            assert torch.allclose(out, one_by_one(method, batch, dynamic))
        expected = torch.zeros_like(average) if averages == "off" else average
        assert torch.allclose(quantizer.scales, expected.float())
        before = quantizer.scales.clone()
        evaluated = quantizer.eval()(batch)
        assert torch.equal(quantizer.scales, before)
        if averages == "off":
            assert torch.equal(evaluated, out)
        else:
            assert torch.allclose(evaluated, stored(method, *average, clamp=10.0)(batch))


def one_by_one(method, batch, scales):
    return torch.stack([stored(method, *each, clamp=10.0)(sample)
                        for sample, each in zip(batch, scales.T, strict=True)])


def test_scales_are_those_of_clipped_values():
    quantizer = LsbqActivation("ls1", clamp=2.0)
    quantizer(torch.tensor([[1.0, -1.0], [1.0, 9.0]]))
    assert quantizer.scales.tolist() == [1.25]


@pytest.mark.parametrize("averages", ["eval_only", "train_and_eval"])
def test_no_scales_before_the_first_batch(averages):
    with pytest.raises(ValueError, match="^LsbqActivation has no stored scales; run a batch in "
                                         "training mode$"):
        LsbqActivation(averages=averages).eval()(torch.zeros(3))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_activations_of_other_types(dtype):
    quantizer = LsbqActivation("ls2").to(dtype)
    x = random(2, 3, 4).to(dtype).requires_grad_()
    out = quantizer(x)
    out.sum().backward()
    assert out.dtype == x.grad.dtype == dtype and len(out.unique()) == 4


# Weights.

@pytest.mark.parametrize("method", PLANES)
@pytest.mark.parametrize("shape", [(6, 5, 3, 3), (4, 7), (3, 1)])
def test_weight_planes_reconstruct_the_float_weight(method, shape):
    quantizer, weight = LsbqWeight(method), random(*shape)
    planes, quantized = quantizer.planes(weight), quantizer(weight)
    assert planes.scales.shape == (PLANES[method], shape[0], 1)
    values = planes.reconstruct().reshape(shape)
    np.testing.assert_allclose(quantizer(weight.double()), values, rtol=1e-12)
    np.testing.assert_allclose(quantized, values, rtol=1e-6, atol=1e-7)
    for channel in planes.reconstruct().reshape(shape[0], -1):
        assert len(np.unique(channel)) <= quantizer.levels == METHODS[method].levels


def test_each_channel_has_its_own_scales():
    weight = torch.stack([torch.full((2, 3, 3), 0.5), torch.full((2, 3, 3), -4.0)])
    weight[1, 0] = 2.0
    assert LsbqWeight("ls1").planes(weight).scales[0, :, 0].tolist() == [0.5, 3.0]
    assert LsbqWeight("ls2").planes(weight).scales[..., 0].T.tolist() == [[0.5, 0], [3, 1]]
    np.testing.assert_array_equal(LsbqWeight("ls2").planes(weight).reconstruct(), weight)


# Networks.

def network(scheme, averaged=30, **options):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU(),
                          nn.Conv2d(6, 5, 3, stride=2, padding=1), nn.BatchNorm2d(5), nn.ReLU(),
                          nn.Flatten(), nn.Linear(80, 4))
    model = quantize_(model, scheme, in_shape=(1, 8, 8), input_bits=4, input_step=1 / 8,
                      **options)
    images = torch.randint(0, 16, (16, 1, 8, 8)) / 8
    for _ in range(averaged):
        model(images)
    return model.eval(), images


@pytest.mark.parametrize("weights", PLANES)
@pytest.mark.parametrize("activations", PLANES)
def test_any_weights_and_activations_become_integers(weights, activations):
    model, images = network(LsbqConfig(weights=weights, activations=activations))
    snapped = snap(model)
    lowered = lower(snapped, (1, 8, 8))
    found = evaluate(lowered, lowered.encode(images.numpy()))
    for name, codes in snapped.trace(images).items():
        np.testing.assert_array_equal(found[name], codes, err_msg=name)
    codes = np.unique(found["0"])
    assert codes.max() == 2 ** PLANES[activations] - 1 and len(codes) > PLANES[activations]


def test_scales_of_each_sample_stay_in_torch():
    with pytest.raises(SnapError, match="^Activation '2' cannot be snapped: "):
        network(LsbqConfig(averages="off"))
    model, images = network(LsbqConfig(averages="off"), torch_only=True)
    alone = torch.cat([model(images[index:index + 1]) for index in range(len(images))])
    assert torch.allclose(model(images), alone, atol=1e-5)
    with pytest.raises(SnapError) as caught:
        snap(model)
    assert str(caught.value) == (
        "Activation '2' cannot be snapped: LsbqActivation averages must be 'eval_only' or "
        "'train_and_eval' for a layer with one set of scales, not 'off'")


@pytest.mark.parametrize("averages", ["eval_only", "train_and_eval"])
def test_averages_come_back_from_a_saved_state(averages):
    model, images = network(LsbqConfig(averages=averages))
    twin, _images = network(LsbqConfig(averages=averages), averaged=0)
    twin.load_state_dict(copy.deepcopy(model.state_dict()))
    assert torch.equal(twin(images), model(images))


@pytest.mark.parametrize("kind", [LsbqWeight, LsbqActivation])
@pytest.mark.parametrize("method, hint", [
    ("ls3", ", did you mean 'ls2'?"), ("greedy-9", ", did you mean 'greedy-8'?"),
    (2, "; known: " + ", ".join(METHODS))])
def test_unknown_methods(kind, method, hint):
    with pytest.raises(ValueError) as caught:
        kind(method)
    assert str(caught.value) == (
        f"{kind.__name__} method must be a registered name, not {method!r}{hint}")


@pytest.mark.parametrize("options, message", [
    ({"clamp": 0}, "clamp must be positive and finite, not 0"),
    ({"clamp": float("nan")}, "clamp must be positive and finite, not nan"),
    ({"momentum": 2}, "momentum must be from 0 to 1, not 2"),
    ({"averages": "train"},
     "averages must be one of off, eval_only, train_and_eval, not 'train'"),
])
def test_options_out_of_range(options, message):
    with pytest.raises(ValueError) as caught:
        LsbqActivation(**options)
    assert str(caught.value) == f"LsbqActivation {message}"
