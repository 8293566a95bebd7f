import copy
import weakref
from collections import OrderedDict

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from xnorloom.sw import data
from xnorloom.sw.graph.export import export
from xnorloom.sw.graph.model import GraphModel, build_modules
from xnorloom.sw.passes.quantize import quantize_
from xnorloom.sw.quantizers.clipped import ClippedActivation
from xnorloom.sw.quantizers.gpfq import GpfqConfig, gpfq
from xnorloom.sw.quantizers.gram import GramSums
from xnorloom.sw.training.accuracy import accuracy
from xnorloom.sw.training.calibrate import CalibrationError, calibrate_
from xnorloom.sw.training.fit import fit
from xnorloom.sw.training.held import peak_values
from xnorloom.sw.training.recipe import Recipe, TrainError
from xnorloom.sw.training.train import train


class PaddedActivation(ClippedActivation):
    """Pads with a code whose value is not zero."""

    pad_code = 3


class PaddedConfig(GpfqConfig):
    def activation_quantizer(self):
        return PaddedActivation(self.activation_bits)


def network():
    """One bias before a ReLU, one batch norm instead of a bias, strides and paddings of each kind;
    the first and the last layer are not solved for."""
    generator = torch.Generator().manual_seed(0)
    net = nn.Sequential(OrderedDict(
        conv1=nn.Conv2d(2, 6, 3, padding=1),
        act1=nn.ReLU(),
        conv2=nn.Conv2d(6, 8, 3, stride=2, padding=1),
        act2=nn.ReLU(),
        conv3=nn.Conv2d(8, 7, (2, 3), stride=(1, 2), padding=(0, 1), bias=False),
        drop3=nn.Dropout(),
        norm3=nn.BatchNorm2d(7),
        act3=nn.ReLU(),
        flatten=nn.Flatten(),
        linear=nn.Linear(7 * 3 * 2, 5),
    ))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
        net.norm3.weight.fill_(1.5)
        net.norm3.running_mean.copy_(torch.randn(7, generator=generator))
    return net.eval()


SHAPE = (2, 8, 8)
IMAGES = torch.rand(48, *SHAPE, generator=torch.Generator().manual_seed(1))


def calibrated(config=None, images=IMAGES, **options):
    net = network()
    model = quantize_(copy.deepcopy(net), config or GpfqConfig(), in_shape=SHAPE)
    errors = calibrate_(model, net, images.split(16), **options)
    return model, net, errors


def read_by(net, name, images=IMAGES):
    """What a layer or activation of a network reads."""
    if isinstance(net, GraphModel):
        return net.inputs_of(name, images)[0].detach()
    return net[:list(dict(net.named_children())).index(name)](images).detach()


def source(model, name):
    """The quantizer that a layer reads."""
    return model.sources(model.graph[name])[0][1]


def patches(layer, x, pad_value):
    """Rows that the outputs of a convolution are sums of, cut out one by one."""
    (height, width), (down, right), (vertical, horizontal) = (layer.kernel_size, layer.stride,
                                                              layer.padding)
    count, channels, lines, columns = x.shape
    framed = torch.full((count, channels, lines + 2 * vertical, columns + 2 * horizontal),
                        pad_value)
    framed[:, :, vertical:vertical + lines, horizontal:horizontal + columns] = x
    cut = [framed[:, :, top:top + height, left:left + width].flatten(1)
           for top in range(0, framed.shape[2] - height + 1, down)
           for left in range(0, framed.shape[3] - width + 1, right)]
    return torch.cat(cut)


@torch.no_grad()
def samples(model, net, name):
    """Analog and quantized inputs of a convolution that is not the first."""
    layer = net.get_submodule(name)
    pad_value = source(model, name).pad_value()
    return (patches(layer, read_by(net, name), 0.0),
            patches(layer, read_by(model, name), pad_value))


@pytest.mark.parametrize("config", [GpfqConfig(), PaddedConfig(weight_bits=3, midrise=True)],
                         ids=["zeros", "padded"])
def test_layers_follow_both_networks(config):
    model, net, errors = calibrated(config)
    assert list(errors) == ["conv2", "conv3"]
    for name in errors:
        x, xt = samples(model, net, name)
        weight = net.get_submodule(name).weight.detach()
        sums = GramSums(x.shape[1])
        sums.add(x, xt)
        wanted = config.weight_quantizer(weight).solve(weight, sums)
        got = model.get_submodule(name).weight.detach()
        assert torch.equal(got, wanted)
        assert torch.equal(model.get_submodule(name).weight_quantizer(got), got)
        analog, through = x @ weight.flatten(1).T, xt @ got.flatten(1).T
        relative = (analog - through).square().sum() / analog.square().sum()
        assert errors[name] == pytest.approx(float(relative), rel=1e-4)
        assert errors[name] < 0.2


