"""Compiler: turns a network into the contents of the machine's memories."""

from dataclasses import dataclass

import numpy as np

from xnorloom.hw.spec.config import PRESETS
from xnorloom.hw.spec.descriptor import DESCRIPTOR, DESCRIPTOR_TAG, PAIR, TAP, descriptor_limits
from xnorloom.hw.spec.memory import Memory

from ..errors import CompileError, DoesNotFit
from ..graph.network import MatrixLayer
from ..machine.frames import build_sections
from ..machine.image import Image
from ..machine.pack import pack_biases, pack_records, pack_scales, pack_thresholds, pack_weights
from .allocate import FOREVER, Bump, Lifetime, PaddingWords, allocate_maps, check_usage
from .describe import describe_network
from .schedule import schedule_passes
from .tiling import FoldedKernel, check_layer, fold_kernel, input_layout, output_layout, tap_entries

__all__ = ["CompileError", "DoesNotFit", "compile_network"]


def compile_network(network, config, *, batch=None):
    """Compiles a network for a machine.

    Parameters
    ----------
    network : sw.graph.network.Network
        Layers in order of execution; each reads the input or a layer before it.
    config : hw.spec.config.MachineConfig
        The machine.
    batch : int or None
        Images of one run. None: as many as fit, at most ``rows``.

    Returns
    -------
    sw.machine.image.Image

    Raises
    ------
    CompileError
        If a layer is beyond the machine's reach, an accumulator could overflow, or (as
        :class:`DoesNotFit`) a memory is too small.
    """
    if batch is not None and (isinstance(batch, bool) or not isinstance(batch, (int, np.integer))
                              or batch < 1):
        raise CompileError(f"Batch must be an integer of at least 1, not {batch!r}")
    try:
        return _compile(network, config, batch)
    except DoesNotFit as error:
        raise DoesNotFit(f"{error.what}, for network {network.name!r},", error.need, error.have,
                         _fitting_preset(network, config, batch)) from None


def _fitting_preset(network, config, batch):
    for preset in PRESETS.values():
        if preset.fingerprint == config.fingerprint:
            continue
        try:
            _compile(network, preset, batch)
        except CompileError:
            continue
        return f"preset {preset.name!r} fits"
    return "no preset fits"


def _compile(network, config, batch):
    _check_network(network, config)
    candidates = range(config.rows, 0, -1) if batch is None else [int(batch)]
    smallest = DoesNotFit("Activation memory", 1, 0)
    # Folding and an input map of its own cost activation memory: both give way where it is short.
    for fold, keep_input in ((True, True), (True, False), (False, False)):
        plans = [_plan_layer(layer, network, config, fold) for layer in network.layers]
        for images in candidates:
            try:
                return _emit(network, config, plans, images, keep_input)
            except DoesNotFit as error:
                if not error.by_batch:
                    raise
                smallest = error
    raise smallest


def _check_network(network, config):
    names = {}
    if not network.layers:
        raise CompileError(f"Network {network.name!r} must have at least one layer")
    for index, layer in enumerate(network.layers):
        check_layer(layer, config)
        if layer.name in names or layer.name == "input":
            raise CompileError(f"Layer {layer.name!r} must have a name of its own")
        if layer.source == "input":
            shape, form = network.in_shape, network.input_format
        elif layer.source in names:
            source = network.layers[names[layer.source]]
            if source.requantize is None:
                raise CompileError(f"Layer {layer.name!r} must read codes, not the raw "
                                   f"accumulators of {layer.source!r}")
            shape, form = source.out_shape, source.requantize.format
        else:
            raise CompileError(f"Layer {layer.name!r} must read the input or a layer before it, "
                               f"not {layer.source!r}")
        if tuple(layer.in_shape) != tuple(shape):
            raise CompileError(f"Layer {layer.name!r} input shape must be that of its source "
                               f"{layer.source!r}, {tuple(shape)}, not {tuple(layer.in_shape)}")
        if not np.array_equal(layer.input_format.table, form.table):
            raise CompileError(f"Layer {layer.name!r} input code table must be that of its source "
                               f"{layer.source!r}")
        names[layer.name] = index
    if not any(layer.source == "input" for layer in network.layers):
        raise CompileError(f"Network {network.name!r} must have a layer that reads the input")


