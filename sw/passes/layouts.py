"""Where maps lie: the pitch that layers and maps share, phases in the banks, turns of writing."""

import dataclasses
import itertools
from dataclasses import dataclass

from xnorloom.hw.spec.latency import in_pixel_pairs, tile_cycles

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
    found = _arranged(plans, prepared, config, images, align, {})
    if align:
        slow = [index for index, (plan, walk) in enumerate(zip(plans, found.walks, strict=True))
                if _tile_cycles(plan, walk, found, config) > _least_cycles(plan, found, config)]
        # Lines that begin with a tile never share one, and so are written in fewer turns; those
        # that begin with a pair can be in pairs.
        others = [_arranged(plans, prepared, config, images, align, dict.fromkeys(slow, places))
                  for places in sorted({config.pixels_per_cycle, config.rows} - {1}) if slow]
        found = min((found, *others), key=lambda each: _cycles(plans, each, config))
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


def _least_cycles(plan, arrangement, config, *, turns=1, walk=0):
    """Cycles of a tile, however it is written; in so many turns and with so many places of a line
    as are best for it, or as are given."""
    layer, bordered, pairs = plan.layer, plan.borders.any, False
    if layer.requantize is not None:
        pairs = in_pixel_pairs(config, raw=False, bordered=bordered, pooled=layer.pool is not None,
                         turns=turns, walk=walk, stride_x=arrangement.maps[layer.name].stride_x)
    return max(tile_cycles(config, bordered=bordered, pixel_pairs=pairs), plan.steps,
               plan.passes * config.drain_cycles)


def _tile_cycles(plan, walk, arrangement, config):
    """Cycles of a tile of a layer."""
    if plan.layer.requantize is None or plan.layer.pool is not None:
        return _least_cycles(plan, arrangement, config)
    turns = arrangement.turns[plan.layer.name]
    return max(_least_cycles(plan, arrangement, config, turns=turns, walk=walk.places),
               plan.layer.format.planes * turns)


def _cycles(plans, arrangement, config):
    """Cycles of all tiles."""
    return sum(walk.pixel_tiles * -(-plan.layer.outputs // config.cols)
               * _tile_cycles(plan, walk, arrangement, config)
               for plan, walk in zip(plans, arrangement.walks, strict=True))


def _reach(layer):
    """Lines and columns that a layer walks."""
    if layer.pool is None:
        return tuple(layer.map)
    return pool_reach(layer.map, layer.pool.window, layer.pool.stride, layer.pool.padding)


def _walks(plans, prepared, config, images, align, aligned):
    """The walk of every layer, and the pitch of every map that is read: the sources of a layer and
    the layer itself share theirs. Lines of the layers ``aligned`` begin with a multiple of so many
    places."""
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

    def longer(pitch, places):
        return next(each for each in itertools.count(pitch) if each * images % places == 0)

    forced = {root(index): places for index, places in aligned.items()}
    for node, pitch in needs.items():
        needs[node] = longer(pitch, forced.get(node, 1))
        whole = longer(pitch, config.rows)
        if align and steps(whole, members[node]) < steps(needs[node], members[node]):
            needs[node] = whole
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
