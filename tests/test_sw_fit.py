"""The training loop, on models and data of a user's own."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from xnorloom.sw.training.fit import fit
from xnorloom.sw.training.recipe import TrainError

RNG = np.random.default_rng(0)
IMAGES = RNG.random((33, 3, 6, 6), dtype=np.float32)
LABELS = RNG.integers(0, 4, 33)


class Viewing(nn.Module):
    """A model as people write them: it looks at its input, and counts what it is given."""

    def __init__(self, inputs=108):
        super().__init__()
        self.linear, self.norm = nn.Linear(inputs, 4), nn.BatchNorm1d(4)
        self.seen = []

    def forward(self, x):
        self.seen.append(x.detach().clone())
        return self.norm(self.linear(x.view(x.shape[0], -1)))


def fitted(images=IMAGES, labels=LABELS, model=None, **options):
    model = model or Viewing(math.prod(np.shape(images)[1:]))
    fit(model, (images, labels), **{"epochs": 2, "batch": 8} | options)
    return model


@pytest.mark.parametrize("augment", [None, "shift"])
def test_a_model_gets_contiguous_images_as_they_are_unless_they_shall_be_shifted(augment):
    model = fitted(augment=augment)
    assert all(batch.is_contiguous() for batch in model.seen)
    first = torch.cat(model.seen[:len(model.seen) // 2])
    given = {image.tobytes() for image in IMAGES}
    found = sum(image.numpy().tobytes() in given for image in first)
    assert len(first) == 33 and (found == 33 if augment is None else 10 < found < 30)


@pytest.mark.parametrize("shape", [(16,), (16, 1, 1), (1, 1, 16)])
@pytest.mark.parametrize("augment", [None, "shift"])
def test_vectors_and_signals_are_left_alone(shape, augment):
    signals = RNG.random((32, *shape), dtype=np.float32)
    model = fitted(signals, LABELS[:32], epochs=1, augment=augment)
    seen = torch.cat(model.seen).flatten(1).numpy()
    assert {tuple(row) for row in seen} == {tuple(row) for row in signals.reshape(32, -1)}


@pytest.mark.parametrize("count, batch, sizes", [
    (33, 8, [8, 8, 8, 9]), (33, 32, [33]), (32, 8, [8] * 4), (31, 8, [8, 8, 8, 7]),
    (33, 64, [33])])
def test_no_image_is_alone_and_none_is_lost(count, batch, sizes):
    rates = []
    model = fitted(IMAGES[:count], LABELS[:count], batch=batch, epochs=1,
                   progress=lambda done: rates.append(done.loss))
    assert [len(seen) for seen in model.seen] == sizes and math.isfinite(rates[0])
    assert len({image.numpy().tobytes() for image in torch.cat(model.seen)}) == count


def test_one_image_per_step_is_what_some_models_can_do():
    convolution = nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2), nn.Flatten(),
                                nn.Linear(32, 4))
    fit(convolution, (IMAGES[:3], LABELS[:3]), epochs=1, batch=1)
    for images, batch in ((IMAGES[:3], 1), (IMAGES[:1], 8)):
        with pytest.raises(TrainError, match="^Training must have at least 2 images per step for "
                                             "this model: Expected more than 1 value"):
            fitted(images, LABELS[:len(images)], batch=batch)


def test_the_rate_falls_to_zero_with_the_last_step(monkeypatch):
    rates, honest = [], torch.optim.Adam.step

    def spy(self, *arguments, **options):
        rates.append(self.param_groups[0]["lr"])
        return honest(self, *arguments, **options)

    monkeypatch.setattr(torch.optim.Adam, "step", spy)
    fitted(rate=1.0)
    assert len(rates) == 8
    assert rates == pytest.approx([(1 + math.cos(math.pi * step / 8)) / 2 for step in range(8)])


@pytest.mark.parametrize("convert", [
    lambda images: images.astype(np.float64), lambda images: images.astype(">f4"),
    lambda images: np.asfortranarray(images), lambda images: images[::-1][::-1],
    lambda images: images.tolist(), lambda images: torch.from_numpy(images),
    lambda images: np.broadcast_to(images, images.shape),
])
@pytest.mark.parametrize("kind", [np.int32, np.uint8, np.int64])
def test_images_and_labels_of_every_type_train_alike(convert, kind):
    def weight(images, labels):
        torch.manual_seed(0)
        return fitted(images, labels, Viewing()).linear.weight

    assert torch.equal(weight(convert(IMAGES.copy()), LABELS.astype(kind)), weight(IMAGES, LABELS))


def test_a_model_in_double_precision_gets_what_it_computes_with():
    model = fitted(model=Viewing().double())
    assert model.seen[0].dtype == torch.float64


@pytest.mark.parametrize("images, labels, message", [
    (np.where(IMAGES > 0.9, np.nan, IMAGES), LABELS, "Training images must be finite, not nan"),
    ((255 * IMAGES).astype(np.uint8), LABELS, ("Training images must be floats of shape (n, ...) "
     "with n of at least 1, not uint8 of shape (33, 3, 6, 6)")),
    (IMAGES[:0], LABELS[:0], ("Training images must be floats of shape (n, ...) with n of at least "
     "1, not float32 of shape (0, 3, 6, 6)")),
    (IMAGES, LABELS[:32], ("Training labels must be integers of shape (33,), a class for each "
     "image, not int64 of shape (32,)")),
    (IMAGES, LABELS.astype(float), ("Training labels must be integers of shape (33,), a class for "
     "each image, not float64 of shape (33,)")),
    (IMAGES, np.eye(4, dtype=int)[LABELS], ("Training labels must be integers of shape (33,), a "
     "class for each image, not int64 of shape (33, 4)")),
    (IMAGES, LABELS - 1, "Training labels must be 0 or more, not -1"),
])
def test_data_that_cannot_be_trained_on_is_one_sentence(images, labels, message):
    model = Viewing()
    with pytest.raises(TrainError) as caught:
        fitted(images, labels, model)
    assert str(caught.value) == message and not model.seen


def test_labels_beyond_the_outputs_and_a_model_without_logits():
    model = Viewing()
    with pytest.raises(TrainError, match=r"below the model's outputs, of shape \(8, 4\), but go up "
                                         "to 5$"):
        fitted(labels=np.where(LABELS == 3, 5, LABELS), model=model)
    assert not model.training
    with pytest.raises(TrainError, match=r"of shape \(8, 3, 6, 6\), but go up to 3$"):
        fitted(model=nn.Sequential(nn.Conv2d(3, 3, 1)))


@pytest.mark.parametrize("options, message", [
    ({"epochs": 0}, "'epochs' must be a positive integer, not 0"),
    ({"batch": 0}, "'batch' must be a positive integer, not 0"),
    ({"rate": 0}, "'rate' must be positive and finite, not 0"),
    ({"seed": -1}, "'seed' must be an integer from 0 to "),
    ({"augment": "flip"}, "Augmentation must be a registered name, not 'flip'; known: shift"),
])
def test_options_out_of_range(options, message):
    with pytest.raises(ValueError) as caught:
        fitted(**options)
    assert message in str(caught.value)


def test_data_that_is_none():
    with pytest.raises(TrainError, match="^Training data must be a data set or a pair of images "
                                         "and labels, not str$"):
        fit(Viewing(), "digits")