@dataclass(frozen=True, eq=False)
class _Plan:
    """What the compiler knows of a layer before it has addresses."""

    layer: MatrixLayer
    original: MatrixLayer
    folded: FoldedKernel | None
    passes: tuple
    readers: tuple
    acc_bits: int

    def output_layout(self, config, batch):
        """Layout of the codes this layer writes, None for a raw layer."""
        if self.layer.requantize is None:
            return None
        if not self.readers:
            return output_layout(self.layer, config, batch)
        return _common_layout(self.layer.name, self.readers, config, batch)


def _common_layout(name, readers, config, batch):
    layouts = [input_layout(layer, config, batch) for layer in readers]
    for layer, layout in zip(readers, layouts, strict=True):
        if layout != layouts[0]:
            raise CompileError(f"Layer {layer.name!r} must read {name!r} with the stride and pitch "
                               f"of {readers[0].name!r}, which reads it too")
    return layouts[0]


def _plan_layer(layer, network, config, fold):
    readers = tuple(other for other in network.layers if other.source == layer.name)
    folded, kernel = layer, None
    if fold and [other for other in network.layers if other.source == "input"] == [layer]:
        folded, kernel = fold_kernel(layer, config.lanes)
    taps = folded.kernel[0] * folded.kernel[1]
    groups = folded.scales.shape[1]
    worst = folded.in_shape[0] * taps // groups
    passes = schedule_passes(folded.scales, doubling=config.doubling, worst_mismatches=worst,
                             count_bits=config.count_bits, name=layer.name)
    needed = _prove(layer, passes, worst, config)
    return _Plan(folded, layer, kernel, passes, readers, needed)


def _prove(layer, passes, worst, config):
    """Proves that no scale and no accumulator overflows; returns the accumulator bits needed."""
    top = max(max(int(item.scales.max()), -int(item.scales.min()) - 1) for item in passes)
    bits = top.bit_length() + 1
    if bits > config.scale_bits:
        raise CompileError(f"Layer {layer.name!r} scales must fit in {config.scale_bits} bits, but "
                           f"need {bits}: {bits - config.scale_bits} bits are missing")
    low = layer.biases.astype(np.int64)
    high = low.copy()
    for item in passes:
        reach = item.scales * (item.weight * worst)
        low += np.minimum(reach, 0).sum(axis=1)
        high += np.maximum(reach, 0).sum(axis=1)
    # A threshold that is never reached is clipped to the largest accumulator, so no accumulator
    # of a layer with thresholds may be that large.
    spare = 0 if layer.requantize is None else 1
    bits = 1 + max(max(0, int(high.max()) + spare).bit_length(),
                   max(0, -int(low.min()) - 1).bit_length())
    if bits > config.acc_bits:
        raise CompileError(
            f"Layer {layer.name!r} accumulator must fit in {config.acc_bits} bits, but can reach "
            f"{int(low.min())}..{int(high.max())}: {bits - config.acc_bits} bits are missing")
    return bits


def _emit(network, config, plans, batch, keep_input):
    """Addresses and contents of all memories, for one size of batch."""
    memory = {key: Bump() for key in (
        Memory.PROGRAM, Memory.TAPS, Memory.PAIRS, Memory.WEIGHTS, Memory.SCALES, Memory.BIASES,
        Memory.THRESHOLDS)}
    first = [plan.layer for plan in plans if plan.layer.source == "input"]
    maps = {"input": _common_layout("input", first, config, batch)}
    maps |= {plan.layer.name: plan.output_layout(config, batch) for plan in plans
             if plan.layer.requantize is not None}
    padding = PaddingWords([(maps[plan.layer.source], plan.layer.input_format) for plan in plans])
    addresses, used = _allocate(plans, maps, len(padding.words), keep_input)
    check_usage({Memory.ACTIVATIONS: used}, config)

    fields = [_layer_fields(plan, memory, config, maps, addresses, pad)
              for plan, pad in zip(plans, padding.addresses, strict=True)]
    check_usage({key: bump.used for key, bump in memory.items()}, config)
    limits = descriptor_limits(config)
    for plan, values in zip(plans, fields, strict=True):
        memory[Memory.PROGRAM].place(
            _records(plan.layer, DESCRIPTOR, [values], limits).reshape(1, -1, 1))
    usage = {key: bump.used for key, bump in memory.items()}
    check_usage(usage, config)
    usage[Memory.ACTIVATIONS] = used

    sections = []
    for key, bump in memory.items():
        for start, contents in bump.blocks:
            sections += build_sections(key, contents, start)
    sections += build_sections(Memory.ACTIVATIONS,
                               np.repeat(padding.words[None], config.rows, axis=0))
    metadata = describe_network(network, plans, batch, maps, addresses, fields)
    metadata["usage"] = {key.name.lower(): int(value) for key, value in sorted(usage.items())}
    return Image(config, metadata, np.concatenate(sections))


