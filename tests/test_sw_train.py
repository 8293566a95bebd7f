import numpy as np
import pytest
import torch

from xnorloom.sw import data
from xnorloom.sw.training import nets
from xnorloom.sw.training.train import Recipe, TrainError, _shifted, accuracy, train

SHORT = Recipe(float_epochs=1, epochs=1)


def test_a_short_training_reports_and_learns():
    seen = []
    threads = torch.get_num_threads()
    result = train("cnn", "pact-sawb-w2a2", recipe=SHORT, progress=seen.append)
    assert [(each.stage, each.epoch, each.epochs) for each in seen] == [
        ("float", 1, 1), ("pact-sawb-w2a2", 1, 1)]
    assert result.accuracy["float"] > 0.8 and result.accuracy["quantized"] > 0.6
    assert result.info["net"] == "cnn" and result.info["scheme"] == "pact-sawb-w2a2"
    assert not result.model.training and torch.get_num_threads() == threads
    digits = data.load("digits")
    assert accuracy(result.model, digits.test_images, digits.test_labels) == pytest.approx(
        result.accuracy["quantized"])


def test_the_same_seed_gives_the_same_network():
    torch.manual_seed(5)
    first = train("cnn", recipe=SHORT)
    torch.manual_seed(6)
    second = train("cnn", recipe=SHORT)
    other = train("cnn", recipe=Recipe(float_epochs=1, seed=7))
    for mine, yours in zip(first.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(mine, yours)
    assert not torch.equal(first.model.conv1.weight, other.model.conv1.weight)


def test_a_teacher_is_not_trained_again():
    teacher = nets.build("cnn")
    before = [each.clone() for each in teacher.parameters()]
    seen = []
    result = train("cnn", "lsbq-w1a2", recipe=SHORT, teacher=teacher, progress=seen.append)
    assert result.float_model is teacher and [each.stage for each in seen] == ["lsbq-w1a2"]
    assert all(torch.equal(*pair) for pair in zip(before, teacher.parameters(), strict=True))


def test_shifts_move_by_one_pixel_at_most():
    images = torch.zeros(200, 1, 5, 5)
    images[:, 0, 2, 2] = 1.0
    moved = _shifted(images, torch.Generator().manual_seed(0))
    assert moved.shape == images.shape
    lines, columns = np.nonzero(moved.sum(dim=(0, 1)).numpy())
    assert set(lines) <= {1, 2, 3} and set(columns) <= {1, 2, 3} and len(lines) == 9
    assert torch.equal(moved.sum(dim=(1, 2, 3)), torch.ones(200))
    assert 0.4 < float(moved[:, 0, 2, 2].mean()) < 0.7


def test_accuracy_counts_hits():
    images = np.eye(4, dtype=np.float32)
    assert accuracy(torch.nn.Identity(), images, np.array([0, 1, 2, 0]), batch=3) == 0.75


@pytest.mark.parametrize("options, message", [
    ({"epochs": 0}, "Training option 'epochs' must be a positive integer, not 0"),
    ({"threads": 1.0}, "Training option 'threads' must be a positive integer, not 1.0"),
    ({"rate": -1.0}, "Training option 'rate' must be positive, not -1.0"),
])
def test_options_out_of_range(options, message):
    with pytest.raises(TrainError) as caught:
        Recipe(**options)
    assert str(caught.value) == message


def test_unknown_names_are_found_before_training():
    with pytest.raises(ValueError, match="^Scheme must be a registered name, not 'none'"):
        train("cnn", "none")
    with pytest.raises(ValueError, match="^Net must be a registered name, not 'resnet', did you"):
        train("resnet")