def test_the_first_layer_is_solved_for_rounded_images():
    config = GpfqConfig(edge_bits=None, weight_bits=2)
    model, net, errors = calibrated(config)
    assert list(errors) == ["conv1", "conv2", "conv3", "linear"]
    x = patches(net.conv1, model.input_quantizer(IMAGES), 0.0)
    sums = GramSums(x.shape[1])
    sums.add(x, x)
    weight = net.conv1.weight.detach()
    wanted = config.weight_quantizer(weight).solve(weight, sums)
    assert torch.equal(model.conv1.weight, wanted)
    x, xt = (read_by(each, "linear") for each in (net, model))
    sums = GramSums(x.shape[1])
    sums.add(x, xt)
    weight = net.linear.weight.detach()
    wanted = config.weight_quantizer(weight).solve(weight, sums)
    assert torch.equal(model.linear.weight, wanted)


def test_activations_are_calibrated_behind_quantized_layers():
    model, _, _ = calibrated()
    for name in ("act1", "act2", "act3"):
        fresh = ClippedActivation(4)
        values = read_by(model, name)
        fresh.calibrate(lambda values=values: iter([values]))
        assert torch.equal(model.get_submodule(name).alpha, fresh.alpha)


def test_edge_layers_keep_their_weights():
    model, net, _ = calibrated()
    assert torch.equal(model.conv1.weight, net.conv1.weight)
    assert torch.equal(model.linear.weight, net.linear.weight)


@torch.no_grad()
def test_correction_restores_the_mean():
    def lost(bias_correction):
        model, net, _ = calibrated(GpfqConfig(weight_bits=2, bias_correction=bias_correction))
        return [float((read_by(model, name) - read_by(net, name)).mean((0, 2, 3)).abs().max())
                for name in ("act2", "act3")]

    uncorrected, corrected = lost(False), lost(True)
    for without, remaining in zip(uncorrected, corrected, strict=True):
        assert remaining < 1e-5 < 1e-3 < without


def test_a_layer_without_bias_and_norm_keeps_its_form():
    net = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4, bias=False), nn.ReLU(),
                        nn.Linear(4, 3))
    model = quantize_(copy.deepcopy(net), "gpfq-w3a4", in_shape=(6,))
    keys = list(model.state_dict())
    calibrate_(model, net, [torch.rand(40, 6)])
    assert list(model.state_dict()) == keys


def test_batches_are_streamed_and_forgotten():
    alive, seen = weakref.WeakSet(), []

    def batches():
        for images in IMAGES.repeat(4, 1, 1, 1).split(8):
            fresh = images.clone()
            alive.add(fresh)
            seen.append(len(alive))
            yield fresh

    net = network()
    calibrate_(quantize_(copy.deepcopy(net), "gpfq-w4a4", in_shape=SHAPE), net, batches, hold=0)
    assert len(seen) > 100 and max(seen) <= 2


def test_neither_batches_nor_repetition_matter():
    model, net, errors = calibrated()
    again = calibrate_(model, net, [IMAGES])
    other, _, _ = calibrated()
    for name, tensor in other.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], tensor, rtol=1e-5, atol=1e-6)
    assert again == pytest.approx(errors, rel=1e-5)


def test_drawn_patches():
    whole, _, _ = calibrated()
    some, net, errors = calibrated(patch_share=0.3, seed=5)
    same, _, _ = calibrated(patch_share=0.3, seed=5)
    other, _, _ = calibrated(patch_share=0.3, seed=6)
    assert torch.equal(some.conv2.weight, same.conv2.weight)
    assert not torch.equal(some.conv2.weight, other.conv2.weight)
    assert not torch.equal(some.conv2.weight, whole.conv2.weight)
    x, xt = samples(some, net, "conv2")
    weights = (each.conv2.weight.detach().flatten(1).T for each in (net, some))
    analog, through = (rows @ weight for rows, weight in zip((x, xt), weights, strict=True))
    assert float((analog - through).square().sum() / analog.square().sum()) < 2 * errors["conv2"]


def test_modes_and_progress():
    seen = []
    model, _, errors = calibrated(progress=lambda *each: seen.append(each))
    assert seen == [(1, 2, errors["conv2"]), (2, 2, errors["conv3"])]
    assert not model.training and not model.conv2.training


def changed(images, value):
    images = images.clone()
    images[3, 1, 2, 2] = value
    return images


