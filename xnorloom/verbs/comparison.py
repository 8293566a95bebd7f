"""``compare``: torch, integer reference and RTL, every value of every layer, every cycle."""

import copy
import time

import numpy as np

from xnorloom.hw.spec.config import load_machine

from ..output import check_output, make_folder, write_json
from ..report.progress import track
from ..report.report import new_report, scheme_entry
from . import running
from .building import inspect, load_network
from .inputs import real_images, share_right, test_images

__all__ = ["compare", "compare_on"]

_STALLS = ("stalled_on_drain", "stalled_on_output", "stalled_on_input")


def compare(model, data="digits", machine="default", *, in_shape=None, count=None, batch=None,
            engine="verilator", json=None, verbose=False):
    """Shows that torch, the integer reference and the simulated machine agree to the last bit.

    Parameters
    ----------
    model : path or torch.nn.Module
        A checkpoint, or a quantized model of your own.
    data : str, sw.data.Dataset or pair of arrays
        What to run: test images of a data set, or ``(images, labels)``. Images of floats are the
        values of pixels, of integers their codes; see :mod:`xnorloom.verbs.inputs`.
    machine : str, path or MachineConfig
    in_shape : tuple of int or None
        What the model was quantized for, if that is to be checked.
    count : int or None
        Images to run; None: all.
    batch : int or None
        Images per run; None: as many as fit.
    engine : str
        ``verilator`` or ``icarus``.
    json : path or None
        Also write the report there.
    verbose : bool
        Whether progress is printed.

    Returns
    -------
    dict
        A report, see :mod:`xnorloom.report.report`, with one scheme. Its mismatches and cycles tell
        the result: nothing is raised where something differs.

    Raises
    ------
    ValueError
        If the model, the machine, the data, an output or a tool is not as it must be.
    """
    start = time.monotonic()
    config = load_machine(machine)
    if json is not None:
        check_output(json, "Report", model, machine)
    images, labels = test_images(data, count)
    prepared = _Prepared(model, config, images, in_shape, batch, verbose)
    # The checkpoint's float accuracy was measured on all test images of its own data set.
    whole = count is None and data == prepared.image.metadata["info"].get("data")
    with running.open_machine(config, engine=engine, verbose=verbose) as transport:
        entry = prepared.entry(transport, labels, whole=whole, verbose=verbose)
        cycles, seconds = transport.cycles, transport.seconds
    report = new_report(config, [entry], cycles, seconds, time.monotonic() - start)
    if json is not None:
        write_json(json, report)
    return report


def compare_on(transport, model, config, images, labels, *, output=None, whole=True,
               verbose=False):
    """Like :func:`compare`, on a machine that already runs and that others use too.

    Parameters
    ----------
    transport : sw.machine.transport.Transport
    model : path or torch.nn.Module
    config : MachineConfig
    images, labels : array
        What to run, of :func:`xnorloom.verbs.inputs.test_images`.
    whole : bool
        Whether that is the whole test set, on which the checkpoint's float accuracy was measured.
    output : path or None
        Image file to write.
    verbose : bool

    Returns
    -------
    dict
        Entry of one scheme of a report.
    """
    prepared = _Prepared(model, config, images, None, None, verbose)
    if output is not None:
        make_folder(output)
        prepared.image.save(output)
    return prepared.entry(transport, labels, whole=whole, verbose=verbose)


