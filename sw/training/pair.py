"""A quantized network and the float one it was copied from, followed on the same images."""

import torch

from ..graph.errors import FrontendError
from ..graph.export import export
from ..graph.model import GraphModel, build_modules
from ..passes.normalize import normalize
from .held import HeldValues, peak_values

__all__ = ["MIN_IMAGES", "CalibrationError", "NetworkPair"]

MIN_IMAGES = 32
"""Fewer images say too little of what a layer reads."""


class CalibrationError(ValueError):
    """Images, a float network or options with which a model cannot be calibrated."""


class NetworkPair:
    """Both networks, and the images that are sent through them.

    Parameters
    ----------
    model : sw.graph.model.GraphModel
        The quantized network.
    reference : torch.nn.Module
        The float one, with layers of the same names.
    batches : iterable or callable
    hold : int
        See :func:`sw.training.calibrate.calibrate_`.
    """

    def __init__(self, model, reference, batches, hold=0):
        self.model, self.batches, self.hold = model, batches, hold
        self.reference = _as_graph(reference, model.graph.in_shape)
        self.held = {}

    def pair(self, name):
        """The module of a name in both."""
        return self.model.get_submodule(name), self.reference.get_submodule(name)

    def check(self, layers):
        """Raises CalibrationError unless the reference has layers and their norms, and the images
        fit it.

        Parameters
        ----------
        layers : dict of str to str or None
            Modules of layers, and of the batch norm behind each.
        """
        mine, theirs = self.model.state_dict(), self.reference.state_dict()
        needed = [f"{name}.weight" for name in layers]
        needed += [f"{norm}.running_mean" for norm in layers.values() if norm is not None]
        for key in needed:
            found = tuple(theirs[key].shape) if key in theirs else None
            if found != tuple(mine[key].shape):
                raise CalibrationError(f"Reference must have a tensor {key!r} of shape "
                                       f"{tuple(mine[key].shape)}, not {found}")
        next(self.images())
        self._hold_values()

    def _hold_values(self):
        """Keeps the images, if what both networks make of them may be held."""
        each = sum(peak_values(network.graph) for network in (self.model, self.reference))
        batches, left = [], self.hold
        for images in self.images() if left else ():
            left -= each * len(images) * images.element_size()
            if left < 0:
                return
            # A loader may fill the same tensor again.
            batches.append(images.clone())
        if batches:
            self.held = {network: HeldValues(network, batches)
                         for network in (self.model, self.reference)}

    def _read_by(self, node, *networks):
        """What a node of each of some networks reads, batch by batch: held, or from the images on.
        """
        held = [self.held[network].read_by(node) for network in networks if self.held]
        rows = (zip(*held, strict=True) if held and None not in held
                else ([network.inputs_of(node, images)[0] for network in networks]
                      for images in self.images()))
        for row in rows:
            if not all(torch.isfinite(values).all() for values in row):
                raise CalibrationError(f"Node {node!r} must read finite values in calibration")
            yield row

    def images(self):
        """One pass over all images."""
        count, wanted = 0, self.model.graph.in_shape
        for images in self.batches() if callable(self.batches) else self.batches:
            if not isinstance(images, torch.Tensor) or not images.is_floating_point():
                kind = images.dtype if isinstance(images, torch.Tensor) else type(images).__name__
                raise CalibrationError(f"Calibration images must be float tensors, not {kind}")
            if tuple(images.shape[1:]) != wanted:
                raise CalibrationError(f"Calibration images must have shape {wanted} each, not "
                                       f"{tuple(images.shape[1:])}")
            if not torch.isfinite(images).all():
                wrong = images[~torch.isfinite(images)][0].item()
                raise CalibrationError(f"Calibration images must be finite, not {wrong!r}")
            count += len(images)
            yield images
        if count < MIN_IMAGES:
            raise CalibrationError(f"Calibration images must be at least {MIN_IMAGES} in every "
                                   f"pass over them, not {count}")

    def quantized_inputs(self, node):
        """What a node of the quantized network reads, batch by batch."""
        return (values for (values,) in self._read_by(node, self.model))

    def inputs(self, node):
        """What a layer reads in the float and in the quantized network, batch by batch."""
        # What rounding the network's own input costs is no error of a layer before this one.
        first = self.model.graph[node].inputs[0] == self.model.graph.nodes[0].name
        if first:
            return ((values, values) for (values,) in self._read_by(node, self.model))
        return self._read_by(node, self.reference, self.model)


def _as_graph(reference, in_shape):
    if any(hasattr(module, "weight_quantizer") for module in reference.modules()):
        raise CalibrationError("Reference must be the float network, not a quantized one")
    if isinstance(reference, GraphModel):
        return reference.eval()
    try:
        graph, state = export(reference, in_shape)
    except FrontendError as error:
        raise CalibrationError(f"Reference must be what the model was quantized from: {error}"
                               ) from None
    graph = normalize(graph)
    return GraphModel(graph, build_modules(graph, state)).eval()
