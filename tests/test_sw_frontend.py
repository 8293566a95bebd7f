from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import nn

from xnorloom.hw.spec.config import PRESETS
from xnorloom.hw.spec.descriptor import RESCALE_DOWN, RESCALE_SHIFTS
from xnorloom.sw import data as datasets
from xnorloom.sw.bitplanes import BitPlanes, group_count
from xnorloom.sw.graph.evaluate import evaluate
from xnorloom.sw.graph.network import Rescale
from xnorloom.sw.head import Head
from xnorloom.sw.machine.driver import Driver
from xnorloom.sw.machine.reference import ReferenceMachine
from xnorloom.sw.passes.compiler import compile_network
from xnorloom.sw.passes.golden import check_codes, check_fused
from xnorloom.sw.passes.lower import FrontendError, lower
from xnorloom.sw.passes.quantize import quantize_
from xnorloom.sw.passes.snap import SnapError, snap
from xnorloom.sw.quantizers import SchemeConfig
from xnorloom.sw.quantizers.base import ActivationQuantizer, WeightQuantizer
from xnorloom.sw.quantizers.lsbq import LsbqActivation
from xnorloom.sw.quantizers.pact import PactActivation
from xnorloom.sw.quantizers.planes import binary_planes
from xnorloom.sw.quantizers.sawb import PactSawbConfig
from xnorloom.sw.training import nets

LARGE = replace(PRESETS["default"], name="large", **{
    f"{memory}_depth": 1 << 14 for memory in (
        "activation", "weight", "scale", "parameter", "term", "tap", "pair", "program")})


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

    signed, absorbs = True, ()

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
    layers += [nn.Flatten(), nn.Linear(int(np.prod(shape)), 9), nn.BatchNorm1d(9), nn.ReLU(),
               nn.Linear(9, 5)]
    model = quantize_(nn.Sequential(*layers), scheme, in_shape=(channels, *size), input_bits=3,
                      input_step=0.25)
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


def assert_same(model, images):
    """Snapped values are near the quantized ones, integers are those of the snapped model."""
    snapped = snap(model)
    check_fused(model, snapped)
    network = lower(snapped)
    check_codes(snapped, network)
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
    network, trace = assert_same(model, images)
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
        network, _ = assert_same(model, images)
        (term,) = network.layers[0].terms
        assert term.grouping == grouping
        assert term.scales.shape[1:] == (group_count(grouping, term.kernel), 3, weight_bits)


def test_negative_gains_turn_scales_and_bias():
    signs = set()
    for seed in range(3):
        model, images = random_model(seed, "pact-sawb-w2a2")
        network, _ = assert_same(model, images)
        layer = network.layers[0]
        signs |= set(layer.sign.tolist())
        assert ((layer.terms[0].scales * layer.sign[:, None, None, None]) <= 0).all()
        assert (np.diff(layer.requantize.thresholds, axis=1) >= 0).all()
    assert signs == {-1, 1}


def test_the_demo_network():
    torch.manual_seed(0)
    model = nets.build("cnn", "lsbq-w1a2")
    images = torch.randint(0, 17, (4, 1, 8, 8)) / 16
    for _ in range(20):
        model(images)
    network, _ = assert_same(model.eval(), images)
    assert [layer.name for layer in network.layers] == ["conv1", "conv2", "conv3", "linear"]
    assert [layer.terms[0].source for layer in network.layers] == ["input", "conv1", "conv2",
                                                                   "conv3"]
    last = network.layers[-1]
    assert last.terms[0].kernel == (4, 4) and last.terms[0].stride == last.map == (1, 1)
    assert last.requantize is None and last.format is None
    assert network.input_format.planes == 5 and network.encoder.step == 1 / 16
    assert not network.input_format.table[0].any()
    assert network.head == Head((), (10,))
    assert network.layers[1].terms[0].pad_code == 1 and network.layers[1].terms[0].border is None


def test_vectors_and_one_output_code_book():
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(10, 7), nn.BatchNorm1d(7), nn.ReLU(), nn.Linear(7, 3))
    model = quantize_(model, "lsbq-w1a2", in_shape=(10,), input_bits=2, input_step=1 / 3)
    vectors = torch.randint(0, 4, (9, 10)) / 3
    for _ in range(9):
        model(vectors)
    network, _ = assert_same(model.eval(), vectors)
    assert network.in_shape == (10, 1, 1)
    assert [layer.out_shape for layer in network.layers] == [(7, 1, 1), (3, 1, 1)]
    assert all(layer.terms[0].kernel == (1, 1) for layer in network.layers)


