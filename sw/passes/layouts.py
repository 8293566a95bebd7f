"""Where maps lie: the pitch that layers and maps share, phases in the banks, turns of writing."""

import dataclasses
import itertools

from ..machine.layout import MapLayout
from ..machine.walk import Walk, pool_reach, turns_needed

__all__ = ["lay_out", "walks"]


def reach(layer):
    """Lines and columns that a layer walks."""
    if layer.pool is None:
        return tuple(layer.map)
    return pool_reach(layer.map, layer.pool.window, layer.pool.stride, layer.pool.padding)


def walks(plans, prepared, config, images, align):
    """The walk of every layer; the sources of a layer and the layer itself share their pitch.

    Parameters
    ----------
    plans : list of LayerPlan
    prepared : Prepared
    config : MachineConfig
    images : int
    align : bool
        Whether lines may be made longer, so that they begin with a tile, where that saves steps.

    Returns
    -------
    tuple of list of Walk, dict of str to int
        Of every layer; pitch of every map that is read.
    """
    rows, parent = config.rows, {}

    def root(node):
        while parent.setdefault(node, node) != node:
            node = parent[node]
        return node

    for index, plan in enumerate(plans):
        root(index)
        for term in plan.layer.terms:
            parent[root(term.source)] = root(index)
    needs, members = {}, {}
    for index, plan in enumerate(plans):
        members.setdefault(root(index), []).append(plan)
        needs[root(index)] = max(needs.get(root(index), 1), reach(plan.layer)[1])
    maps = [node for node in parent if isinstance(node, str)]
    for name in maps:
        width = -(-prepared.shapes[name][2] // prepared.strides[name][1])
        needs[root(name)] = max(needs.get(root(name), 1), width)

    def steps(pitch, plans):
        return sum(Walk.of(reach(plan.layer), rows, images, pitch).pixel_tiles * plan.steps
                   * -(-plan.layer.outputs // config.cols) for plan in plans)

    for node, pitch in needs.items():
        longer = next(each for each in itertools.count(pitch) if each * images % rows == 0)
        if align and steps(longer, members[node]) < steps(pitch, members[node]):
            needs[node] = longer
    return ([Walk.of(reach(plan.layer), rows, images, needs[root(index)])
             for index, plan in enumerate(plans)], {name: needs[root(name)] for name in maps})


def lay_out(name, writer, walk, pitch, prepared, config, images):
    """Layout of a map, and the turns in which its writer stores a tile.

    Parameters
    ----------
    name : str
    writer : Layer or None
        None for the input.
    walk : Walk or None
        Of the writer.
    pitch : int or None
        That of its readers, None if there are none.
    prepared : Prepared
    config : MachineConfig
    images : int

    Returns
    -------
    tuple of MapLayout, int
    """
    channels, height, width = prepared.shapes[name]
    if pitch is None:
        pitch = width if walk is None or writer.pool is not None else walk.pitch
    stride_y, stride_x = prepared.strides[name]
    layout = MapLayout(
        rows=config.rows, lanes=config.lanes, images=images, channels=channels, height=height,
        width=width, planes=prepared.formats[name].planes, stride_y=stride_y, stride_x=stride_x,
        pitch_x=pitch)
    if writer is None or writer.pool is not None:
        return layout, 1
    pixels = walk.pixels(writer.map)
    # What the lines of a few phases need, all lines need mostly; all of them are tried at the end.
    few = pixels[2] < 3 * stride_y
    sample = tuple(each[few] for each in pixels)
    best = (config.rows + 1, layout)
    for step_x, step_y in itertools.product(_steps(config.rows, width, stride_x),
                                            _steps(config.rows, height, stride_y)):
        candidate = dataclasses.replace(layout, phase_x_banks=step_x, phase_y_banks=step_y)
        turns = turns_needed(candidate, sample, best[0])
        if turns < best[0]:
            best = turns, candidate
        if turns == 1:
            break
    return best[1], turns_needed(best[1], pixels, config.rows)


def _steps(rows, size, stride):
    """Banks from one phase to the next that are worth trying."""
    return range(rows) if min(size, stride) > 1 else (0,)
