"""Before planning: maps that two strides read are copied, few input channels are folded."""

import dataclasses
from dataclasses import dataclass

import numpy as np

from xnorloom.hw.spec.descriptor import RESCALE_DOWN

from ..errors import CompileError
from ..graph.network import CodeFormat, Layer, Rescale, Staircase, Term, binary_table

__all__ = ["FoldedKernel", "Prepared", "prepare_network"]


@dataclass(frozen=True)
class FoldedKernel:
    """A convolution whose kernel taps the host packs into channels.

    The channel of input channel c and tap (ky, kx) is ``(c * height + ky) * width + kx``.
    """

    kernel: tuple
    stride: tuple
    dilation: tuple
    padding: tuple
    pad_code: int


@dataclass(frozen=True, eq=False)
class Prepared:
    """A network as it is compiled.

    Parameters
    ----------
    layers : tuple of Layer
        With copies and a folded kernel.
    originals : tuple of Layer or None
        What the network calls each of them; None for a copy.
    shapes : dict of str to tuple
        Channels, height and width of the input and of every layer's codes.
    formats : dict of str to CodeFormat
    strides : dict of str to tuple
        Vertical and horizontal stride of the readers of every map.
    folded : FoldedKernel or None
    """

    layers: tuple
    originals: tuple
    shapes: dict
    formats: dict
    strides: dict
    folded: FoldedKernel | None


def prepare_network(network, config, *, fold):
    """Inserts copies and folds the kernel that reads the input.

    Parameters
    ----------
    network : sw.graph.network.Network
        Checked.
    config : hw.spec.config.MachineConfig
    fold : bool
        Whether a kernel may be folded.

    Returns
    -------
    Prepared

    Raises
    ------
    CompileError
        If a map must be copied and the machine cannot.
    """
    layers, folded, shape = list(network.layers), None, tuple(network.in_shape)
    readers = [(index, term) for index, layer in enumerate(layers) for term in layer.terms
               if term.source == "input"]
    if fold and len(readers) == 1:
        index, term = readers[0]
        new, folded = _fold(term, layers[index].map, config.lanes)
        if folded is not None:
            terms = tuple(new if each is term else each for each in layers[index].terms)
            layers[index] = dataclasses.replace(layers[index], terms=terms)
            shape = new.weights.shape[2], *layers[index].map
    shapes, formats = {"input": shape}, {"input": network.input_format}
    for layer in layers:
        if layer.requantize is not None:
            shapes[layer.name], formats[layer.name] = layer.out_shape, layer.format
    pairs = list(zip(layers, network.layers, strict=True))
    strides = {}
    for name in list(shapes):
        pairs = _split_readers(name, pairs, shapes, formats, strides, config)
    return Prepared(*zip(*pairs, strict=True), shapes, formats, strides, folded)


def _fold(term, out_map, lanes):
    """Turns a convolution into a 1 x 1 one over its taps, where that fills the lanes better."""
    planes, outputs, inputs, height, width = term.weights.shape
    taps = height * width
    if (term.scales.shape[1] != 1 or term.blocks > 1 or term.border is not None
            or -(-inputs * taps // lanes) >= taps * -(-inputs // lanes)):
        return term, None
    folded = dataclasses.replace(
        term, weights=term.weights.reshape(planes, outputs, inputs * taps, 1, 1),
        grouping="layer", stride=(1, 1), dilation=(1, 1), padding=(0, 0, 0, 0))
    return folded, FoldedKernel((height, width), tuple(term.stride), tuple(term.dilation),
                                tuple(term.padding), int(term.pad_code))


def _stride(layer, term):
    """Stride of a term; None in a direction where it makes one pixel, so that any stride does."""
    return tuple(step if size > 1 else None
                 for step, size in zip(term.stride, layer.map, strict=True))


def _joined(one, two):
    """A stride that serves both, or None."""
    pairs = list(zip(one, two, strict=True))
    if any(a is not None and b is not None and a != b for a, b in pairs):
        return None
    return tuple(b if a is None else a for a, b in pairs)


def _groups(readers):
    """Readers grouped by a stride that serves them: lists of stride and terms."""
    groups = []
    for wanted, term in readers:
        for group in groups:
            joined = _joined(group[0], wanted)
            if joined is not None:
                group[0] = joined
                group[1].append(term)
                break
        else:
            groups.append([wanted, [term]])
    return groups


def _split_readers(name, pairs, shapes, formats, strides, config):
    """Gives every group of readers of one stride a map of its own."""
    readers = [(_stride(layer, term), term) for layer, _original in pairs
               for term in layer.terms if term.source == name]
    groups = _groups(readers)
    if len(groups) > 1:
        # A copy reads pixel by pixel, so the map itself must be laid out so.
        groups = _groups([((1, 1), None), *readers])
    strides[name] = _known(groups[0][0]) if groups else (1, 1)
    for wanted, terms in groups[1:]:
        taken = {*shapes, *(layer.name for layer, _original in pairs)}
        number = next(k for k in range(1, 1 << 30) if f"{name}.copy{k}" not in taken)
        copy = _copy(name, f"{name}.copy{number}", shapes[name], formats[name], config)
        shapes[copy.name], formats[copy.name] = shapes[name], copy.format
        strides[copy.name] = _known(wanted)
        pairs = [(_redirected(layer, terms, copy.name, formats[name]), original)
                 for layer, original in pairs]
        behind = next((place + 1 for place, (layer, _original) in enumerate(pairs)
                       if layer.name == name), 0)
        pairs.insert(behind, (copy, None))
    return pairs


def _known(stride):
    return tuple(1 if step is None else step for step in stride)


def _copy(source, name, shape, form, config):
    """A layer that copies a map plane by plane: its codes are the planes as a number."""
    channels, *size = shape
    weights = np.zeros((1, channels, 1, 1, 1), dtype=np.uint8)
    requantize, lift = _as_it_is(source, channels, form.planes, config)
    levels = 1 << lift + np.arange(form.planes, dtype=np.int64)
    scales = np.broadcast_to(levels[:, None], (channels, 1, form.planes, 1))
    zeros = np.zeros(channels, dtype=np.int64)
    return Layer(name, (Term(source, weights, scales, blocks=channels),), zeros, 0, tuple(size),
                 requantize, format=CodeFormat(binary_table(form.planes)))


def _as_it_is(source, channels, bits, config):
    """Makes codes of accumulators that are codes, shifted left by so many bits."""
    if bits <= config.code_bits:
        steps = np.arange(1, 1 << bits)
        return Staircase(np.broadcast_to(steps, (channels, len(steps)))), 0
    if config.rescale:
        lift = max(0, RESCALE_DOWN + 2 - config.scale_bits)
        factors = np.full(channels, 1 << RESCALE_DOWN - lift, dtype=np.int64)
        return Rescale(factors, 0 * factors, 0, RESCALE_DOWN, bits), lift
    raise CompileError(f"Layer {source!r} map must be read with one stride where it has {bits} "
                       f"planes, which this machine cannot copy, not with several")


def _redirected(layer, terms, name, form):
    """The layer, with those of its terms that are among `terms` reading a copy."""
    numbers = np.asarray(form.table).astype(int) @ (1 << np.arange(form.planes))
    changed = tuple(
        dataclasses.replace(term, source=name, pad_code=int(numbers[term.pad_code]))
        if any(term is each for each in terms) else term for term in layer.terms)
    return dataclasses.replace(layer, terms=changed)