def test_codes_out_of_reach_have_thresholds_past_the_range():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    model = quantize_(model, "pact-sawb-w2a2", in_shape=(4,), input_bits=1, input_step=1.0)
    nn.init.constant_(model[1].alpha, 1e4)
    snapped = snap(model.eval())
    high = snapped.layers[0].integers.high
    thresholds = lower(snapped).layers[0].requantize.thresholds
    np.testing.assert_array_equal(thresholds, np.repeat(high[:, None] + 1, 3, axis=1))


def test_a_falling_activation_is_refused():
    class Falling(SignedSteps):
        def encode(self, x):
            return super().encode(-x)

    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    model = quantize_(model, "pact-sawb-w2a2", in_shape=(4,), input_bits=1, input_step=1.0)
    model[1] = Falling(2)
    with pytest.raises(FrontendError, match="^Layer '0' cannot be re-quantized: Codes must rise"):
        lower(model)


def conv(*after, outputs=2):
    return nn.Sequential(nn.Conv2d(1, outputs, 1), nn.ReLU(), *after)


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
    (conv(nn.GELU(), nn.Conv2d(2, 2, 1)), ("Node '2' (GELU) is not something the machine can run: "
     "it falls somewhere, and only functions that rise can be found by thresholds; supported: ")),
    (conv(nn.Conv2d(2, 2, 1), nn.Softmax(2)), "Node '3' (Softmax) must be over the channels"),
    (conv(nn.Softmax(1), nn.Conv2d(2, 2, 1)),
     "Node '2.quantizer' (quantize) must not read softmax, which only the host computes"),
    (nn.Sequential(nn.ReLU()), "Model must hold a convolution or linear layer, and has none"),
    (TwoInputs(), "Model TwoInputs cannot be exported for an input of (1, 8, 8): "),
    (Untraceable(), "Model Untraceable cannot be exported for an input of (1, 8, 8): "),
    (conv(nn.Flatten(), nn.Linear(5, 3)),
     "Layer '3' must read 5 inputs, not a map or vector of (128,)"),
    (conv(nn.Linear(8, 3)), "Node '2' (Linear) must read a flattened map, not one of (2, 8, 8)"),
    (nn.Sequential(nn.Conv2d(1, 2, 1, stride=16)), "Layer '0' stride must be from 1 to 15 in "),
    (nn.Sequential(nn.Conv2d(3, 2, 1)), "Layer '0' must read a map of 3 channels, not one of "),
    (conv(nn.Conv2d(3, 2, 1)), "Layer '2' must read a map of 3 channels, not one of (2, 8, 8)"),
    (nn.Sequential(nn.Conv2d(1, 2, 1), nn.MaxPool2d(3, ceil_mode=True), nn.Conv2d(2, 2, 1)),
     "Node '1' (MaxPool2d) ceil_mode must be false where windows would reach beyond the map"),
    (conv(nn.AdaptiveAvgPool2d(3)), "Node '2' (AdaptiveAvgPool2d) output size must divide the map"),
])
def test_what_the_machine_lacks_is_named(model, fragment):
    with pytest.raises(FrontendError) as caught:
        quantize_(model, "pact-sawb-w2a2", in_shape=(1, 8, 8))
    assert fragment in str(caught.value) and "\n" not in str(caught.value)


def test_unknown_nodes_list_what_is_supported():
    with pytest.raises(FrontendError, match="; supported: (?=.*Conv2d)(?=.*Linear)"
                                            "(?=.*MaxPool2d)(?=.*ReLU, )"):
        quantize_(conv(nn.GELU()), "pact-sawb-w2a2", in_shape=(1, 8, 8))


@pytest.mark.parametrize("bits", [5, 6, 7, 8])
@pytest.mark.parametrize("seed", range(2))
def test_wide_activations_are_found_by_multiplication(bits, seed):
    model, images = random_model(seed, PactSawbConfig(weight_bits=3, activation_bits=bits))
    network, trace = assert_same(model, images)
    codes = network.layers[0].requantize
    assert isinstance(codes, Rescale) and codes.bits == bits
    assert len(np.unique(trace[network.layers[0].name])) > 2 ** (bits - 2)
    # The multiplication is the quantizer, but for codes beside a step.
    values = model.values(images)["1"].detach().double()
    wanted = model.get_submodule("3").double().encode(values).numpy()
    off = np.abs(trace["0"] - wanted)
    assert off.max() <= 1 and (off == 0).mean() > 0.93


