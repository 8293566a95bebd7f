from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from xnorloom.hw.spec.config import PRESETS
from xnorloom.sw.bitplanes import BitPlanes, group_count
from xnorloom.sw.graph.evaluate import evaluate
from xnorloom.sw.passes.check import check_network
from xnorloom.sw.passes.compiler import CompileError, compile_network
from xnorloom.sw.passes.lower import FrontendError, lower
from xnorloom.sw.passes.quantize import quantize_
from xnorloom.sw.passes.snap import SnappedActivation, snap
from xnorloom.sw.quantizers import SchemeConfig
from xnorloom.sw.quantizers.base import ActivationQuantizer, WeightQuantizer
from xnorloom.sw.quantizers.lsbq import LsbqActivation
from xnorloom.sw.quantizers.pact import PactActivation
from xnorloom.sw.quantizers.planes import binary_planes
from xnorloom.sw.quantizers.sawb import PactSawbConfig
from xnorloom.sw.training import nets


class PlainWeight(WeightQuantizer):
    """Random planes and scales in any grouping: what a quantizer of a later day may hand on."""

    def __init__(self, bits, grouping):
        super().__init__()
        self.bits, self.grouping = bits, grouping

    def split(self, kernel):
        rng = np.random.default_rng(int(kernel.abs().sum() * 1e6) % 2 ** 32)
        groups = group_count(self.grouping, kernel.shape[2:])
        channels = rng.choice([1, len(kernel)])
        scales = rng.uniform(0.01, 1, size=(self.bits, channels, groups))
        bits = rng.integers(0, 2, size=(self.bits, *kernel.shape)) == 1
        return torch.from_numpy(bits), torch.from_numpy(scales)

    def slope(self, kernel, scales):
        return torch.ones_like(kernel)


class SignedSteps(ActivationQuantizer):
    """Signed codes of any number of planes, with scales in no simple ratio."""

    def __init__(self, bits):
        super().__init__()
        self.bits, self.pad_code = bits, 2 ** bits // 2

    def codebook(self):
        scales = 0.9 * 0.47 ** np.arange(self.bits)
        return BitPlanes(binary_planes(self.bits), scales.reshape(-1, 1, 1))

    def encode(self, x):
        levels = torch.from_numpy(self.codebook().reconstruct()).to(x.dtype)
        return torch.bucketize(x.contiguous(), (levels[1:] + levels[:-1]) / 2, right=True)

    def forward(self, x):
        return self.decode(self.encode(x), x.dtype)


@dataclass(frozen=True, kw_only=True)
class PlainConfig(SchemeConfig):
    """Plain weights in every layer, signed or unsigned activations."""

    weight_bits: int
    grouping: str
    activation_bits: int
    signed: bool
    edge_bits: int | None = None

    def weight_quantizer(self, weight):
        return PlainWeight(self.weight_bits, self.grouping)

    def activation_quantizer(self):
        return (SignedSteps if self.signed else PactActivation)(self.activation_bits)


