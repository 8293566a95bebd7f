"""Pictures of the results: error against bits, GPFQ's error against N, accuracy against cycles."""

import statistics
from pathlib import Path
from typing import Any

from ..report.drawing import (
    BLUE,
    GREEN,
    INK,
    MARKERS,
    ORANGE,
    PURPLE,
    SERIES,
    VERMILION,
    new_figure,
    save,
)
from ..report.summary import summary

__all__ = ["draw"]

_METHODS: dict[str, dict[str, Any]] = {
    "Lloyd-Max": {"color": INK, "linewidth": 1.0, "linestyle": (0, (4, 3)), "zorder": 1.5},
    "greedy": {"color": BLUE, "marker": "o"},
    "LS2": {"color": INK, "marker": "D", "markersize": 13, "linestyle": "none",
            "markerfacecolor": "none"},
    "ternary": {"color": GREEN, "marker": "^", "markersize": 15, "linestyle": "none",
                "markerfacecolor": "none", "markeredgewidth": 1.6},
    "SAWB": {"color": VERMILION, "marker": "s"},
    "SAWB with zero": {"color": ORANGE, "marker": "v"},
    "Balanced": {"color": PURPLE, "marker": "P"},
}


def draw(report, folder):
    """Draws the pictures of ``results.md`` into a folder.

    Parameters
    ----------
    report : dict
        As :func:`xnorloom.study.table.table` makes it, or as read back from JSON.
    folder : path
        An existing folder.

    Returns
    -------
    list of Path
        ``accuracy-cycles.svg``, ``error-bits.svg`` and ``gpfq-error.svg``.
    """
    folder = Path(folder)
    return [
        save(_accuracy, report, folder / "accuracy-cycles.svg",
             "Accuracy on the hardware against cycles, for every scheme"),
        save(_errors, report, folder / "error-bits.svg",
             "Squared error against bits on four densities, for every quantizer"),
        save(_gpfq, report, folder / "gpfq-error.svg",
             "GPFQ's relative squared error against the number of inputs, falling like 1/N"),
    ]


def _errors(report):
    figure, axes = new_figure(9.5, 6.4, columns=2, rows=2, sharex=True, sharey=True)
    lines = {}
    for axis, (density, curves) in zip(axes.flat, report["curves"].items(), strict=True):
        for name, style in _METHODS.items():
            bits, errors = zip(*curves[name], strict=True)
            (lines[name],) = axis.plot(bits, errors, **{"linewidth": 1.4, "markersize": 5.5,
                                                        **style})
        axis.set_title(density)
        axis.set_yscale("log")
        axis.set_xticks((1, 2, 3, 4))
        axis.grid(axis="y", color="#EEEEEE")
        axis.set_axisbelow(True)
    for axis in axes[:, 0]:
        axis.set_ylabel("squared error / sum of squares")
    for axis in axes[-1]:
        axis.set_xlabel("bits, logarithm of the number of values")
    figure.legend(lines.values(), lines.keys(), loc="outside lower center", ncols=len(lines),
                  fontsize=9.5, handlelength=1.6, columnspacing=1.4)
    return figure


def _gpfq(report):
    figure, axes = new_figure(6.8, 4.4)
    axis = axes[0][0]
    for index, series in enumerate(report["gpfq"]["series"]):
        inputs, errors, plain = zip(*series["points"], strict=True)
        colour = SERIES[index]
        axis.plot(inputs, errors, color=colour, marker=MARKERS[index], linestyle="none",
                  label=f"{series['levels']} levels, m = {series['samples']}: "
                        f"slope {series['slope']:.3f}")
        rule = [statistics.fmean(plain) * series["samples"] / size for size in inputs]
        axis.plot(inputs, rule, color=colour, linewidth=1.1)
        axis.plot(inputs, plain, color=colour, linewidth=1.1, linestyle=(0, (2, 2)))
    axis.plot([], [], color=INK, linewidth=1.1, label="msq * m / N")
    axis.plot([], [], color=INK, linewidth=1.1, linestyle=(0, (2, 2)),
              label="plain rounding to the same levels (msq)")
    axis.set_xscale("log", base=2)
    axis.set_yscale("log")
    axis.xaxis.set_major_formatter(lambda value, _place: f"{value:,.0f}")
    axis.grid(color="#EEEEEE")
    axis.set_axisbelow(True)
    axis.set_xlabel("inputs N of a neuron")
    axis.set_ylabel("relative squared error of its output")
    figure.legend(loc="outside lower center", ncols=2, fontsize=9.5)
    axis.set_title("GPFQ's error falls like 1/N, that of rounding does not fall")
    return figure


