"""How to train, and what is told of it meanwhile."""

import math
from dataclasses import dataclass
from numbers import Integral

from ..quantizers.registry import look_up
from .augment import AUGMENTATIONS

__all__ = ["Progress", "Recipe", "TrainError"]

_MOST_SEED = 2 ** 63 - 1


class TrainError(ValueError):
    """A training option out of its range, or data that cannot be trained on."""


@dataclass(frozen=True)
class Recipe:
    """Hyperparameters of both trainings.

    Parameters
    ----------
    float_epochs, epochs : int
        Of the float network, and of the quantized one.
    float_rate, rate : float
        Adam's highest learning rate; it falls to 0 along a cosine.
    clip_rate : float
        The same of gradient descent with momentum 0.9, for clipping levels of activations.
    batch : int
        Images per step.
    seed : int
        Of weights, order of images and shifts; 0 or more.
    threads : int
        Torch threads; more than one is slow where cores are shared.
    augment : str or None
        One of :data:`sw.training.augment.AUGMENTATIONS`; None: images stay as they are.

    Raises
    ------
    ValueError
        If an option is out of its range.
    """

    float_epochs: int = 25
    epochs: int = 60
    float_rate: float = 3e-3
    rate: float = 3e-3
    clip_rate: float = 4.0
    batch: int = 64
    seed: int = 1
    threads: int = 1
    augment: str | None = "shift"

    def __post_init__(self):
        for name in ("epochs", "float_epochs", "batch", "threads"):
            value = getattr(self, name)
            if not _is_integer(value) or value < 1:
                raise TrainError(f"Training option {name!r} must be a positive integer, "
                                 f"not {value!r}")
        for name in ("rate", "float_rate", "clip_rate"):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or not 0 < value < math.inf:
                raise TrainError(f"Training option {name!r} must be positive and finite, "
                                 f"not {value!r}")
        if not _is_integer(self.seed) or not 0 <= self.seed <= _MOST_SEED:
            raise TrainError(f"Training option 'seed' must be an integer from 0 to {_MOST_SEED}, "
                             f"not {self.seed!r}")
        if self.augment is not None:
            look_up(AUGMENTATIONS, self.augment, "Augmentation")


def _is_integer(value):
    return isinstance(value, Integral) and not isinstance(value, bool)


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
