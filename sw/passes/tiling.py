"""How one layer lies on the machine: its limits, folding of its kernel, layouts and taps."""

import dataclasses
from dataclasses import dataclass

import numpy as np

from xnorloom.hw.spec.descriptor import MAX_BORDER, MAX_PLANES

from ..bitplanes import group_count
from ..errors import CompileError
from ..machine.layout import MapLayout
from ..ops.limits import broken_limit, out_map

__all__ = ["FoldedKernel", "check_layer", "fold_kernel", "input_layout", "output_layout",
           "tap_entries"]


@dataclass(frozen=True)
class FoldedKernel:
    """A convolution whose kernel taps the host packs into channels.

    The channel of input channel c and tap (ky, kx) is ``(c * height + ky) * width + kx``.
    """

    kernel: tuple
    stride: tuple
    padding: tuple
    pad_code: int


def check_layer(layer, config):
    """Checks one layer against the machine and against itself.

    Raises
    ------
    CompileError
        If the layer is beyond the machine's reach or contradicts itself.
    """
    def demand(what, requirement, value, holds):
        if not holds:
            raise CompileError(f"Layer {layer.name!r} {what} must be {requirement}, not {value!r}")

    channels, height, width = layer.in_shape
    planes, outputs, inputs, *kernel = layer.weights.shape
    groups = group_count(layer.grouping, kernel)
    broken = broken_limit(kernel=kernel, stride=layer.stride, padding=layer.padding,
                          in_map=(height, width), weight_planes=planes)
    if broken:
        raise CompileError(f"Layer {layer.name!r} {broken}")
    expected = (outputs, *out_map((height, width), kernel, layer.stride, layer.padding))
    demand("output shape", f"{expected}", tuple(layer.out_shape),
           tuple(layer.out_shape) == expected)
    demand("weight inputs", f"the input channels ({channels})", inputs, inputs == channels)
    demand("weights", "bits", layer.weights.dtype.name,
           layer.weights.size > 0 and layer.weights.min() >= 0 and layer.weights.max() <= 1)
    _check_format(layer.name, "input", layer.input_format, MAX_PLANES)
    shape = (outputs, groups, layer.input_format.planes, planes)
    demand("scales", f"of shape {shape}", layer.scales.shape, layer.scales.shape == shape)
    demand("biases", f"of shape {(outputs,)}", layer.biases.shape, layer.biases.shape == (outputs,))
    exponents = np.shape(layer.frac_bits)
    demand("frac_bits", "one integer" + ("" if layer.requantize is None else
                                         f", or one of each of {outputs} channels"),
           layer.frac_bits, np.asarray(layer.frac_bits).dtype.kind == "i" and (
               exponents == () or layer.requantize is not None and exponents == (outputs,)))
    if layer.requantize is not None:
        form, thresholds = layer.requantize.format, layer.requantize.thresholds
        demand("activation bits", f"at most {config.code_bits} on this machine (more run in torch "
               "and in sw.graph.evaluate only)", form.planes, form.planes <= config.code_bits)
        _check_format(layer.name, "output", form, config.code_bits)
        steps = (outputs, len(form.table) - 1)
        demand("thresholds", f"of shape {steps}", thresholds.shape, thresholds.shape == steps)
        demand("thresholds", "rising", "a falling staircase",
               (np.diff(thresholds, axis=1) >= 0).all())


def _check_format(name, which, form, most):
    table = np.asarray(form.table)
    if table.ndim != 2 or not 1 <= table.shape[1] <= most or len(table) != 1 << table.shape[1]:
        raise CompileError(f"Layer {name!r} {which} code table must have shape (2 ** k, k) with k "
                           f"from 1 to {most}, not {table.shape}")
    if not 0 <= form.pad_code < len(table):
        raise CompileError(f"Layer {name!r} {which} pad code must be from 0 to {len(table) - 1}, "
                           f"not {form.pad_code!r}")


def fold_kernel(layer, lanes):
    """Turns a convolution into a 1 x 1 one over its taps, where that fills the lanes better.

    Returns
    -------
    tuple of MatrixLayer, FoldedKernel or None
        The layer to compile, and how the host gathers its input.
    """
    _planes, outputs, inputs, height, width = layer.weights.shape
    taps = height * width
    if layer.scales.shape[1] != 1 or -(-inputs * taps // lanes) >= taps * -(-inputs // lanes):
        return layer, None
    folded = dataclasses.replace(
        layer, weights=layer.weights.reshape(len(layer.weights), outputs, inputs * taps, 1, 1),
        grouping="layer", stride=(1, 1), padding=(0, 0),
        in_shape=(inputs * taps, *layer.out_shape[1:]))
    return folded, FoldedKernel((height, width), tuple(layer.stride), tuple(layer.padding),
                                int(layer.input_format.pad_code))


def input_layout(layer, config, batch):
    """Layout of the map that `layer` reads, for a batch of images."""
    channels, height, width = layer.in_shape
    stride_y, stride_x = layer.stride
    return MapLayout(
        rows=config.rows, lanes=config.lanes, images=batch, channels=channels, height=height,
        width=width, planes=layer.input_format.planes, stride_y=stride_y, stride_x=stride_x,
        pitch_y=max(layer.out_shape[1], -(-height // stride_y)),
        pitch_x=max(layer.out_shape[2], -(-width // stride_x)))


def output_layout(layer, config, batch):
    """Layout of the codes of a layer that no other layer reads: as it writes them."""
    channels, height, width = layer.out_shape
    return MapLayout(rows=config.rows, lanes=config.lanes, images=batch, channels=channels,
                     height=height, width=width, planes=layer.requantize.format.planes,
                     stride_y=1, stride_x=1, pitch_y=height, pitch_x=width)


def tap_entries(layer, layout):
    """Fields of the kernel taps of a layer in the order of the tap table, as dictionaries."""
    def outside(tap, pad, stride, size, out_size):
        before = max(0, -(-(pad - tap) // stride))
        behind = out_size - min(out_size, (size - 1 + pad - tap) // stride + 1)
        return min(before, MAX_BORDER), min(behind, MAX_BORDER), before + behind >= out_size

    _channels, in_height, in_width = layer.in_shape
    _outputs, out_height, out_width = layer.out_shape
    entries = []
    for ky in range(layer.kernel[0]):
        for kx in range(layer.kernel[1]):
            dy, phase_y = divmod(ky - layer.padding[0], layout.stride_y)
            dx, phase_x = divmod(kx - layer.padding[1], layout.stride_x)
            row_step, rotation = divmod(dy * layout.pitch_x + dx, layout.rows)
            phase = phase_y * layout.stride_x + phase_x
            above, below, never_y = outside(ky, layer.padding[0], layout.stride_y, in_height,
                                            out_height)
            left, right, never_x = outside(kx, layer.padding[1], layout.stride_x, in_width,
                                           out_width)
            if never_y or never_x:
                # A tap that never meets the map reads padding only: its offset is free.
                phase = row_step = rotation = 0
            entries.append({
                "offset": phase * layout.phase_words + row_step * layout.tile_words,
                "rotation": rotation,
                "above": above, "below": below, "left": left, "right": right})
    return entries
