"""Images and labels of every kind: torch, reference and machine are given the same, or a sentence
says what is wrong."""

import numpy as np
import pytest

from tests.stand_in import StandIn
from xnorloom.errors import UserError
from xnorloom.verbs import building, comparison, running
from xnorloom.verbs.inputs import test_images as inputs

torch = pytest.importorskip("torch")

SHAPE, STEP, TOP = (1, 4, 4), 1 / 15, 15
CODES = np.arange(96).reshape(6, *SHAPE) * 7 % 16
LABELS = np.arange(6) % 3


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    monkeypatch.setattr(running, "open_machine", lambda config, **_options: StandIn(config))


def quantized(*layers, norm=None):
    from xnorloom.sw.passes.quantize import quantize_

    torch.manual_seed(0)
    shape = {torch.nn.Linear: (16,), torch.nn.Conv1d: (1, 16)}.get(type(layers[0]), SHAPE)
    network = torch.nn.Sequential(*layers) if norm is None else torch.nn.Sequential(norm, *layers)
    model = quantize_(network, "pact-sawb-w2a2", in_shape=shape, input_bits=4, input_step=STEP)
    model(torch.rand(8, *shape))
    return model.eval()


@pytest.fixture(scope="module")
def cnn():
    return quantized(torch.nn.Conv2d(1, 4, 3, padding=1, bias=False), torch.nn.BatchNorm2d(4),
                     torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(64, 3))


@pytest.fixture(scope="module")
def mlp():
    return quantized(torch.nn.Linear(16, 8), torch.nn.BatchNorm1d(8), torch.nn.ReLU(),
                     torch.nn.Linear(8, 3))


@pytest.fixture(scope="module")
def signals():
    return quantized(torch.nn.Conv1d(1, 4, 3, padding=1), torch.nn.ReLU(), torch.nn.Flatten(),
                     torch.nn.Linear(64, 3))


def outcome(model, images, labels=LABELS, **options):
    """What compare says, its mismatches being none, and simulate's labels, the same."""
    report = comparison.compare(model, (images, labels), "tiny", **options)
    (scheme,) = report["schemes"]
    assert scheme["mismatches"] == {"torch_vs_reference": 0, "reference_vs_rtl": 0}
    image = building.compile(model, "tiny")
    run = running.simulate(image, (images, labels))
    assert run["accuracy"]["hardware"] == scheme["accuracy"]["hardware"]
    return run["predictions"]


def read_only(images):
    images.flags.writeable = False
    return images


@pytest.mark.parametrize("convert", [
    lambda values: values,
    lambda values: values.astype(np.float32),
    lambda values: values.astype(">f8"),
    lambda values: values.astype(np.longdouble),
    lambda values: values[::-1][::-1],
    lambda values: np.asfortranarray(values),
    read_only,
    lambda values: values.tolist(),
    torch.from_numpy,
    lambda values: torch.from_numpy(values).requires_grad_(),
    lambda values: CODES.astype(np.uint8),
    lambda values: CODES.astype(np.int64),
    lambda values: CODES.astype(">u2"),
    lambda values: CODES.tolist(),
    lambda values: torch.from_numpy(CODES.astype(np.uint8)),
])
@pytest.mark.parametrize("net", ["cnn", "mlp"])
def test_values_and_codes_of_every_type_mean_the_same(convert, net, request):
    model = request.getfixturevalue(net)
    values = CODES * STEP
    if net == "mlp":
        values = values.reshape(6, 16)
    images = convert(values.copy())
    if net == "mlp":
        images = images.reshape(6, 16) if hasattr(images, "reshape") else \
            np.reshape(images, (6, 16)).tolist()
    expected = comparison.compare(model, (values, LABELS), "tiny")["schemes"][0]["accuracy"]
    outcome(model, images)
    got = comparison.compare(model, (images, LABELS), "tiny")["schemes"][0]["accuracy"]
    assert got["hardware"] == expected["hardware"] and got["snapped"] == expected["snapped"]


@pytest.mark.parametrize("kind", [np.float16, torch.bfloat16])
def test_coarse_floats_and_booleans_are_the_values_they_are(cnn, kind):
    values = CODES * STEP
    coarse = torch.from_numpy(values).to(kind) if isinstance(kind, torch.dtype) \
        else values.astype(kind)
    assert outcome(cnn, coarse) == outcome(cnn, np.asarray(torch.as_tensor(coarse).double()))
    dark = CODES > 7
    assert outcome(cnn, dark) == outcome(cnn, dark.astype(np.float64)) == \
        outcome(cnn, (TOP * dark).astype(np.uint8))


def test_values_halfway_between_codes_round_alike(cnn, mlp):
    halfway = (np.random.default_rng(0).integers(-2, 34, (200, 16)) / 2) * STEP
    halfway = np.concatenate([halfway, np.nextafter(halfway, 2), np.nextafter(halfway, -2)])
    outcome(mlp, halfway, None)
    outcome(cnn, halfway.reshape(-1, *SHAPE), None)


def test_a_model_in_training_is_compared_as_it_will_be_and_left_as_it_is(cnn):
    cnn.train()
    before = {name: value.clone() for name, value in cnn.state_dict().items()}
    outcome(cnn, CODES)
    assert cnn.training
    assert all(torch.equal(value, before[name]) for name, value in cnn.state_dict().items())
    cnn.eval()