def _allocate(plans, maps, start, keep_input):
    order = {plan.layer.name: index for index, plan in enumerate(plans)} | {"input": -1}
    lifetimes = []
    for name, layout in maps.items():
        reads = [order[plan.layer.name] for plan in plans if plan.layer.source == name]
        last = FOREVER if not reads or (name == "input" and keep_input) else max(reads)
        lifetimes.append(Lifetime(layout.bank_words, order[name], last))
    places, used = allocate_maps(lifetimes, start)
    return dict(zip(maps, places, strict=True)), used


def _records(layer, record, entries, limits=None):
    try:
        return pack_records(record, entries, limits)
    except ValueError as error:
        raise CompileError(f"Layer {layer.name!r} is beyond the machine's reach: {error}") from None


def _layer_fields(plan, memory, config, maps, addresses, pad_base):
    """Places the contents of one layer and returns the fields of its descriptor."""
    layer, passes = plan.layer, plan.passes
    layout = maps[layer.source]
    outputs, out_height, out_width = layer.out_shape
    planes, taps = len(layer.weights), layer.kernel[0] * layer.kernel[1]
    groups = layer.scales.shape[1]
    col_tiles = -(-outputs // config.cols)
    # Virtual pixels behind the last one that exists need not be computed.
    walked = ((layout.images - 1) * layout.pitch_y + out_height - 1) * layout.pitch_x + out_width
    pairs = [{"activation_offset": step.activation_plane * layout.words,
              "weight_offset": step.weight_plane * taps * layout.words,
              "clear": index == 0, "double": step.double, "drain": index == len(item.steps) - 1}
             for item in passes for index, step in enumerate(item.steps)]
    scales = np.stack([item.scales for item in passes], axis=2)
    fields = {
        "tag": DESCRIPTOR_TAG, "raw": layer.requantize is None, "code_bits": 1,
        "pixel_tiles": -(-walked // config.rows), "col_tiles": col_tiles,
        "tile_words": layout.tile_words, "words": layout.words,
        "activation_base": addresses[layer.source], "pad_base": pad_base,
        "tap_base": memory[Memory.TAPS].share(_records(layer, TAP, tap_entries(layer, layout))),
        "taps_per_group": taps // groups, "groups": groups,
        "pair_base": memory[Memory.PAIRS].share(_records(layer, PAIR, pairs)),
        "pairs": len(pairs), "passes_per_group": len(passes),
        "weight_base": memory[Memory.WEIGHTS].place(pack_weights(layer.weights, config)),
        "col_tile_words": planes * taps * layout.words,
        "scale_base": memory[Memory.SCALES].place(pack_scales(scales, config)),
        "bias_base": memory[Memory.BIASES].place(pack_biases(layer.biases, config)),
        "last_cols": outputs - (col_tiles - 1) * config.cols,
        "pitch_x": layout.pitch_x, "pitch_y": layout.pitch_y,
        "out_width": out_width, "out_height": out_height, "pixels": layout.pixels,
        "out_stride_x": 1, "out_stride_y": 1,
    }
    if layer.requantize is not None:
        fields |= _output_fields(layer, memory, config, maps[layer.name], addresses[layer.name])
        most = descriptor_limits(config)["out_phase_y"][1]
        if fields["out_phase_y"] > most and min(out_height, fields["out_stride_y"]) == 1:
            # All lines lie in one phase, so the step is never taken.
            fields["out_phase_y"] = 0
    return fields


def _output_fields(layer, memory, config, out, address):
    form = layer.requantize.format
    return {
        "code_bits": form.planes,
        "threshold_base": memory[Memory.THRESHOLDS].place(
            pack_thresholds(layer.requantize.thresholds, config), align=len(form.table)),
        **out.output_fields(address, form.table),
    }
