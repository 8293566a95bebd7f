"""Training: a float network first, then its quantized copy with the float one as teacher."""

import contextlib
import copy
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

import torch
import torch.nn.functional as F
from torch import nn

from .. import data as datasets
from ..passes.check import check_network
from ..quantizers import ActivationQuantizer, scheme_data, scheme_name
from . import nets
from .calibrate import calibrate_, is_post_training

__all__ = ["Progress", "Recipe", "Trained", "TrainError", "accuracy", "fit", "train"]


CALIBRATION_IMAGES = 2048
"""So many training images are enough to calibrate post-training quantizers."""


class TrainError(ValueError):
    """A training option out of its range."""


@dataclass(frozen=True)
class Recipe:
    """Hyperparameters of both trainings.

    Parameters
    ----------
    float_epochs, epochs : int
        Of the float network, and of the quantized one.
    float_rate, rate : float
        Adam's highest learning rate; it falls to 0 along a cosine.
    batch : int
        Images per step.
    seed : int
        Of weights, order of images and shifts.
    threads : int
        Torch threads; more than one is slow where cores are shared.
    """

    float_epochs: int = 25
    epochs: int = 60
    float_rate: float = 3e-3
    rate: float = 3e-3
    batch: int = 64
    seed: int = 1
    threads: int = 1

    def __post_init__(self):
        for name in ("float_epochs", "epochs", "batch", "threads"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise TrainError(f"Training option {name!r} must be a positive integer, "
                                 f"not {value!r}")
        for name in ("float_rate", "rate"):
            if not getattr(self, name) > 0:
                raise TrainError(f"Training option {name!r} must be positive, "
                                 f"not {getattr(self, name)!r}")


@dataclass(frozen=True)
class Progress:
    """One finished epoch: ``stage`` is ``"float"`` or the scheme's name, ``loss`` its mean loss.

    Where quantizers are calibrated instead of trained, an epoch is a layer, and the loss its
    relative squared error.
    """

    stage: str
    epoch: int
    epochs: int
    loss: float


@dataclass(frozen=True, eq=False)
class Trained:
    """What a training leaves.

    Parameters
    ----------
    model : torch.nn.Module
        The quantized network (the float one if no scheme was asked for), in evaluation mode.
    float_model : torch.nn.Module
        The float network; pass it on as ``teacher`` to train another scheme.
    accuracy : dict of str to float
        On the test images, 0 to 1: ``"float"`` and, with a scheme, ``"quantized"``.
    info : dict
        For a checkpoint: ``net``, ``scheme``, ``data``, ``input``, ``seed``, ``accuracy``.
    """

    model: nn.Module
    float_model: nn.Module
    accuracy: dict
    info: dict = field(default_factory=dict)


@contextlib.contextmanager
def _threads(count):
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@torch.no_grad()
def accuracy(model, images, labels, batch=256):
    """Share of images whose largest output is their label, 0 to 1.

    ``images`` and ``labels`` are arrays; the model is evaluated as it is, set it to ``eval``
    before. """
    hits = 0
    for start in range(0, len(images), batch):
        logits = model(torch.from_numpy(images[start:start + batch]))
        hits += int((logits.argmax(dim=1).numpy() == labels[start:start + batch]).sum())
    return hits / len(images)


def _shifted(images, generator):
    """Half of the images moved by up to one pixel each way, zeros coming in."""
    count, _, height, width = images.shape
    padded = F.pad(images, (1, 1, 1, 1))
    moves = torch.randint(0, 3, (count, 2), generator=generator)
    moves[torch.rand(count, generator=generator) < 0.5] = 1
    lines = moves[:, :1] + torch.arange(height)
    columns = moves[:, 1:] + torch.arange(width)
    index = torch.arange(count)[:, None, None]
    return padded[index, :, lines[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _optimizer(model, rate):
    groups: list[dict] = []
    own: set[int] = set()
    for module in model.modules():
        if isinstance(module, ActivationQuantizer) and module.decay:
            parameters = list(module.parameters())
            own.update(map(id, parameters))
            groups.append({"params": parameters, "weight_decay": module.decay})
    groups.append({"params": [each for each in model.parameters() if id(each) not in own]})
    return torch.optim.Adam(groups, lr=rate)


def fit(model, data, *, epochs=60, rate=3e-3, batch=64, seed=1, teacher=None, stage="fit",
        progress: Callable[[Progress], None] | None = None):
    """Trains a model in place, a float or a quantized one, and leaves it in evaluation mode.

    Adam with a cosine schedule; half of the images are shifted by up to a pixel. A model with
    post-training quantizers is calibrated instead, on :data:`CALIBRATION_IMAGES` of the images as
    they are: see :func:`sw.training.calibrate.calibrate_`.

    Parameters
    ----------
    model : torch.nn.Module
        From images to logits.
    data : sw.data.Dataset
        Its training images are used.
    epochs, batch : int
        Passes over the images, and images per step.
    rate : float
        Highest learning rate.
    seed : int
        Of the order of images and of shifts, or of the choice of images to calibrate on.
    teacher : torch.nn.Module, optional
        In evaluation mode; its outputs are targets besides the labels. For calibration, the float
        network that the model was copied from; it is then needed.
    stage : str
        Name for ``progress``.
    progress : callable, optional
        Called after every epoch.

    Raises
    ------
    ValueError
        If the loss does not stay finite, or the model cannot be calibrated.
    """
    generator = torch.Generator().manual_seed(seed)
    images = torch.from_numpy(data.train_images)
    if is_post_training(model):
        if teacher is None:
            raise TrainError("Training option 'teacher' must be the float network where a model is "
                             "calibrated, not None")
        chosen = torch.randperm(len(images), generator=generator)[:CALIBRATION_IMAGES].split(batch)
        report = None if progress is None else lambda *each: progress(Progress(stage, *each))
        calibrate_(model, teacher, lambda: (images[each] for each in chosen), progress=report)
        return
    labels = torch.from_numpy(data.train_labels)
    steps = -(-len(images) // batch)
    optimizer = _optimizer(model, rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * steps)
    model.train()
    for epoch in range(epochs):
        total = 0.0
        for chosen in torch.randperm(len(images), generator=generator).split(batch):
            shifted = _shifted(images[chosen], generator)
            logits = model(shifted)
            loss = F.cross_entropy(logits, labels[chosen])
            if teacher is not None:
                with torch.no_grad():
                    target = teacher(shifted).log_softmax(dim=1)
                loss = loss + F.kl_div(logits.log_softmax(dim=1), target, log_target=True,
                                       reduction="batchmean")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += float(loss.detach()) * len(chosen)
        if not math.isfinite(total):
            raise TrainError(f"Training loss must stay finite, not {total} in epoch {epoch + 1}")
        if progress is not None:
            progress(Progress(stage, epoch + 1, epochs, total / len(images)))
    model.eval()


def train(net="cnn", scheme=None, data="digits", *, recipe=None, teacher=None,
          progress: Callable[[Progress], None] | None = None) -> Trained:
    """Trains a network, the same every time for the same seed.

    Parameters
    ----------
    net, data : str
        Names known to :mod:`sw.training.nets` and :mod:`sw.data`.
    scheme : str, SchemeConfig or None
        None: float only.
    recipe : Recipe, optional
        Hyperparameters.
    teacher : torch.nn.Module, optional
        A trained float network of the same kind; without one it is trained first.
    progress : callable, optional
        Called after every epoch.

    Raises
    ------
    ValueError
        If a name is unknown or an option out of its range.
    """
    recipe = recipe or Recipe()
    if scheme is not None:
        check_network(nets.build(net, scheme, data), datasets.info(data).in_shape)
    images = datasets.load(data)
    with _threads(recipe.threads), torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        if teacher is None:
            teacher = nets.build(net, None, data)
            fit(teacher, images, epochs=recipe.float_epochs, rate=recipe.float_rate,
                batch=recipe.batch, seed=recipe.seed, stage="float", progress=progress)
        teacher.eval()
        scores = {"float": accuracy(teacher, images.test_images, images.test_labels)}
        model, name = teacher, None
        if scheme is not None:
            name = scheme_name(scheme)
            model = nets.prepare(copy.deepcopy(teacher), scheme, data)
            fit(model, images, epochs=recipe.epochs, rate=recipe.rate, batch=recipe.batch,
                seed=recipe.seed, teacher=teacher, stage=name, progress=progress)
            scores["quantized"] = accuracy(model, images.test_images, images.test_labels)
    info = {"net": net, "scheme": scheme_data(scheme), "data": data,
            "input": asdict(images.info), "seed": recipe.seed, "accuracy": scores}
    return Trained(model, teacher, scores, info)
