import numpy as np
import pytest
import torch

from xnorloom.sw import data
from xnorloom.sw.training import nets
from xnorloom.sw.training.accuracy import accuracy
from xnorloom.sw.training.augment import shift
from xnorloom.sw.training.recipe import Recipe, TrainError
from xnorloom.sw.training.train import train

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
    moved = shift(images, torch.Generator().manual_seed(0))
    assert moved.shape == images.shape
    lines, columns = np.nonzero(moved.sum(dim=(0, 1)).numpy())
    assert set(lines) <= {1, 2, 3} and set(columns) <= {1, 2, 3} and len(lines) == 9
    assert torch.equal(moved.sum(dim=(1, 2, 3)), torch.ones(200))
    assert 0.4 < float(moved[:, 0, 2, 2].mean()) < 0.7


@pytest.mark.parametrize("shape", [(8, 16), (8, 16, 1, 1), (8, 3, 1, 64), (8, 1, 3, 9), (8, 2, 9)])
def test_what_is_no_image_is_not_shifted(shape):
    signals = torch.rand(shape)
    assert shift(signals, torch.Generator().manual_seed(0)) is signals


def test_training_augments_unless_told_not_to():
    plain = Recipe(float_epochs=1, augment=None)
    assert not torch.equal(train("cnn", recipe=SHORT).model.conv1.weight,
                           train("cnn", recipe=plain).model.conv1.weight)
    with pytest.raises(ValueError, match="^Augmentation must be a registered name, not 'shft', "
                                         "did you mean 'shift'"):
        Recipe(augment="shft")


def test_accuracy_counts_hits():
    images = np.eye(4, dtype=np.float32)
    assert accuracy(torch.nn.Identity(), images, np.array([0, 1, 2, 0]), batch=3) == 0.75


@pytest.mark.parametrize("options, message", [
    ({"epochs": 0}, "Training option 'epochs' must be a positive integer, not 0"),
    ({"threads": 1.0}, "Training option 'threads' must be a positive integer, not 1.0"),
    ({"batch": True}, "Training option 'batch' must be a positive integer, not True"),
    ({"rate": -1.0}, "Training option 'rate' must be positive and finite, not -1.0"),
    ({"rate": float("inf")}, "Training option 'rate' must be positive and finite, not inf"),
    ({"float_rate": "1"}, "Training option 'float_rate' must be positive and finite, not '1'"),
    ({"seed": -1}, f"Training option 'seed' must be an integer from 0 to {2 ** 63 - 1}, not -1"),
    ({"seed": 2 ** 63}, (f"Training option 'seed' must be an integer from 0 to {2 ** 63 - 1}, not "
                        f"{2 ** 63}")),
    ({"seed": 1.5}, f"Training option 'seed' must be an integer from 0 to {2 ** 63 - 1}, not 1.5"),
])
def test_options_out_of_range(options, message):
    with pytest.raises(TrainError) as caught:
        Recipe(**options)
    assert str(caught.value) == message


def test_unknown_names_are_found_before_training():
    with pytest.raises(ValueError, match="^Scheme must be a registered name, not 'none'"):
        train("cnn", "none")
    with pytest.raises(ValueError, match="^Net must be a registered name, not 'resnet19', did y"):
        train("resnet19")
