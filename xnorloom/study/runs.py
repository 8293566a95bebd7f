"""Runs of the table: one scheme with one seed, trained, and compared on the machine; kept on disk.

What was trained is kept by a hash of all that shapes it: net, data, the configuration, the recipe
and the code that trains. What was compared is kept by the machine and all other code besides.
"""

import contextlib
import json
import math
import time
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from xnorloom.hw.spec.config import MachineConfig

from ..output import write_json
from ..verbs import running
from ..verbs.comparison import compare_on
from ..verbs.inputs import test_images
from .sources import digest

__all__ = ["Runner", "Setting", "code_digests", "recipe"]


@dataclass(frozen=True)
class Setting:
    """What all runs of a table share.

    Parameters
    ----------
    folder : path
        Where results are kept.
    net, data : str
        Registered names.
    machine : MachineConfig
    code : dict
        See :func:`code_digests`; taken once, so that code edited meanwhile is not taken for what
        runs.
    epochs, count : int or None
        Less training or fewer images, for a quick look; None: all.
    """

    folder: Path
    net: str
    data: str
    machine: MachineConfig
    code: dict
    epochs: int | None = None
    count: int | None = None


def code_digests(schemes):
    """Digests of the code that trains each scheme (under its name), the float network (None) and
    of the code that compares (``"compare"``)."""
    from xnorloom.sw.quantizers import get_scheme

    modules = {scheme: [type(get_scheme(scheme)).__module__] for scheme in schemes} | {None: []}
    return {scheme: digest("xnorloom.sw.training.train", *used)
            for scheme, used in modules.items()} | {
        "compare": digest("xnorloom.verbs.comparison", "xnorloom.sim.cocotb_server")}


def recipe(seed, epochs=None):
    """How a run with a seed is trained; ``epochs``: for a quick look.

    Raises
    ------
    ValueError
        If one is out of its range.
    """
    from xnorloom.sw.training.recipe import Recipe

    return Recipe(seed=seed) if epochs is None else Recipe(seed=seed, epochs=epochs,
                                                           float_epochs=epochs)


class Runner:
    """Works off runs on one simulated machine, which is started by the first that needs it.

    Use it as a context manager.

    Parameters
    ----------
    setting : Setting
    progress : callable, optional
        Given a line on what is going on.
    """

    def __init__(self, setting, progress=lambda note: None):
        from xnorloom.sim.cache import BuildCache

        self.setting, self._progress = setting, progress
        self._cache = BuildCache(setting.folder)
        self._open = contextlib.ExitStack()
        self._machine = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._open.close()

    def checkpoint(self, scheme, seed):
        """Path of a trained network; ``scheme`` None is the float one.

        Raises
        ------
        ValueError
            If a name is unknown or the training fails.
        """
        from xnorloom.sw.training import checkpoint, train

        name, key, how = self._training(scheme, seed)
        setting = self.setting

        def make(folder):
            start = time.monotonic()
            teacher = None
            if scheme is not None:
                teacher, _info = checkpoint.load(self.checkpoint(None, seed))
            trained = train.train(
                setting.net, scheme, setting.data, recipe=how, teacher=teacher,
                progress=lambda done: self._progress(f"{name}: epoch {done.epoch} of "
                                                     f"{done.epochs}, loss {done.loss:.3f}"))
            checkpoint.save(folder / "net.pt", trained.model,
                            {**trained.info, "seconds": round(time.monotonic() - start, 1)})

        return self._cache.get(f"{name}-{key}", make) / "net.pt"

    def result(self, scheme, seed):
        """One run's figures: a dictionary of plain values, see :func:`.table.table`."""
        name, key, _how = self._training(scheme, seed)
        setting = self.setting
        key = self._cache.key([key, setting.machine.as_dict(), setting.count,
                               setting.code["compare"]])

        def make(folder):
            path = self.checkpoint(scheme, seed)
            images, labels = test_images(setting.data, setting.count)
            self._progress(f"{name}: torch, reference and RTL")
            entry = compare_on(self._transport(), path, setting.machine, images, labels,
                               output=folder / "net.xlm", whole=setting.count is None)
            write_json(folder / "run.json", {"scheme": scheme, "seed": seed, **_figures(entry),
                                             **_costs(path, folder / "net.xlm")})

        path = self._cache.get(f"{name}-run-{key}", make) / "run.json"
        return json.loads(path.read_text(encoding="utf-8"))

    def _training(self, scheme, seed):
        from xnorloom.sw.quantizers import get_scheme

        how = recipe(seed, self.setting.epochs)
        config = None if scheme is None else get_scheme(scheme)
        key = self._cache.key([self.setting.net, self.setting.data, repr(config), asdict(how),
                               self.setting.code[scheme], version("torch")])
        return f"{scheme or 'float'}-seed{seed}", key, how

    def _transport(self):
        if self._machine is None:
            self._progress("build the simulated machine")
            self._machine = self._open.enter_context(running.open_machine(self.setting.machine))
        return self._machine


def _figures(entry):
    """What a report's entry of a scheme says, without its layers."""
    figures = {key: entry[key] for key in ("images", "accuracy", "mismatches", "values_compared",
                                           "cycles", "utilization")}
    figures["mispredicted_layers"] = sum(
        layer["cycles"]["predicted"] != layer["cycles"]["measured"] for layer in entry["layers"])
    return figures


def _costs(checkpoint_path, image_path):
    """Bits of weights and activations of a network's inner layers, and bytes of its image."""
    from xnorloom.sw.machine.image import Image
    from xnorloom.sw.training import checkpoint

    model, info = checkpoint.load(checkpoint_path)
    image = Image.load(image_path)
    terms = {layer["name"]: layer["terms"][0] for layer in image.layers}
    layers = [node for node in model.graph.nodes
              if "weights" in node.attributes and node.name in terms]
    inner = layers[len(layers) // 2]
    activation = next(node for node in model.graph.nodes
                      if node.op == "quantize" and node["codes"] == "scheme")
    values = len(set(model.module(activation).codebook().reconstruct().tolist()))
    return {"weight_bits": math.log2(model.module(inner).weight_quantizer.levels),
            "activation_bits": math.log2(values),
            "weight_planes": terms[inner.name]["weight_planes"],
            "image_bytes": 4 * len(image.program), "training_seconds": info["seconds"]}