class _Prepared:
    """A model in all its forms, quantized, snapped, lowered, compiled, and the images for it."""

    def __init__(self, model, config, images, in_shape, batch, verbose):
        with track("compile", shown=verbose) as advance:
            network, self.snapped, self.model = load_network(model, config, in_shape)
            from xnorloom.sw.passes.compiler import compile_network

            self.image = compile_network(network, config, batch=batch)
            advance(1, f"{network.name}, {self.image.batch} images per run")
        self.config = config
        self.images = real_images(self.image.metadata["input"], images)

    def entry(self, transport, labels, *, whole, verbose):
        """Runs everything and counts what differs."""
        from xnorloom.sw.machine.driver import Driver
        from xnorloom.sw.machine.reference import ReferenceMachine
        from xnorloom.sw.quantizers import scheme_name

        described, images = self.image.metadata, self.images
        name = scheme_name(described["info"].get("scheme")) or described["network"]
        with track(f"{name}: torch", shown=verbose):
            traced, outputs, scores = self._torch(labels)
        with track(f"{name}: integer reference", len(images), shown=verbose) as advance:
            driver = Driver(ReferenceMachine(self.config), self.image)
            driver.load()
            reference = driver.run(images, observe=True,
                                   progress=lambda done, _total: advance(done))
        with track(f"{name}: RTL", 2 * len(images), shown=verbose) as advance:
            driver = Driver(transport, self.image)
            driver.reset()
            driver.load()
            # First as it is meant to run, back to back; then stopping to read every map.
            run = driver.run(images, progress=lambda done, _total: advance(done))
            rtl = driver.run(images, observe=True,
                             progress=lambda done, total: advance(total + done))
        if labels is not None:
            scores["hardware"] = share_right(run.labels, labels)
            if whole:
                scores["float"] = self.image.metadata["info"].get("accuracy", {}).get("float")
        layers = self._layers(traced, reference, rtl, run)
        from xnorloom.sw.machine.estimate import estimate_cycles

        cycles = {"predicted": estimate_cycles(self.image) * len(run.batches),
                  "measured": run.cycles}
        known = inspect(self.image)
        return scheme_entry(name, len(images), scores, layers, cycles,
                            results={
                                "torch_vs_reference": _differing(outputs, reference.outputs),
                                "reference_vs_rtl": _differing(reference.outputs, rtl.outputs)
                                + _differing(rtl.outputs, run.outputs)},
                            net=described["info"].get("net"), timeline=self._timeline(run),
                            maps=known["maps"], memories=known["memories"])

    def _torch(self, labels):
        import torch

        tensor = torch.from_numpy(self.images.reshape(-1, *self.snapped.fusion.in_shape))
        traced, outputs, scores = self.snapped.trace(tensor), self.snapped(tensor).numpy(), {}
        if labels is not None:
            for stage, model in (("quantized", self.model), ("snapped", self.snapped)):
                if stage == "quantized" and model is self.snapped:
                    continue
                scores[stage] = _score(model, tensor, labels)
        return traced, outputs, scores

    def _layers(self, traced, reference, rtl, run):
        from xnorloom.sw.machine.estimate import estimate

        rows = []
        batches = len(run.batches)
        for layer, predicted, counters in zip(self.image.layers, estimate(self.image), run.layers,
                                              strict=True):
            rows.append({
                **{key: predicted[key] for key in (
                    "name", "in_shape", "out_shape", "kernel", "activation_planes",
                    "weight_planes", "terms", "passes")},
                "pool": layer["pool"],
                "cycles": {"predicted": predicted["cycles"] * batches,
                           "measured": counters["cycles"]},
                "busy_cycles": counters["busy"],
                **{f"{stall}_cycles": counters[stall] for stall in _STALLS},
                "useful_lane_cycles": predicted["useful"] * batches,
                "lanes_total": self.config.rows * self.config.cols * self.config.lanes,
                **_compared(layer, traced, reference, rtl, run),
            })
        return rows

    def _timeline(self, run):
        """Which layer ran when in the first batch; between layers the machine fetches one."""
        from xnorloom.sw.machine.estimate import estimate

        first, clock, intervals = run.batches[0], 0, []
        for row, counters in zip(estimate(self.image), first.layers, strict=True):
            clock += counters["stalled_on_input"]
            lanes = self.config.rows * self.config.cols * self.config.lanes
            intervals.append({"layer": row["name"], "start": clock,
                              "end": clock + counters["cycles"],
                              "utilization": row["useful"] / (counters["cycles"] * lanes)})
            clock += counters["cycles"]
        return {"images": self.image.batch, "cycles": first.cycles, "intervals": intervals}


def _score(model, images, labels):
    import torch

    # Its owner may be in the middle of training it.
    model = copy.deepcopy(model).eval()
    kind = next((each.dtype for each in model.parameters()), images.dtype)
    with torch.no_grad():
        return share_right(model(images.to(kind)).argmax(dim=1).numpy(), labels)


def _compared(layer, traced, reference, rtl, run):
    """Values of a layer that differ, and how many there are."""
    name = layer["name"]
    if layer["copy"]:
        # No layer of the network: it brings a map into another layout, and its reader is compared.
        return {"mismatches": {"torch_vs_reference": 0, "reference_vs_rtl": 0},
                "values_compared": 0}
    expected = traced[name]
    if layer["sign"] is not None:
        expected = expected * np.array(layer["sign"])[:, None, None]
    differ = _differing(reference.maps[name], rtl.maps[name])
    if layer["raw"]:
        # The run back to back returns these too, so it is held to them as well.
        differ += _differing(rtl.maps[name], run.accumulators)
    return {"mismatches": {"torch_vs_reference": _differing(expected, reference.maps[name]),
                           "reference_vs_rtl": differ},
            "values_compared": int(reference.maps[name].size)}


def _differing(one, other):
    if one.shape != other.shape:
        return max(one.size, other.size)
    return int((one != other).sum())
