"""Checkpoints: a network's tensors and what it is rebuilt from; never a pickled module."""

import copy
import dataclasses
from pathlib import Path

import torch
from torch import nn

from .. import data as datasets
from ..files import FileError, whole_file
from ..graph.model import GraphModel
from ..graph.text import parse, to_text
from ..passes.build import build
from ..quantizers import get_scheme, scheme_data
from . import nets

__all__ = ["CheckpointError", "load", "save"]

FORMAT = "xnorloom-checkpoint"
VERSION = 3
"""Version 2 had no graph, and is read as well: its nets are known by name."""


class CheckpointError(ValueError):
    """A file that is not a checkpoint of ours, or one that cannot be rebuilt or written."""


def save(path, model, info):
    """Writes a checkpoint; the file appears whole or not at all.

    Parameters
    ----------
    path : path-like
    model : sw.graph.model.GraphModel or torch.nn.Module
        What ``quantize_`` returned, of whatever model, or a float one of
        :func:`sw.training.nets.build`.
    info : dict
        What the model is rebuilt from, and any other plain data: ``net`` and ``data`` are names;
        the graph of a quantized network is stored as text, so its net may be any;
        ``scheme`` is a registered name, a configuration (stored as
        :func:`sw.quantizers.scheme_data` of it) or None. ``input`` are the fields of the data
        set's description, so that the files need not be there when it is loaded; they are read
        now if they are missing.

    Raises
    ------
    CheckpointError
        If a name is missing or the file cannot be written.
    """
    for key in ("net", "data"):
        if not isinstance(info.get(key), str):
            raise CheckpointError(f"Checkpoint info {key!r} must be a name, not {info.get(key)!r}")
    if "scheme" not in info:
        raise CheckpointError("Checkpoint info 'scheme' must be given, or None")
    info = {**info, "scheme": scheme_data(info["scheme"])}
    if "input" not in info:
        info["input"] = dataclasses.asdict(datasets.info(info["data"]))
    content = {"format": FORMAT, "version": VERSION, "info": info, "state": model.state_dict()}
    if isinstance(model, GraphModel):
        content["graph"] = to_text(model.graph)
    try:
        with whole_file(path, "Checkpoint") as temporary, temporary.open("wb") as file:
            torch.save(content, file)
    except FileError as error:
        raise CheckpointError(str(error)) from None


def load(path):
    """Reads a checkpoint and rebuilds its network.

    Returns
    -------
    model : torch.nn.Module
        In evaluation mode.
    info : dict

    Raises
    ------
    CheckpointError
        If the file is absent, is not ours, is of another version, names something unknown, or does
        not fit the network it names.
    """
    shown = repr(str(path))
    try:
        with Path(path).open("rb") as file:
            content = torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        raise CheckpointError(f"Checkpoint {shown} cannot be read: "
                              f"{error.strerror or error}") from None
    except Exception:  # torch.load raises half a dozen types on a file that is not its own
        raise CheckpointError(f"Checkpoint {shown} must be a file written by xnorloom train; this "
                              "one is something else, or damaged") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(f"Checkpoint {shown} must be a file written by xnorloom train, not "
                              "some other torch file")
    version = content.get("version")
    if version not in (2, VERSION):
        advice = ": train the network again with this version" if version == 1 else ""
        raise CheckpointError(f"Checkpoint {shown} must be of version 2 or {VERSION}, not "
                              f"{version!r}{advice}")
    info, state = content.get("info"), content.get("state")
    if not isinstance(info, dict) or not isinstance(state, dict):
        raise CheckpointError(f"Checkpoint {shown} must hold info and tensors, and does not")
    try:
        about = datasets.DataInfo(**info["input"])
    except (KeyError, TypeError):
        raise CheckpointError(f"Checkpoint {shown} must describe its input, and does not") from None
    try:
        model = _rebuilt(content.get("graph"), info, state, about)
        model.load_state_dict(state)
        _check_runs(model)
    except ValueError as error:
        raise CheckpointError(f"Checkpoint {shown} cannot be rebuilt: {error}") from None
    except (RuntimeError, AttributeError, TypeError, LookupError, ArithmeticError, MemoryError):
        raise CheckpointError(f"Checkpoint {shown} must hold the tensors of net "
                              f"{info.get('net')!r} in scheme {info.get('scheme')!r}, and does "
                              "not") from None
    return model.eval(), info


def _rebuilt(graph, info, state, about):
    """A network of the right shape; its tensors may still be others."""
    if graph is None:
        return nets.build(info.get("net"), info.get("scheme"), about)
    tensors = {name: value if name.rpartition(".")[2] in _BUFFERS
               else nn.Parameter(value, requires_grad=value.is_floating_point())
               for name, value in state.items()}
    return build(parse(graph), tensors, get_scheme(info.get("scheme")))


@torch.no_grad()
def _check_runs(model):
    """Raises whatever torch raises if the nodes of a stranger's graph do not fit each other."""
    if not isinstance(model, GraphModel):
        return
    with torch.random.fork_rng(devices=[]):
        values = copy.deepcopy(model).train().values(torch.rand(2, *model.graph.in_shape))
    for node in model.graph.nodes:
        found = tuple(values[node.name].shape[1:])
        if found != node.shape:
            raise ValueError(f"Node {node.name!r} must have shape {found!r}, not {node.shape!r}")


_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")
