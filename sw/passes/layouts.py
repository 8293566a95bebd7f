"""Where maps lie: the pitch that layers and maps share, phases in the banks, turns of writing."""

import dataclasses
import itertools
from dataclasses import dataclass

from xnorloom.hw.spec.latency import tile_cycles

from ..machine.layout import MapLayout
from ..machine.walk import Walk, pool_reach, turns_needed

__all__ = ["Arrangement", "arrange"]


@dataclass(frozen=True, eq=False)
class Arrangement:
    """How layers walk and where their maps lie.

    Parameters
    ----------
    walks : list of Walk
        Of every layer.
    maps : dict of str to MapLayout
        Of the input and of every map of codes.
    turns : dict of str to int
        Turns in which a plane of a tile of a map is written.
    """

    walks: list
    maps: dict
    turns: dict


def arrange(plans, prepared, config, images, *, align):
    """Lays out all maps.

    Parameters
    ----------
    plans : list of LayerPlan
    prepared : Prepared
    config : MachineConfig
    images : int
    align : bool
        Whether lines may be made longer, so that they begin with a tile, where that saves cycles.

    Returns
    -------
    Arrangement
    """
    found = _arranged(plans, prepared, config, images, align, ())
    if align:
        # Lines that begin with a tile never share one, and so are written in fewer turns.
        slow = [index for index, plan in enumerate(plans)
                if _tile_cycles(plan, found, config) > _least_cycles(plan, config)]
        if slow:
            other = _arranged(plans, prepared, config, images, align, slow)
            found = min(found, other, key=lambda each: _cycles(plans, each, config))
    return found


def _arranged(plans, prepared, config, images, align, aligned):
    walks, pitches = _walks(plans, prepared, config, images, align, aligned)
    writers = {plan.layer.name: (plan.layer, walk)
               for plan, walk in zip(plans, walks, strict=True)} | {"input": (None, None)}
    maps, turns = {}, {}
    for name in prepared.shapes:
        maps[name], turns[name] = _lay_out(name, *writers[name], pitches.get(name), prepared,
                                           config, images)
    return Arrangement(walks, maps, turns)


def _least_cycles(plan, config):
    """Cycles of a tile, however it is written."""
    return max(tile_cycles(config, plan.borders.any), plan.steps,
               plan.passes * config.drain_cycles)


def _tile_cycles(plan, arrangement, config):
    """Cycles of a tile of a layer."""
    least = _least_cycles(plan, config)
    if plan.layer.requantize is None or plan.layer.pool is not None:
        return least
    return max(least, plan.layer.format.planes * arrangement.turns[plan.layer.name])


def _cycles(plans, arrangement, config):
    """Cycles of all tiles."""
    return sum(walk.pixel_tiles * -(-plan.layer.outputs // config.cols)
               * _tile_cycles(plan, arrangement, config)
               for plan, walk in zip(plans, arrangement.walks, strict=True))


def _reach(layer):
    """Lines and columns that a layer walks."""
    if layer.pool is None:
        return tuple(layer.map)
    return pool_reach(layer.map, layer.pool.window, layer.pool.stride, layer.pool.padding)


def _walks(plans, prepared, config, images, align, aligned):
    """The walk of every layer, and the pitch of every map that is read: the sources of a layer and
    the layer itself share theirs. Lines of the layers ``aligned`` begin with a tile."""
    parent: dict = {}

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
        needs[root(index)] = max(needs.get(root(index), 1), _reach(plan.layer)[1])
    maps = [node for node in parent if isinstance(node, str)]
    for name in maps:
        width = -(-prepared.shapes[name][2] // prepared.strides[name][1])
        needs[root(name)] = max(needs[root(name)], width)

    def steps(pitch, plans):
        return sum(Walk.of(_reach(plan.layer), config.rows, images, pitch).pixel_tiles * plan.steps
                   * -(-plan.layer.outputs // config.cols) for plan in plans)

    forced = {root(index) for index in aligned}
    for node, pitch in needs.items():
        longer = next(each for each in itertools.count(pitch) if each * images % config.rows == 0)
        if node in forced or align and (
                steps(longer, members[node]) < steps(pitch, members[node])):
            needs[node] = longer
    walks = [Walk.of(_reach(plan.layer), config.rows, images, needs[root(index)])
             for index, plan in enumerate(plans)]
    return walks, {name: needs[root(name)] for name in maps}


def _lay_out(name, writer, walk, pitch, prepared, config, images):
    """Layout of a map, and the turns in which its writer, None for the input, stores a tile; the
    pitch is that of its readers, None if there are none."""
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