def random_model(seed, scheme):
    """A small random network of odd shapes with batch norms of both signs, and images for it."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    channels, size, layers = int(rng.integers(1, 4)), (int(rng.integers(5, 9)), 7), []
    shape = (channels, *size)
    for _ in range(int(rng.integers(1, 4))):
        kernel = tuple(int(each) for each in rng.integers(1, 4, size=2))
        stride = tuple(int(each) for each in rng.integers(1, 3, size=2))
        padding = tuple(int(each) for each in rng.integers(0, 3, size=2))
        outputs = int(rng.integers(1, 8))
        layers += [nn.Conv2d(shape[0], outputs, kernel, stride, padding, bias=bool(seed % 2)),
                   nn.BatchNorm2d(outputs), nn.Dropout(0.1), nn.ReLU()]
        shape = (outputs, *((edge + 2 * pad - taps) // step + 1 for edge, pad, taps, step
                            in zip(shape[1:], padding, kernel, stride, strict=True)))
    if max(shape[1:]) > 7:
        layers += [nn.Conv2d(shape[0], 3, 1)]
    else:
        layers += [nn.Flatten(), nn.Linear(int(np.prod(shape)), 9), nn.BatchNorm1d(9), nn.ReLU(),
                   nn.Linear(9, 5)]
    model = nn.Sequential(*layers)
    # Activations of more bits than a machine stores are evaluated all the same.
    quantize_(model, scheme, input_bits=3, input_step=0.25, torch_only=True)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias, std=0.5)
        if isinstance(module, PactActivation):
            nn.init.constant_(module.alpha, 1.7)
    images = torch.randint(0, 8, (12, channels, *size)) / 4
    for _ in range(40):
        model(images)
    return model.eval(), images


def assert_same(model, images, in_shape):
    snapped = snap(model)
    network = lower(snapped, in_shape)
    trace = snapped.trace(images)
    found = evaluate(network, network.encode(images.reshape(-1, *network.in_shape)))
    assert list(found) == list(trace) == [layer.name for layer in network.layers]
    for name in trace:
        np.testing.assert_array_equal(found[name], trace[name], err_msg=name)
    return network, trace


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("name", ["lsbq-w1a2", "pact-sawb-w2a2"])
def test_lowered_integers_are_torch(name, seed):
    model, images = random_model(seed, name)
    network, trace = assert_same(model, images, images.shape[1:])
    used = [np.unique(trace[layer.name]) for layer in network.layers if layer.requantize]
    assert any(len(each) > 1 for each in used)


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("grouping, weight_bits, activation_bits", [
    ("row", 1, 2), ("pixel", 1, 2), ("pixel", 2, 1), ("row", 3, 3), ("layer", 1, 1),
    ("layer", 4, 4), ("layer", 8, 2)])
def test_any_planes_and_groups(grouping, weight_bits, activation_bits, signed):
    chosen = PlainConfig(weight_bits=weight_bits, grouping=grouping,
                         activation_bits=activation_bits, signed=signed)
    for seed in range(2):
        model, images = random_model(100 + seed, chosen)
        network, _ = assert_same(model, images, images.shape[1:])
        assert network.layers[0].grouping == grouping
        assert network.layers[0].scales.shape[1:] == (
            group_count(grouping, network.layers[0].kernel), 3, weight_bits)


def test_negative_gains_turn_scales_and_bias():
    signs = set()
    for seed in range(3):
        model, images = random_model(seed, "pact-sawb-w2a2")
        network, _ = assert_same(model, images, images.shape[1:])
        layer = network.layers[0]
        signs |= set(layer.sign.tolist())
        assert ((layer.scales * layer.sign[:, None, None, None]) <= 0).all()
        assert (np.diff(layer.requantize.thresholds, axis=1) >= 0).all()
    assert signs == {-1, 1}


def test_the_demo_network():
    torch.manual_seed(0)
    model = nets.build("cnn", "lsbq-w1a2")
    images = torch.randint(0, 17, (4, 1, 8, 8)) / 16
    for _ in range(20):
        model(images)
    network, _ = assert_same(model.eval(), images, (1, 8, 8))
    assert [layer.name for layer in network.layers] == ["conv1", "conv2", "conv3", "linear"]
    assert [layer.source for layer in network.layers] == ["input", "conv1", "conv2", "conv3"]
    assert network.layers[-1].kernel == network.layers[-1].stride == (4, 4)
    assert network.layers[-1].requantize is None
    assert network.input_format.planes == 5 and network.input_step == 1 / 16
    assert not network.input_format.table[0].any()
    assert network.layers[1].input_format.pad_code == 1


def test_vectors_and_one_output_code_book():
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(10, 7), nn.BatchNorm1d(7), nn.ReLU(), nn.Linear(7, 3))
    quantize_(model, "lsbq-w1a2", input_bits=2, input_step=1 / 3)
    vectors = torch.randint(0, 4, (9, 10)) / 3
    for _ in range(9):
        model(vectors)
    network, _ = assert_same(model.eval(), vectors, (10,))
    assert [layer.in_shape for layer in network.layers] == [(10, 1, 1), (7, 1, 1)]
    assert all(layer.kernel == layer.stride == (1, 1) for layer in network.layers)


def test_functional_and_method_flatten():
    class Net(nn.Module):
        def __init__(self, method):
            super().__init__()
            self.conv, self.act, self.head = nn.Conv2d(1, 2, 2), nn.ReLU(), nn.Linear(8, 2)
            self.method = method

        def forward(self, x):
            x = self.act(self.conv(x))
            return self.head(x.flatten(1) if self.method else torch.flatten(x, start_dim=1))

    for method in (True, False):
        model = quantize_(Net(method), "pact-sawb-w2a2", input_bits=2, input_step=1.0)
        assert_same(model.eval(), torch.randint(0, 4, (3, 1, 3, 3)) / 1.0, (1, 3, 3))


def test_codes_out_of_reach_have_thresholds_past_the_range():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    quantize_(model, "pact-sawb-w2a2", input_bits=1, input_step=1.0)
    nn.init.constant_(model[1].alpha, 1e4)
    snapped = snap(model.eval())
    layer = snapped.stages[0].layer
    thresholds = lower(snapped, (4,)).layers[0].requantize.thresholds
    np.testing.assert_array_equal(thresholds, np.repeat(layer.high[:, None] + 1, 3, axis=1))


def test_a_falling_activation_is_refused():
    class Falling(SignedSteps):
        def encode(self, x):
            return super().encode(-x)

    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    quantize_(model, "pact-sawb-w2a2", input_bits=1, input_step=1.0)
    snapped = snap(model.eval())
    object.__setattr__(snapped.stages[0], "quantizer", SnappedActivation(Falling(2)))
    with pytest.raises(FrontendError, match="^Layer '0' cannot be re-quantized: Codes must rise"):
        lower(snapped, (4,))


def conv(*after, outputs=2):
    return nn.Sequential(nn.Conv2d(1, outputs, 1), nn.ReLU(), *after)


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.act, self.two = nn.Conv2d(1, 2, 1), nn.ReLU(), nn.Conv2d(2, 2, 1)

    def forward(self, x):
        x = self.act(self.one(x))
        return self.two(x) + x


class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.one = nn.Conv2d(1, 2, 1)

    def forward(self, x, y):
        return self.one(x)


class Untraceable(nn.Module):
    def __init__(self):
        super().__init__()
        self.one = nn.Conv2d(1, 2, 1)

    def forward(self, x):
        return self.one(x) if x.sum() > 0 else x


@pytest.mark.parametrize("model, fragment", [
    (conv(nn.MaxPool2d(2), nn.Conv2d(2, 2, 1)), "Node '2' (MaxPool2d) is not something"),
    (conv(nn.AvgPool2d(2), nn.Conv2d(2, 2, 1)), "Node '2' (AvgPool2d) is not something"),
    (conv(nn.Conv2d(2, 2, 1), nn.Softmax(1)), "Node '3' (Softmax) is not something the machine"),
    (conv(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2)), "the last layer '2' itself, without a batch"),
    (conv(), "ends a network"),
    (nn.Sequential(nn.BatchNorm2d(1), nn.Conv2d(1, 2, 1)), "(BatchNorm2d) must follow a conv"),
    (Residual(), "Node 'add' (call_function add) reads two, act; branches are not supported"),
    (TwoInputs(), "Node 'y' (placeholder y) is a second input"),
    (Untraceable(), "cannot be traced by torch.fx"),
    (conv(nn.Flatten(), nn.Linear(2 * 64, 3)), "a map of at most 7 x 7, not 8 x 8"),
    (conv(nn.Flatten(), nn.Linear(5, 3)), "Layer '3' must have 128 inputs for a map of (2, 8, 8)"),
    (conv(nn.Linear(8, 3)), "Layer '2' must have 128 inputs"),
    (nn.Sequential(nn.Conv2d(1, 2, 8)), "Layer '0' kernel must be from 1 to 7 in each "),
    (nn.Sequential(nn.Conv2d(1, 2, 1, stride=8)), "Layer '0' stride must be from 1 to 7 in each "),
    (nn.Sequential(nn.Conv2d(3, 2, 1)), "Layer '0' must have 1 input channels, not 3"),
    (conv(nn.Conv2d(3, 2, 1)), "Layer '2' must have 2 input channels, not 3"),
])
def test_what_the_machine_lacks_is_named(model, fragment):
    with pytest.raises(FrontendError) as caught:
        lower(quantize_(model, "pact-sawb-w2a2"), (1, 8, 8))
    assert fragment in str(caught.value) and "\n" not in str(caught.value)


def test_unknown_nodes_list_what_is_supported():
    with pytest.raises(FrontendError, match="; supported: Conv2d, Linear, BatchNorm1d, "):
        lower(quantize_(conv(nn.MaxPool2d(2), nn.Conv2d(2, 2, 1)), "pact-sawb-w2a2"), (1, 8, 8))


def test_kernel_larger_than_the_map():
    model = quantize_(nn.Sequential(nn.Conv2d(1, 2, 5)), "pact-sawb-w2a2")
    with pytest.raises(FrontendError, match=r"^Layer '0' kernel must lie within its padded map, "
                                            r"3 x 3, not be 5 x 5$"):
        lower(model, (1, 3, 3))


@pytest.mark.parametrize("bits", [5, 6, 7, 8])
@pytest.mark.parametrize("seed", range(3))
def test_wide_activations_are_lowered(bits, seed):
    model, images = random_model(seed, PactSawbConfig(weight_bits=3, activation_bits=bits))
    network, trace = assert_same(model, images, images.shape[1:])
    assert network.layers[0].requantize.thresholds.shape[1] == 2 ** bits - 1
    assert len(np.unique(trace[network.layers[0].name])) > 2 ** (bits - 2)


@pytest.mark.parametrize("bits", [5, 8])
def test_the_compiler_refuses_wide_activations(bits):
    scheme = PactSawbConfig(activation_bits=bits)
    with pytest.raises(FrontendError, match="^Activation '1' must have at most 4 bits on any "
                                            f"machine .*, not {bits}$"):
        quantize_(conv(nn.Conv2d(2, 2, 1)), scheme)
    model = quantize_(conv(nn.Conv2d(2, 2, 1)), scheme, torch_only=True)
    with pytest.raises(FrontendError, match="^Activation '1' must have at most 4 bits on any "):
        check_network(model)
    network = lower(model, (1, 8, 8))
    with pytest.raises(CompileError) as caught:
        compile_network(network, PRESETS["default"])
    assert str(caught.value) == (f"Layer '0' activation bits must be at most 4 on this machine "
                                 f"(more run in torch and in sw.graph.evaluate only), not {bits}")


def test_an_unquantized_model_is_refused():
    with pytest.raises(FrontendError, match="^Node '0' .Linear. must be quantized: pass the "):
        lower(nn.Sequential(nn.Linear(3, 2)), (3,))


@pytest.mark.parametrize("shape", [(), (1, 2), (0, 8, 8)])
def test_input_shape(shape):
    model = quantize_(nn.Sequential(nn.Linear(3, 2)), "pact-sawb-w2a2")
    with pytest.raises(FrontendError, match="^Input shape must be "):
        lower(model, shape)


def test_an_uncalibrated_activation_says_so():
    model = quantize_(conv(nn.Conv2d(2, 2, 1)), "lsbq-w1a2")
    assert isinstance(model[1], LsbqActivation)
    with pytest.raises(ValueError, match="no stored scales; run a batch in training mode"):
        lower(model, (1, 8, 8))
