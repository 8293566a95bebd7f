"""Training by name: a float network first, then its quantized copy, taught by the float one."""

import contextlib
import copy
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

import torch
from torch import nn

from .. import data as datasets
from ..passes.check import check_network
from ..quantizers import scheme_data, scheme_name
from . import nets
from .accuracy import accuracy
from .fit import fit
from .recipe import Progress, Recipe

__all__ = ["Trained", "train"]


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


def train(net="cnn", scheme=None, data="digits", *, recipe=None, teacher=None,
          progress: Callable[[Progress], None] | None = None) -> Trained:
    """Trains a network, the same every time for the same seed.

    Parameters
    ----------
    net, data : str
        Names known to :mod:`sw.training.nets` and :mod:`sw.data`.
    scheme : str, SchemeConfig, mapping of patterns to these, or None
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
        check_network(nets.build(net, scheme, data))
    images = datasets.load(data)
    with _threads(recipe.threads), torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        if teacher is None:
            teacher = nets.build(net, None, data)
            fit(teacher, images, epochs=recipe.float_epochs, rate=recipe.float_rate,
                batch=recipe.batch, seed=recipe.seed, augment=recipe.augment, stage="float",
                progress=progress)
        teacher.eval()
        scores = {"float": accuracy(teacher, images.test_images, images.test_labels)}
        model, name = teacher, None
        if scheme is not None:
            name = scheme_name(scheme)
            model = nets.prepare(copy.deepcopy(teacher), scheme, data)
            fit(model, images, epochs=recipe.epochs, rate=recipe.rate, batch=recipe.batch,
                clip_rate=recipe.clip_rate, seed=recipe.seed, augment=recipe.augment,
                teacher=teacher, stage=name, progress=progress)
            scores["quantized"] = accuracy(model, images.test_images, images.test_labels)
    info = {"net": net, "scheme": scheme_data(scheme), "data": data,
            "input": asdict(images.info), "seed": recipe.seed, "accuracy": scores}
    return Trained(model, teacher, scores, info)