@pytest.mark.parametrize("batches, message", [
    ([IMAGES[:5], IMAGES[:7]],
     "Calibration images must be at least 32 in every pass over them, not 12"),
    ([], "Calibration images must be at least 32 in every pass over them, not 0"),
    (iter([IMAGES]), "Calibration images must be at least 32 in every pass over them, not 0"),
    ([IMAGES[:, :1]], "Calibration images must have shape (2, 8, 8) each, not (1, 8, 8)"),
    ([IMAGES[0]], "Calibration images must have shape (2, 8, 8) each, not (8, 8)"),
    ([IMAGES, IMAGES[..., :6]],
     "Calibration images must have shape (2, 8, 8) each, not (2, 8, 6)"),
    ([changed(IMAGES, torch.nan)], "Calibration images must be finite, not nan"),
    ([changed(IMAGES, torch.inf)], "Calibration images must be finite, not inf"),
    ([(IMAGES, torch.zeros(48))], "Calibration images must be float tensors, not tuple"),
    ([IMAGES.int()], "Calibration images must be float tensors, not torch.int32"),
])
def test_images_that_do_not_fit(batches, message):
    net = network()
    model = quantize_(copy.deepcopy(net), "gpfq-w4a4", in_shape=SHAPE)
    with pytest.raises(CalibrationError) as caught:
        calibrate_(model, net, batches)
    assert str(caught.value) == message


def other_kernel(net):
    net.conv2 = nn.Conv2d(6, 8, 1, stride=2)


def unnamed_norm(net):
    net.norm3 = nn.Identity()


@pytest.mark.parametrize("change, message", [
    (other_kernel,
     "Reference must have a tensor 'conv2.weight' of shape (8, 6, 3, 3), not (8, 6, 1, 1)"),
    (unnamed_norm, "Reference must have a tensor 'norm3.running_mean' of shape (7,), not None"),
    (lambda net: quantize_(net, "gpfq-w4a4", in_shape=SHAPE),
     "Reference must be the float network, not a quantized one"),
    (lambda net: nn.Sequential(nn.GELU()), ("Reference must be what the model was quantized from: "
     "Node '0' (GELU) is not something the machine can run")),
])
def test_references_that_do_not_fit(change, message):
    net = network()
    model = quantize_(copy.deepcopy(net), "gpfq-w4a4", in_shape=SHAPE)
    net = change(net) or net
    with pytest.raises(CalibrationError) as caught:
        calibrate_(model, net, [IMAGES])
    assert str(caught.value).startswith(message)


def test_layers_are_named_where_calibration_fails():
    net = network()
    wide = GpfqConfig(sparsity="hard", threshold=9.0)
    with pytest.raises(ValueError, match="^Layer 'conv2' cannot be quantized: Alphabet threshold "):
        quantize_(copy.deepcopy(net), wide, in_shape=SHAPE)
    model = quantize_(copy.deepcopy(net), wide, in_shape=SHAPE, torch_only=True)
    with pytest.raises(CalibrationError, match="^Layer 'conv2' cannot be calibrated: Alphabet "
                                               "threshold must be below the largest level"):
        calibrate_(model, net, [IMAGES])
    model = quantize_(copy.deepcopy(net), "gpfq-w4a4", in_shape=SHAPE)
    model.norm3.running_mean.fill_(torch.nan)
    model.conv3.weight_quantizer.bias_correction = False
    with pytest.raises(CalibrationError) as caught:
        calibrate_(model, net, [IMAGES])
    assert str(caught.value) == "Node 'act3' must read finite values in calibration"


def test_options_out_of_range():
    with pytest.raises(CalibrationError, match="^Calibration patch share must be above 0 and at "
                                               "most 1, not 0$"):
        calibrated(patch_share=0)
    net = network()
    with pytest.raises(CalibrationError, match="^Model must have quantizers that are calibrated "
                                               "after training, and has none$"):
        calibrate_(quantize_(copy.deepcopy(net), "pact-sawb-w2a2", in_shape=SHAPE), net, [IMAGES])


def test_digits_without_any_retraining():
    seen = []
    recipe = Recipe(float_epochs=3, epochs=999)
    result = train("cnn", "gpfq-w4a4", recipe=recipe, progress=seen.append)
    assert [(each.stage, each.epoch, each.epochs) for each in seen[3:]] == [
        ("gpfq-w4a4", 1, 2), ("gpfq-w4a4", 2, 2)]
    assert all(0 < each.loss < 0.05 for each in seen[3:])
    assert result.accuracy["float"] > 0.9
    assert result.accuracy["quantized"] >= result.accuracy["float"] - 0.01
    digits = data.load("digits")
    ternary = quantize_(copy.deepcopy(result.float_model), GpfqConfig(weight_bits=1),
                        in_shape=(1, 8, 8), input_bits=5, input_step=1 / 16)
    fit(ternary, digits, teacher=result.float_model)
    assert len(ternary.conv2.weight.unique()) == 3
    assert accuracy(ternary, digits.test_images, digits.test_labels) > 0.9
    with pytest.raises(TrainError, match="^Training option 'teacher' must be the float network "
                                         "where a model is calibrated, not None$"):
        fit(ternary, digits)


