"""Kernel taps: where a tap of a kernel reads, relative to the tile of its layer."""

__all__ = ["NOWHERE", "tap_entries"]

NOWHERE = {"offset": 0, "rotation": 0, "first_place": 0, "end_place": 0, "first_line": 0,
           "end_line": 0}
"""A tap that never meets its map and always reads padding."""


def tap_entries(term, layout, out_map):
    """Fields of the kernel taps of a term in the order of the tap table, as dictionaries.

    Parameters
    ----------
    term : sw.graph.network.Term or None
        None: a constant, which reads padding only.
    layout : sw.machine.layout.MapLayout
        Of its source.
    out_map : tuple of int
        Height and width of the map of accumulators.

    Returns
    -------
    list of dict
    """
    if term is None:
        return [NOWHERE]
    entries = []
    for ky in range(term.kernel[0]):
        for kx in range(term.kernel[1]):
            # Where the layer makes one pixel only its own stride does not matter.
            y = ky * term.dilation[0] - term.padding[0]
            x = kx * term.dilation[1] - term.padding[2]
            lines = _inside(y, term.stride[0], layout.height, out_map[0])
            columns = _inside(x, term.stride[1], layout.width, out_map[1])
            if not lines or not columns:
                entries.append(NOWHERE)
                continue
            line, phase_y = divmod(y, layout.stride_y)
            column, phase_x = divmod(x, layout.stride_x)
            delta = ((line * layout.pitch_x + column) * layout.images
                     + phase_y * layout.phase_y_banks + phase_x * layout.phase_x_banks)
            slots, rotation = divmod(delta, layout.rows)
            phase = phase_y * layout.stride_x + phase_x
            entries.append({
                "offset": phase * layout.phase_words + slots * layout.tile_words,
                "rotation": rotation,
                "first_place": columns[0] * layout.images, "end_place": columns[-1] * layout.images,
                "first_line": lines[0], "end_line": lines[-1]})
    return entries


def _inside(position, stride, size, out_size):
    """First pixel of the output whose tap lies inside the map, and the one behind the last; None
    if there is none."""
    first = max(0, -(position // stride))
    end = min(out_size, (size - 1 - position) // stride + 1)
    return (first, end) if first < end else None