@pytest.mark.parametrize("shape", [(6, 1, 16), (6, 1, 1, 16)])
def test_signals_come_with_a_line_or_without(signals, shape):
    values = (CODES * STEP).reshape(shape)
    assert outcome(signals, values) == outcome(signals, CODES.reshape(shape))
    with pytest.raises(UserError, match=r"^Images must have shape \(n, 1, 1, 16\) for this"):
        comparison.compare(signals, (values.reshape(6, 16), LABELS), "tiny")


def test_codes_of_pixels_that_are_normalized_first_are_refused():
    torch.manual_seed(0)
    model = quantized(torch.nn.Conv2d(1, 4, 3, bias=False), torch.nn.ReLU(), torch.nn.Flatten(),
                      torch.nn.Linear(16, 3), norm=torch.nn.BatchNorm2d(1))
    outcome(model, CODES * STEP)
    with pytest.raises(UserError, match="^Images must be values of pixels for this network, which "
                                        "normalizes them before they are codes, not int64$"):
        comparison.compare(model, (CODES, LABELS), "tiny")


@pytest.mark.parametrize("size, known", [(4, True), (3, False)])
def test_labels_are_for_one_result_of_an_image(size, known):
    model = quantized(torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.ReLU(),
                      torch.nn.Conv2d(4, 3, size))
    run = running.simulate(building.compile(model, "tiny"), (CODES * STEP, LABELS))
    (scheme,) = comparison.compare(model, (CODES * STEP, LABELS), "tiny")["schemes"]
    assert scheme["mismatches"] == {"torch_vs_reference": 0, "reference_vs_rtl": 0}
    wanted = np.array(run["predictions"])
    assert wanted.shape == ((6,) if known else (6, 2, 2))
    for found in (run["accuracy"]["hardware"], scheme["accuracy"]["hardware"],
                  scheme["accuracy"]["snapped"]):
        assert found == (float((wanted == LABELS).mean()) if known else None)


@pytest.mark.parametrize("images, message", [
    (np.full((6, *SHAPE), np.nan), "Images must be finite, not nan"),
    (np.where(CODES == 3, -np.inf, 0.0), "Images must be finite, not -inf"),
    (np.full((6, *SHAPE), np.longdouble("1e400")), "Images must be finite, not inf"),
    (CODES + 1, ("Images of integers must be codes of pixels, from 0 to 15 for this network, not "
                "1..16")),
    (CODES - 1, ("Images of integers must be codes of pixels, from 0 to 15 for this network, not "
                "-1..14")),
    (CODES + 2j, "Images must be an array of numbers, not ndarray of dtype complex128"),
    (CODES.astype(str), "Images must be an array of numbers, not ndarray of dtype <U21"),
    ([[1, 2], [3]] * 3, "Images must be an array of numbers, not list"),
    (None, "Images must be an array of numbers, not NoneType of dtype object"),
    (np.zeros(6), ("Images must have shape (n, channels, height, width) or (n, inputs) and be at "
                  "least one, not (6,)")),
    (np.zeros((0, *SHAPE)), ("Images must have shape (n, channels, height, width) or (n, inputs) "
                            "and be at least one, not (0, 1, 4, 4)")),
    (np.zeros((6, 4, 4)), "Images must have shape (n, 1, 4, 4) for this network, not (6, 4, 4)"),
    (np.zeros((6, 1, 4, 5)), ("Images must have shape (n, 1, 4, 4) for this network, not "
                             "(6, 1, 4, 5)")),
])
def test_images_that_cannot_be_run_are_one_sentence(cnn, images, message):
    image = building.compile(cnn, "tiny", in_shape=SHAPE)
    for call in (lambda: comparison.compare(cnn, (images, LABELS), "tiny", in_shape=SHAPE),
                 lambda: running.simulate(image, (images, LABELS))):
        with pytest.raises(UserError) as caught:
            call()
        assert str(caught.value) == message


@pytest.mark.parametrize("labels", [
    LABELS.astype(np.float32), LABELS.astype(np.uint8), LABELS.tolist(), torch.from_numpy(LABELS)])
def test_whole_numbers_of_every_type_are_labels(labels):
    images, read = inputs((CODES, labels), 5)
    assert read.dtype == np.int64 and read.tolist() == LABELS[:5].tolist() and len(images) == 5


@pytest.mark.parametrize("labels, message", [
    (LABELS + 0.5, "Labels must be whole numbers, not 0.5"),
    (np.full(6, np.nan), "Labels must be whole numbers, not nan"),
    (np.full(6, np.inf), "Labels must be whole numbers, not inf"),
    (np.eye(3)[LABELS], "Labels must have shape (6,), a class for each image, not (6, 3)"),
    (LABELS[:5], "Labels must have shape (6,), a class for each image, not (5,)"),
    (3, "Labels must have shape (6,), a class for each image, not ()"),
    (list("abcdef"), "Labels must be an array of numbers, not list of dtype <U1"),
])
def test_labels_that_are_none_are_one_sentence(labels, message):
    with pytest.raises(UserError) as caught:
        inputs((CODES, labels))
    assert str(caught.value) == message


@pytest.mark.parametrize("count", [0, -1, 7, 10 ** 30, 2.0, "3"])
def test_a_count_that_is_none(count):
    with pytest.raises(UserError, match="^Count must be from 1 to the 6 images there are, not "):
        inputs((CODES, LABELS), count)


def test_data_that_is_none():
    with pytest.raises(UserError, match="^Data must be a known name, a data set or a pair of "
                                        "images and labels, not ndarray$"):
        inputs(CODES)