class Branches(nn.Module):
    """Shortcuts, groups, a dilated and a 1-D-like kernel, functions instead of modules."""

    def __init__(self):
        super().__init__()
        self.stem, self.one = nn.Conv2d(2, 6, 3), nn.Conv2d(6, 6, 3, padding=1, groups=3)
        self.two = nn.Conv2d(6, 6, (1, 3), padding="same", dilation=2, bias=False)
        self.norm, self.last = nn.BatchNorm2d(6), nn.Linear(6, 4)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        y = self.norm(self.two(torch.tanh(self.one(x))))
        return self.last((x + y).relu().mean((2, 3)))


def test_branches_and_groups_are_calibrated():
    torch.manual_seed(0)
    net = Branches().eval()
    model = quantize_(copy.deepcopy(net), "gpfq-w4a4", in_shape=SHAPE)
    errors = calibrate_(model, net, IMAGES.split(16))
    assert list(errors) == ["one", "two"] and max(errors.values()) < 0.05
    x, xt = read_by(model, "one"), read_by(model, "two")
    # Each group alone, by the definition of the quantizer.
    twin, layer = net.one, model.one
    framed = F.pad(read_by_graph(net, "one"), (1, 1, 1, 1)), F.pad(x, (1, 1, 1, 1))
    rows = [F.unfold(each[:, :2], 3).mT.flatten(0, 1) for each in framed]
    sums = GramSums(18)
    sums.add(*rows)
    weight = twin.weight[:2].detach()
    alone = GpfqConfig().weight_quantizer(weight)
    step = float(layer.weight_quantizer.step)
    wanted = gpfq(weight.flatten(1), sums.gram, sums.cross, alone.alphabet, step)
    torch.testing.assert_close(layer.weight[:2].detach().flatten(1).double(), wanted, atol=1e-6,
                               rtol=1e-5)
    with torch.no_grad():
        assert (net(IMAGES) - model(IMAGES)).abs().max() < 0.1 * net(IMAGES).abs().max()
    assert torch.isfinite(xt).all()


def read_by_graph(net, name):
    graph, state = export(net, SHAPE)
    return GraphModel(graph, build_modules(graph, state)).eval().inputs_of(name, IMAGES)[0].detach()


def counted(net, hold, monkeypatch):
    """Calibrates a network; also counts the images that layers of both networks have run."""
    model, runs = quantize_(copy.deepcopy(net), "gpfq-w3a4", in_shape=SHAPE), []
    honest = GraphModel.run

    def run(self, node, values):
        if node.module and node.op in ("convolution", "linear"):
            runs.append(len(values[node.inputs[0]]))
        return honest(self, node, values)

    monkeypatch.setattr(GraphModel, "run", run)
    errors = calibrate_(model, net, IMAGES.split(16), hold=hold)
    return model.state_dict(), errors, sum(runs)


class Residual(nn.Module):
    """Two blocks, the second with a convolution as its shortcut."""

    def __init__(self):
        super().__init__()
        self.stem, self.one, self.two = (nn.Conv2d(inputs, 6, 3, padding=1, bias=False)
                                         for inputs in (2, 6, 6))
        self.norm1, self.norm2, self.norm3 = (nn.BatchNorm2d(6) for _ in range(3))
        self.three = nn.Conv2d(6, 8, 3, stride=2, padding=1)
        self.four = nn.Conv2d(8, 8, 3, padding=1)
        self.short, self.last = nn.Conv2d(6, 8, 1, stride=2), nn.Linear(8, 4)

    def forward(self, x):
        x = self.norm1(self.stem(x)).relu()
        x = (self.norm3(self.two(self.norm2(self.one(x)).relu())) + x).relu()
        x = (self.four(self.three(x).relu()) + self.short(x)).relu()
        return self.last(x.mean((2, 3)))


def test_layers_run_once_for_an_image_where_values_may_be_held(monkeypatch):
    torch.manual_seed(0)
    net = Residual().eval()
    (held, errors, runs), (streamed, same, more) = (counted(net, hold, monkeypatch)
                                                    for hold in (1 << 30, 0))
    assert errors == same and len(errors) == 5
    assert all(torch.equal(value, streamed[name]) for name, value in held.items())
    # Once in either network, but for layers that nothing solved reads.
    assert 2 * 4 * len(IMAGES) <= runs <= 2 * 7 * len(IMAGES) and more > 3 * runs


def test_values_that_take_too_much_are_streamed(monkeypatch):
    torch.manual_seed(0)
    net = Residual().eval()
    graph, state = export(net, SHAPE)
    one = peak_values(GraphModel(graph, build_modules(graph, state)).graph)
    enough = counted(net, 4 * 3 * one * len(IMAGES), monkeypatch)[2]
    too_little = counted(net, 4 * one * len(IMAGES), monkeypatch)[2]
    assert too_little > 3 * enough
