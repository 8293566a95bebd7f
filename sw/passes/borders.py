"""True zeros outside a map: biases of lines and columns at its border."""

from dataclasses import dataclass

import numpy as np

from xnorloom.hw.spec.descriptor import BORDER_CLASSES

from ..bitplanes import group_index
from ..errors import CompileError

__all__ = ["Borders", "border_classes"]


@dataclass(frozen=True, eq=False)
class Borders:
    """Lines and columns that have biases of their own.

    Parameters
    ----------
    top, bottom, left, right : int
    corrections : int64 array, shape ``(outputs, 1)`` or ``(outputs, 16)``
        What is added to the bias of every class.
    """

    top: int
    bottom: int
    left: int
    right: int
    corrections: np.ndarray

    @property
    def any(self):
        """Whether there are such lines or columns."""
        return any((self.top, self.bottom, self.left, self.right))


def border_classes(name, terms, shapes, out_map, config):
    """The classes that a layer needs, and their corrections.

    Outside its map a term with a border reads zeros, and the correction replaces what these add.

    Parameters
    ----------
    name : str
        Of the layer, for messages.
    terms : sequence of Term
    shapes : dict of str to tuple
        Channels, height and width of every map.
    out_map : tuple of int
    config : MachineConfig

    Returns
    -------
    Borders

    Raises
    ------
    CompileError
        If the machine has no classes, or not enough, or if a relu precedes the border.
    """
    outputs = terms[0].weights.shape[1]
    relu, bordered = False, []
    for term in terms:
        relu |= term.relu
        if term.border is None:
            continue
        inside = [_inside(term, axis, shapes[term.source][1 + axis], out_map[axis])
                  for axis in range(2)]
        missing = term.border.astype(np.int64) - _of_zeros(term)
        if all(each.all() for each in inside) or not missing.any():
            continue
        if relu:
            raise CompileError(f"Layer {name!r} must not add a term with true zeros outside its "
                               f"map ({term.source!r}) behind a relu; pad it with a code")
        bordered.append((inside, missing))
    if not bordered:
        return Borders(0, 0, 0, 0, np.zeros((outputs, 1), dtype=np.int64))
    if not config.border_classes:
        raise CompileError(f"Layer {name!r} must not have true zeros outside its map on a machine "
                           f"without border_classes; pad it with a code")
    edges = []
    for axis, what in enumerate(("lines", "columns")):
        seen = np.concatenate([inside[axis] for inside, _missing in bordered], axis=1)
        edges.append(_edges(seen, name, what))
    (top, bottom), (left, right) = edges
    corrections = np.zeros((outputs, BORDER_CLASSES, BORDER_CLASSES), dtype=np.int64)
    lines, columns = (_members(*edge, size) for edge, size in zip(edges, out_map, strict=True))
    for (inside_y, inside_x), missing in bordered:
        for (y, line), (x, column) in ((a, b) for a in lines for b in columns):
            outside = ~(inside_y[line][:, None] & inside_x[column])
            corrections[:, y, x] += (missing * outside).sum(axis=(1, 2))
    corrections = corrections.reshape(outputs, -1)
    # Where all pixels are alike there is one bias.
    used = corrections if top or bottom or left or right else corrections[:, :1]
    return Borders(top, bottom, left, right, used)


def _inside(term, axis, size, out_size):
    """Which taps lie inside the map: bool, shape ``(out_size, kernel size)``."""
    position = (np.arange(out_size)[:, None] * term.stride[axis]
                + np.arange(term.kernel[axis]) * term.dilation[axis] - term.padding[2 * axis])
    return (position >= 0) & (position < size)


def _of_zeros(term):
    """What a tap adds that reads zeros: int64, shape ``(outputs, height, width)``."""
    taps = group_index(term.grouping, term.kernel)
    ones = term.weights.astype(np.int64).sum(axis=2)
    return np.einsum("jmyx,myxj->myx", ones, term.scales.astype(np.int64).sum(axis=2)[:, taps])


def _edges(seen, name, what):
    """Fewest lines at both ends that are unlike those between them."""
    size = len(seen)
    for total in range(BORDER_CLASSES):
        for before in range(min(total, size) + 1):
            middle = seen[before:max(before, size - (total - before))]
            if (middle == middle[:1]).all() and before + (total - before) <= max(size - 1, 0):
                return before, total - before
    distinct = len(np.unique(seen, axis=0))
    raise CompileError(f"Layer {name!r} {what} must see true zeros in at most {BORDER_CLASSES} "
                       f"ways, all but {BORDER_CLASSES - 1} of them alike, not in {distinct}")


def _members(before, behind, size):
    """A line of every class, as pairs of class and line."""
    return [*((line, line) for line in range(before)), (before, before),
            *((before + 1 + line, size - behind + line) for line in range(behind))]
