"""Compiler: turns a network into the contents of the machine's memories."""

import numpy as np

from xnorloom.hw.spec.config import PRESETS
from xnorloom.hw.spec.descriptor import DESCRIPTOR, descriptor_limits
from xnorloom.hw.spec.memory import Memory

from ..errors import CompileError, DoesNotFit
from ..machine.frames import build_sections
from ..machine.image import Image
from .allocate import (
    FOREVER,
    Bump,
    Lifetime,
    PaddingWords,
    allocate_maps,
    check_usage,
    padding_pattern,
)
from .demands import check_network
from .describe import describe_network
from .emit import LayerEmitter
from .layouts import arrange
from .plan import plan_layer
from .prepare import prepare_network

__all__ = ["CompileError", "DoesNotFit", "compile_network"]


def compile_network(network, config, *, batch=None):
    """Compiles a network for a machine.

    Parameters
    ----------
    network : sw.graph.network.Network
        Layers in order of execution; each reads the input or layers before it.
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
    check_network(network, config)
    candidates = range(config.rows, 0, -1) if batch is None else [int(batch)]
    smallest = DoesNotFit("Activation memory", 1, 0)
    # Longer lines, an input map of its own and folding cost activation memory: all give way where
    # it is short.
    for fold in (True, False):
        prepared = prepare_network(network, config, fold=fold)
        plans = [plan_layer(layer, original, prepared.shapes, config)
                 for layer, original in zip(prepared.layers, prepared.originals, strict=True)]
        for align, keep_input in ((True, True), (False, True), (False, False)):
            for images in candidates:
                try:
                    return _emit(network, config, prepared, plans, images, align, keep_input)
                except DoesNotFit as error:
                    if not error.by_batch:
                        raise
                    smallest = error
        if prepared.folded is None:
            break
    raise smallest


def _emit(network, config, prepared, plans, images, align, keep_input):
    """Addresses and contents of all memories, for one size of batch."""
    memory = {key: Bump() for key in (
        Memory.PROGRAM, Memory.TERMS, Memory.TAPS, Memory.PAIRS, Memory.WEIGHTS, Memory.SCALES,
        Memory.PARAMETERS)}
    arrangement = arrange(plans, prepared, config, images, align=align)
    maps = arrangement.maps
    padding = PaddingWords([
        padding_pattern(term, *_source(term, prepared), config)
        for plan in plans for term in plan.terms])
    addresses, used = _allocate(plans, maps, len(padding.words), keep_input)
    check_usage({Memory.ACTIVATIONS: used}, config)

    emitter, pads = LayerEmitter(config, memory, maps, addresses), iter(padding.addresses)
    fields = [emitter.fields(plan, walk, arrangement.turns.get(plan.layer.name, 1),
                             [next(pads) for _ in plan.terms])
              for plan, walk in zip(plans, arrangement.walks, strict=True)]
    check_usage({key: bump.used for key, bump in memory.items()}, config)
    limits = descriptor_limits(config)
    for plan, values in zip(plans, fields, strict=True):
        memory[Memory.PROGRAM].place(
            emitter.records(plan, DESCRIPTOR, [values], limits).reshape(1, -1, 1))
    usage = {key: bump.used for key, bump in memory.items()}
    check_usage(usage, config)
    usage[Memory.ACTIVATIONS] = used

    sections = []
    for key, bump in memory.items():
        for start, contents in bump.blocks:
            sections += build_sections(key, contents, start)
    sections += build_sections(Memory.ACTIVATIONS,
                               np.repeat(padding.words[None], config.rows, axis=0))
    metadata = describe_network(network, prepared, plans, images, maps, addresses, keep_input)
    metadata["usage"] = {key.name.lower(): int(value) for key, value in sorted(usage.items())}
    return Image(config, metadata, np.concatenate(sections))


def _source(term, prepared):
    """Shape and format of what a term reads; a constant reads neither."""
    if term.term is None:
        return None, None
    return prepared.shapes[term.term.source], prepared.formats[term.term.source]


def _allocate(plans, maps, start, keep_input):
    order = {plan.layer.name: index for index, plan in enumerate(plans)} | {"input": -1}
    lifetimes = []
    # In the order in which they are written, which a copy of a map breaks.
    names = sorted(maps, key=order.__getitem__)
    for name in names:
        reads = [order[plan.layer.name] for plan in plans
                 if any(term.source == name for term in plan.layer.terms)]
        last = FOREVER if not reads or (name == "input" and keep_input) else max(reads)
        lifetimes.append(Lifetime(maps[name].bank_words, order[name], last))
    places, used = allocate_maps(lifetimes, start)
    return dict(zip(names, places, strict=True)), used