def test_uneven_wide_codes_are_refused():
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Conv2d(2, 2, 1))
    scheme = PlainConfig(weight_bits=1, grouping="layer", activation_bits=5, signed=True)
    with pytest.raises(SnapError, match="^Layer '0' must have codes of even steps behind nothing "
                                        "but batch norms and a clip, to be re-quantized to 5 bits"):
        quantize_(model, scheme, in_shape=(1, 8, 8))


def test_a_curve_before_wide_codes_is_refused_before_training():
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Tanh(), nn.Conv2d(2, 2, 1))
    with pytest.raises(FrontendError, match="^Activation '1.quantizer' must have at most 4 bits "
                                            "behind tanh, not 5: "):
        quantize_(model, PactSawbConfig(activation_bits=5), in_shape=(1, 8, 8))


def test_an_unquantized_model_is_refused():
    with pytest.raises(FrontendError, match="^Model Sequential must be quantized: pass it through"):
        lower(nn.Sequential(nn.Linear(3, 2)))


@pytest.mark.parametrize("shape", [(), (1, 2, 3, 4), (0, 8, 8)])
def test_input_shape(shape):
    with pytest.raises(FrontendError, match="^Input shape must be "):
        quantize_(nn.Sequential(nn.Linear(3, 2)), "pact-sawb-w2a2", in_shape=shape)


def test_an_uncalibrated_activation_says_so():
    model = quantize_(conv(nn.Conv2d(2, 2, 1)), "lsbq-w1a2", in_shape=(1, 8, 8))
    assert isinstance(model[1], LsbqActivation)
    with pytest.raises(ValueError, match="no stored scales; run a batch in training mode"):
        lower(model)


@pytest.mark.parametrize("count_bits", [13, 14, 16])
def test_shifted_accumulators_fit_the_multiplier(count_bits):
    model, _images = random_model(1, PactSawbConfig(weight_bits=3, activation_bits=5))
    for layer, lowered in zip(snap(model, count_bits=count_bits).layers,
                              lower(model, count_bits=count_bits).layers, strict=True):
        codes = lowered.requantize
        if codes is not None:
            reach = np.maximum(-layer.integers.low, layer.integers.high).max()
            assert reach >> codes.shift < 1 << count_bits
            # It is the smallest that the machine has.
            assert all(reach >> less >= 1 << count_bits
                       for less in RESCALE_SHIFTS if less < codes.shift)
            assert codes.down == RESCALE_DOWN and codes.shift in RESCALE_SHIFTS
            assert codes.multipliers.max() < 1 << 15 and np.abs(codes.addends).max() < 1 << 31


def wide_codes(net, bits, gain=1.0, seed=0):
    """A calibrated network of wide codes, whose batch norms multiply by ``gain``."""
    torch.manual_seed(seed)
    about = datasets.info("digits")
    model = nets.prepare(nets.NETS[net](about, width=8), PactSawbConfig(activation_bits=bits))
    images = torch.rand(8, *about.in_shape)
    model(images)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.constant_(module.weight, gain)
    return model.eval(), images


def runs(model, images, machine):
    """Compiles for a machine, which then computes what torch does; wide codes are those of their
    quantizers but beside a step."""
    widths = {name: getattr(machine, name) for name in ("scale_bits", "acc_bits", "count_bits")}
    snapped = snap(model, **widths)
    check_fused(model, snapped)
    network = lower(snapped)
    check_codes(snapped, network)
    driver = Driver(ReferenceMachine(machine), compile_network(network, machine, batch=1))
    driver.load()
    codes = network.encode(images.reshape(-1, *network.in_shape))[:2]
    wanted = evaluate(network, codes)
    for name, values in driver.run(codes, observe=True).maps.items():
        np.testing.assert_array_equal(values, wanted[name], err_msg=name)
    maps, _result = snapped.run(images)
    for layer in snapped.layers[:-1]:
        values = layer(maps)
        off = layer.activation(values) - layer.fused.quantizer.encode(layer.mapped(values))
        assert off.abs().max() <= 1 and (off == 0).double().mean() > 0.9, layer.name
    return snapped, network


