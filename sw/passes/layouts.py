"""Where maps lie: the pitch that layers and maps share, phases in the banks, turns of writing."""

import dataclasses
import itertools
from dataclasses import dataclass

import numpy as np

from ..machine.layout import MapLayout

__all__ = ["Walk", "lay_out", "pool_reach", "walks"]


def pool_reach(layer):
    """Lines and columns that a layer walks: its map, and what completes its pooled windows."""
    if layer.pool is None:
        return tuple(layer.map)
    top, _bottom, left, _right = layer.pool.padding
    pooled = layer.pool.out_map(*layer.map)
    return tuple(
        max(size, (count - 1) * step + window - before) for size, count, step, window, before
        in zip(layer.map, pooled, layer.pool.stride, layer.pool.window, (top, left), strict=True))


@dataclass(frozen=True)
class Walk:
    """How a layer walks its virtual pixels.

    Parameters
    ----------
    rows, images, pitch : int
        Of the machine, of the batch, of a line in pixels.
    places : int
        Column places of a line that are walked: ``walk``.
    line_tiles, line_skip, pixel_tiles : int
        As in the descriptor.
    """

    rows: int
    images: int
    pitch: int
    places: int
    line_tiles: int
    line_skip: int
    pixel_tiles: int

    @classmethod
    def of(cls, layer, rows, images, pitch):
        """The walk of a layer whose lines are ``pitch`` pixels apart."""
        lines, columns = pool_reach(layer)
        whole = pitch * images
        if whole % rows == 0:
            tiles = -(-columns * images // rows)
            return cls(rows, images, pitch, tiles * rows, tiles, whole // rows - tiles,
                       tiles * lines)
        last = ((lines - 1) * pitch + columns) * images
        tiles = -(-last // rows)
        return cls(rows, images, pitch, whole, tiles, 0, tiles)

    def pixels(self, layer):
        """Tile, row, line and column place of every walked pixel of the layer's map."""
        walked = np.arange(self.pixel_tiles * self.rows)
        line, place = np.divmod(walked, self.places)
        alive = (line < layer.map[0]) & (place < layer.map[1] * self.images)
        return tuple(each[alive] for each in (*np.divmod(walked, self.rows), line, place))


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
        needs[root(index)] = max(needs.get(root(index), 1), pool_reach(plan.layer)[1])
    maps = [node for node in parent if isinstance(node, str)]
    for name in maps:
        width = -(-prepared.shapes[name][2] // prepared.strides[name][1])
        needs[root(name)] = max(needs.get(root(name), 1), width)

    def steps(pitch, plans):
        return sum(Walk.of(plan.layer, rows, images, pitch).pixel_tiles * plan.steps
                   * -(-plan.layer.outputs // config.cols) for plan in plans)

    for node, pitch in needs.items():
        longer = next(each for each in itertools.count(pitch) if each * images % rows == 0)
        if align and steps(longer, members[node]) < steps(pitch, members[node]):
            needs[node] = longer
    return ([Walk.of(plan.layer, rows, images, needs[root(index)])
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
    tile, row, line, place = walk.pixels(writer)
    # What the lines of a few phases need, all lines need mostly; all of them are tried at the end.
    few = line < 3 * stride_y
    sample = tuple(each[few] for each in (tile, row, line, place))
    best = (config.rows + 1, layout)
    for step_x, step_y in itertools.product(_steps(config.rows, width, stride_x),
                                            _steps(config.rows, height, stride_y)):
        candidate = dataclasses.replace(layout, phase_x_banks=step_x, phase_y_banks=step_y)
        best = min(best, (_turns(candidate, *sample, best[0]), candidate), key=lambda each: each[0])
        if best[0] == 1:
            break
    return best[1], _turns(best[1], tile, row, line, place, config.rows)


def _steps(rows, size, stride):
    """Banks from one phase to the next that are worth trying."""
    return range(rows) if min(size, stride) > 1 else (0,)


def _turns(layout, tile, row, line, place, most):
    """Fewest turns in which no two pixels of a turn lie in one bank, tried up to ``most``."""
    number, _phase = layout.numbers()
    x, image = np.divmod(place, layout.images)
    bank = number[image, line, x] % layout.rows
    for turns in range(1, min(most, layout.rows)):
        key = (tile * turns + row % turns) * layout.rows + bank
        if len(np.unique(key)) == len(key):
            return turns
    return min(most, layout.rows)
