"""The training loop of one model, and the check of what it is trained on."""

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F

from ..quantizers import ActivationQuantizer
from .augment import AUGMENTATIONS
from .calibrate import calibrate_, is_post_training
from .recipe import Progress, Recipe, TrainError

__all__ = ["CALIBRATION_IMAGES", "fit"]

CALIBRATION_IMAGES = 2048
"""So many training images are enough to calibrate post-training quantizers."""

_CLIP_MOMENTUM = 0.9


def fit(model, data, *, epochs=60, rate=3e-3, clip_rate=4.0, batch=64, seed=1, augment=None,
        teacher=None, stage="fit", progress: Callable[[Progress], None] | None = None):
    """Trains a model in place, a float or a quantized one, and leaves it in evaluation mode.

    Adam; clipping levels of activations by gradient descent with momentum, as in PACT's paper: Adam
    would divide their decay away. All rates fall along a cosine. A last batch of a single image
    joins the one before it. A model with post-training quantizers is calibrated instead, on
    :data:`CALIBRATION_IMAGES` of the images as they are: see
    :func:`sw.training.calibrate.calibrate_`.

    Parameters
    ----------
    model : torch.nn.Module
        From images to logits.
    data : sw.data.Dataset or pair of arrays
        Its training images are used; or images, of floats in whatever shape the model reads, and
        labels, whole numbers ``(n,)``.
    epochs, batch : int
        Passes over the images, and images per step.
    rate, clip_rate : float
        Highest learning rate of Adam, and that of clipping levels.
    seed : int
        Of the order of images and of augmentation, or of the choice of images to calibrate on.
    augment : str or None
        One of :data:`sw.training.augment.AUGMENTATIONS`, such as ``"shift"``; None: images stay as
        they are.
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
        If an option is out of its range, images are not finite floats, labels are no classes of the
        model, the loss does not stay finite, or the model cannot be calibrated.
    """
    Recipe(epochs=epochs, rate=rate, clip_rate=clip_rate, batch=batch, seed=seed, augment=augment)
    images, labels = _tensors(model, data)
    generator = torch.Generator().manual_seed(seed)
    if is_post_training(model):
        if teacher is None:
            raise TrainError("Training option 'teacher' must be the float network where a model is "
                             "calibrated, not None")
        chosen = torch.randperm(len(images), generator=generator)[:CALIBRATION_IMAGES].split(batch)
        report = None if progress is None else lambda *each: progress(Progress(stage, *each))
        calibrate_(model, teacher, lambda: (images[each] for each in chosen), progress=report)
        return
    optimizers = _optimizers(model, rate, clip_rate)
    steps = len(_batches(len(images), batch, torch.Generator()))
    schedules = [torch.optim.lr_scheduler.CosineAnnealingLR(each, epochs * steps)
                 for each in optimizers]
    change = AUGMENTATIONS[augment] if augment else lambda images, _generator: images
    highest = int(labels.max())
    model.train()
    try:
        for epoch in range(epochs):
            total = 0.0
            for chosen in _batches(len(images), batch, generator):
                loss = _loss(model, teacher, change(images[chosen], generator), labels[chosen],
                             highest)
                for each in optimizers:
                    each.zero_grad()
                loss.backward()
                for each in (*optimizers, *schedules):
                    each.step()
                total += float(loss.detach()) * len(chosen)
            if not math.isfinite(total):
                raise TrainError(f"Training loss must stay finite, not {total} in epoch "
                                 f"{epoch + 1}")
            if progress is not None:
                progress(Progress(stage, epoch + 1, epochs, total / len(images)))
    finally:
        model.eval()


def _batches(count, batch, generator):
    """All images in a new order, none of them alone unless all are: batch norm needs company."""
    batches = list(torch.randperm(count, generator=generator).split(batch))
    if batch > 1 and len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches


def _loss(model, teacher, images, labels, highest):
    try:
        logits = model(images)
    except ValueError as error:
        if len(images) > 1:
            raise
        raise TrainError(f"Training must have at least 2 images per step for this model: "
                         f"{error}") from None
    if logits.dim() != 2 or highest >= logits.shape[1]:
        raise TrainError(f"Training labels must be below the model's outputs, of shape "
                         f"{tuple(logits.shape)}, but go up to {highest}")
    loss = F.cross_entropy(logits, labels)
    if teacher is not None:
        with torch.no_grad():
            target = teacher(images).log_softmax(dim=1)
        loss = loss + F.kl_div(logits.log_softmax(dim=1), target, log_target=True,
                               reduction="batchmean")
    return loss


def _tensors(model, data):
    """Images in the number format of the model, and labels, as the loop needs them."""
    if hasattr(data, "train_images"):
        images, labels = data.train_images, data.train_labels
    elif isinstance(data, (tuple, list)) and len(data) == 2:
        images, labels = data
    else:
        raise TrainError("Training data must be a data set or a pair of images and labels, not "
                         f"{type(data).__name__}")
    images, labels = np.asarray(images), np.asarray(labels)
    if images.dtype.kind != "f" or images.ndim < 2 or not len(images):
        raise TrainError(f"Training images must be floats of shape (n, ...) with n of at least 1, "
                         f"not {images.dtype} of shape {images.shape}")
    if not np.isfinite(images).all():
        raise TrainError(f"Training images must be finite, not {images[~np.isfinite(images)][0]}")
    if labels.dtype.kind not in "iu" or labels.shape != images.shape[:1]:
        raise TrainError(f"Training labels must be integers of shape ({len(images)},), a class for "
                         f"each image, not {labels.dtype} of shape {labels.shape}")
    if labels.min() < 0:
        raise TrainError(f"Training labels must be 0 or more, not {labels.min()}")
    kind = next((each.dtype for each in model.parameters() if each.is_floating_point()),
                torch.float32)
    # Torch takes no array that is read-only, runs backwards or has the other byte order.
    images = np.require(images, np.float64 if images.dtype.itemsize > 4 else np.float32, ["C", "W"])
    return torch.from_numpy(images).to(kind), torch.from_numpy(labels.astype(np.int64))


def _optimizers(model, rate, clip_rate):
    """Adam, and gradient descent for the parameters that activation quantizers have themselves."""
    clips: list[dict] = []
    for module in model.modules():
        if isinstance(module, ActivationQuantizer) and list(module.parameters()):
            clips.append({"params": list(module.parameters()), "weight_decay": module.clip_decay})
    own = {id(each) for group in clips for each in group["params"]}
    others = [each for each in model.parameters() if id(each) not in own]
    found: list[torch.optim.Optimizer] = []
    if others:
        found.append(torch.optim.Adam(others, lr=rate))
    if clips:
        found.append(torch.optim.SGD(clips, lr=clip_rate, momentum=_CLIP_MOMENTUM))
    return found