@pytest.mark.parametrize("bits", [5, 6, 7, 8])
@pytest.mark.parametrize("net, gain", [("mlp", 1), ("cnn", 1), ("cnn", 5), ("resnet", 3),
                                       ("mobilenet", 1)])
def test_wide_codes_run_on_the_presets(net, bits, gain):
    _snapped, network = runs(*wide_codes(net, bits, gain), LARGE)
    for layer in network.layers[:-1]:
        assert layer.requantize.bits == bits and layer.requantize.down == RESCALE_DOWN


def test_accumulators_are_coarser_where_codes_need_more_than_a_multiplier():
    model, images = wide_codes("cnn", 8)
    fine = snap(model)
    model, images = wide_codes("cnn", 8, 8.0)
    coarse, network = runs(model, images, LARGE)
    place = next(index for index, layer in enumerate(fine.layers) if layer.activation
                 and coarse.layers[index].activation.shift < layer.activation.shift)
    reach = [np.maximum(-layer.integers.low, layer.integers.high).max()
             for layer in (fine.layers[place], coarse.layers[place])]
    shift = network.layers[place].requantize.shift
    assert reach[1] < reach[0] and reach[1] >> shift < 1 << 16 <= reach[0] >> shift


@pytest.mark.parametrize("fields", [{"acc_bits": 20}, {"acc_bits": 24}, {"acc_bits": 32},
                                    {"scale_bits": 18}, {"count_bits": 14}], ids=str)
def test_wide_codes_run_on_other_machines(fields):
    model, images = wide_codes("cnn", 7)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.normal_(module.bias, std=1.5)
    machine = replace(LARGE, **fields)
    snapped, _network = runs(model, images, machine)
    # Where no addend holds the begin of the codes, biases do.
    moved = [layer.offsets is not None for layer in snapped.layers]
    assert any(moved) == (machine.acc_bits == 20)


def test_channels_of_one_code_need_no_multiplier():
    model, images = wide_codes("cnn", 8)
    norm = next(module for module in model.modules()
                if isinstance(module, nn.modules.batchnorm._BatchNorm))
    nn.init.constant_(norm.bias[:2], 1.0)
    nn.init.constant_(norm.weight[:2], 1e-9)
    nn.init.constant_(norm.bias[2:4], -1e5)
    _snapped, network = runs(model, images, LARGE)
    codes = network.layers[0].requantize
    assert (codes.multipliers[:4] == 0).all() and (codes.multipliers[4:] > 0).all()
    assert len(np.unique(codes.addends[:4])) == 2


@pytest.mark.parametrize("widths, message", [
    ({"count_bits": 10}, "multiplier must fit in 16 bits, but needs [0-9]+"),
    ({"scale_bits": 10}, "multiplier must fit in 10 bits, but needs [0-9]+"),
])
def test_a_multiplier_too_narrow_for_the_codes_is_named(widths, message):
    model, _images = wide_codes("cnn", 8)
    reason = (r"its 8-bit codes are [0-9.]+ steps of the accumulator apart, too few behind a right "
              r"shift of 4$")
    with pytest.raises(SnapError, match=f"^Layer 'conv[0-9]' channel [0-9]+ {message}: {reason}"):
        snap(model, **widths)


class Clamped(nn.Module):
    """A relu before a sum, and a batch norm behind it."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(1, 2, 1), nn.Conv2d(1, 2, 1)
        self.norm, self.last = nn.BatchNorm2d(2), nn.Conv2d(2, 2, 1)
        nn.init.constant_(self.norm.bias, 1.0)

    def forward(self, x):
        return self.last(torch.relu(self.norm(torch.relu(self.one(x)) + self.two(x))))


def test_an_addend_too_narrow_behind_a_clamp_is_named():
    model = quantize_(Clamped(), PactSawbConfig(activation_bits=8), in_shape=(1, 4, 4))
    model(torch.rand(4, 1, 4, 4))
    snap(model.eval())
    # The bias is in front of the clamp, where it cannot take over.
    with pytest.raises(SnapError, match=r"^Layer '[a-z]+' channel [01] addend must fit in 20 bits, "
                                        r"but needs 2[0-9]: an accumulator of 0 is [0-9.]+ of its "
                                        "8-bit codes$"):
        snap(model, acc_bits=20)