def _accuracy(report):
    figure, axes = new_figure(9.5, 5.6)
    axis = axes[0][0]
    papers = list(dict.fromkeys(scheme["paper"] for scheme in report["schemes"]))
    said = [summary(scheme) for scheme in report["schemes"]]
    places = [(entry["cycles"] / scheme["runs"][0]["images"],
               100 * entry["accuracy"]["hardware"]["median"])
              for scheme, entry in zip(report["schemes"], said, strict=True)]
    points = []
    for index, (scheme, (cycles, accuracy)) in enumerate(zip(report["schemes"], places,
                                                             strict=True)):
        # Schemes of the same cycles and accuracy stand side by side.
        before, same = places[:index].count(places[index]), places.count(places[index])
        cycles *= _BESIDE ** (before - (same - 1) / 2)
        place = papers.index(scheme["paper"])
        colour = SERIES[place % len(SERIES)]
        axis.plot([cycles], [accuracy], color=colour, marker=MARKERS[place % len(MARKERS)],
                  markersize=9, markeredgecolor="white", linestyle="none")
        points.append((cycles, accuracy, scheme["name"], colour))
    axis.set_xscale("log")
    axis.margins(x=0.12, y=0.1)
    low, high = axis.get_xlim()
    axis.set_xticks([tick for tick in _TICKS if low <= tick <= high])
    axis.set_xticks([], minor=True)
    axis.xaxis.set_major_formatter(lambda value, _place: f"{value:,.0f}")
    axis.set_xlabel(f"cycles per image ({report['machine']['name']} machine)")
    axis.set_ylabel("accuracy on the hardware, %")
    axis.grid(color="#EEEEEE")
    axis.set_axisbelow(True)
    axis.set_title(f"Accuracy against cycles, median of {len(report['seeds'])} seeds")
    _label(figure, axis, points)
    return figure


def _label(figure, axis, points):
    """Writes a name beside every point, where it meets neither a point nor another name."""
    figure.draw_without_rendering()
    spots = axis.transData.transform([point[:2] for point in points])
    taken = [(x - 7, y - 7, x + 7, y + 7) for x, y in spots]
    frame = axis.get_window_extent()
    scale = figure.dpi / 72
    for (x, y), (cycles, accuracy, name, colour) in sorted(
            zip(spots, points, strict=True), key=lambda pair: -pair[0][1]):
        text = axis.annotate(name, (cycles, accuracy), (0, 0), textcoords="offset points",
                             fontsize=9, color=colour, va="center", in_layout=False)
        extent = text.get_window_extent()
        for right, up in _PLACES:
            left = x + right * scale if right > 0 else x + right * scale - extent.width
            box = (left, y + up * scale - extent.height / 2, left + extent.width,
                   y + up * scale + extent.height / 2)
            inside = frame.x0 <= box[0] and box[2] <= frame.x1 and frame.y0 <= box[1]
            if inside and not any(_meet(box, other) for other in taken):
                break
        text.set_position((right, up))
        text.set_horizontalalignment("left" if right > 0 else "right")
        if abs(up) > 4:
            axis.annotate("", (cycles, accuracy), (right, up), textcoords="offset points",
                          in_layout=False, arrowprops={"arrowstyle": "-", "color": colour,
                                                       "linewidth": 0.6, "shrinkB": 5})
        taken.append(box)


_BESIDE = 1.03
_TICKS = [digit * 10 ** power for power in range(1, 8) for digit in (1, 1.5, 2, 3, 4, 6, 8)]
_PLACES = sorted(((side * right, up) for side in (1, -1) for right in (9, 22, 40)
                  for up in range(-96, 97, 3)),
                 key=lambda place: abs(place[0]) + abs(place[1]) + (place[0] < 0))
"""Where a name may begin, in points from its own point: the nearest first, on the right first."""


def _meet(one, other):
    return (one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3])
