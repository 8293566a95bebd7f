"""Pictures of a report: where the cycles go, accuracy by stage, utilization over time."""

from pathlib import Path
from typing import Any

from .drawing import (
    BLUE,
    GREY,
    INK,
    MARKERS,
    ORANGE,
    SERIES,
    SKY,
    VERMILION,
    machine_name,
    new_figure,
    save,
)
from .memory_map import memory_figure

__all__ = ["draw_all"]

_STAGES = ("float", "quantized", "snapped", "hardware")


def draw_all(report, folder):
    """Draws the pictures of a report into a folder.

    Parameters
    ----------
    report : dict
        As :func:`xnorloom.report.report.new_report` makes it, or as read back from JSON.
    folder : str or path
        An existing folder.

    Returns
    -------
    list of Path
        ``cycles.png``, ``accuracy.png``, ``utilization.png`` and ``memory.png``.
    """
    drawings = {"cycles": _cycles, "accuracy": _accuracy, "utilization": _utilization,
                "memory": memory_figure}
    return [save(draw, report, Path(folder) / f"{name}.png") for name, draw in drawings.items()]


def _parts(layer):
    """Cycles of one layer, split by what the array did in them."""
    cycles = layer["cycles"]["measured"]
    useful = layer["useful_lane_cycles"] / layer["lanes_total"]
    busy = layer["busy_cycles"]
    drain, output = layer["stalled_on_drain_cycles"], layer["stalled_on_output_cycles"]
    rest = max(0, cycles - busy - drain - output)
    return [("useful work", BLUE, useful),
            ("lanes, rows or columns left empty", SKY, max(0.0, busy - useful)),
            ("waiting for drain", ORANGE, drain),
            ("waiting for output", VERMILION, output),
            ("start and tail", GREY, rest)]


def _cycles(report):
    schemes = report["schemes"]
    deepest = max(len(scheme["layers"]) for scheme in schemes)
    figure, axes = new_figure(5.2 * len(schemes), 1.6 + 0.5 * deepest, columns=len(schemes))
    seen: dict[str, Any] = {}
    for axis, scheme in zip(axes[0], schemes, strict=True):
        layers = scheme["layers"]
        left = [0.0] * len(layers)
        for index in range(len(_parts(layers[0]))):
            parts = [_parts(layer)[index] for layer in layers]
            label, colour, _ = parts[0]
            values = [part[2] / 1e3 for part in parts]
            bars = axis.barh(range(len(layers)), values, left=left, height=0.68, color=colour,
                             edgecolor="white", linewidth=0.6)
            left = [start + value for start, value in zip(left, values, strict=True)]
            if sum(values) > 0:
                seen.setdefault(label, bars)
        for index, layer in enumerate(layers):
            axis.text(left[index], index, f" {layer['utilization']:.0%}", va="center",
                      fontsize=9)
        axis.set_yticks(range(len(layers)), [layer["name"] for layer in layers])
        axis.invert_yaxis()
        axis.tick_params(axis="y", length=0)
        axis.margins(x=0.12)
        axis.set_title(f"{scheme['title']}: "
                       f"{scheme['cycles']['measured'] / scheme['images']:,.0f} "
                       f"cycles per image")
        axis.set_xlabel(f"thousand cycles, {scheme['images']} images")
    figure.legend(seen.values(), seen.keys(), loc="outside lower center", ncols=len(seen),
                  fontsize=9, handlelength=1.2, columnspacing=1.4)
    figure.suptitle(f"Where the cycles go ({machine_name(report['machine'])}; per cent: "
                    "utilization)", fontsize=11)
    return figure


def _accuracy(report):
    figure, axes = new_figure(6.8, 4.3)
    axis = axes[0][0]
    known = [scheme["accuracy"][stage] for scheme in report["schemes"] for stage in _STAGES
             if scheme["accuracy"].get(stage) is not None]
    low = min([0.97, *known]) * 100
    high = max([0.985, *known]) * 100
    room = max(high - low, 1.0)
    count = len(report["schemes"])
    for index, scheme in enumerate(report["schemes"]):
        stages = [stage for stage in _STAGES if scheme["accuracy"].get(stage) is not None]
        points = [(_STAGES.index(stage) + 0.16 * (index - (count - 1) / 2),
                   scheme["accuracy"][stage] * 100) for stage in stages]
        colour = SERIES[index % len(SERIES)]
        axis.plot(*zip(*points, strict=True), color=colour, marker=MARKERS[index % 6],
                  markersize=8, linewidth=1.4, label=scheme["title"], alpha=0.95)
        for stage, (place, value) in zip(stages, points, strict=True):
            offset, across, along = _label_place(report["schemes"], index, stage)
            axis.annotate(f"{value:.1f}", (place, value), offset, textcoords="offset points",
                          ha=across, va=along, fontsize=9, color=colour,
                          bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8})
    axis.axhline(97, color=INK, linewidth=0.8, linestyle=(0, (4, 4)), zorder=1.5)
    axis.annotate("97 % asked of the hardware", (len(_STAGES) - 0.55, 97), (0, -4),
                  textcoords="offset points", ha="right", va="top", fontsize=8.5)
    axis.set_xticks(range(len(_STAGES)), _STAGES)
    axis.set_xlim(-0.55, len(_STAGES) - 0.55)
    axis.set_ylim(low - 0.25 * room, high + 0.25 * room)
    axis.set_yticks([tick for tick in axis.get_yticks()
                     if low - 0.25 * room <= tick <= min(100, high + 0.25 * room)])
    axis.set_ylabel("test accuracy, %")
    axis.grid(axis="y", color="#EEEEEE")
    axis.set_axisbelow(True)
    figure.legend(loc="outside lower center", ncols=3, fontsize=9)
    axis.set_title(f"Accuracy from float to hardware, {report['schemes'][0]['images']} images")
    return figure


def _label_place(schemes, index, stage):
    """Where a number stands beside its point, in points, and how it is aligned: above the best of a
    stage, below the worst, beside the others, so that none crosses the line of another."""
    known = [place for place, scheme in enumerate(schemes)
             if scheme["accuracy"].get(stage) is not None]
    # The last of equals is best.
    ranked = sorted(known, key=lambda place: (schemes[place]["accuracy"][stage], place))
    if index == ranked[-1]:
        return (0, 9), "center", "bottom"
    if index == ranked[0]:
        return (0, -9), "center", "top"
    return ((-8, 0), "right", "center") if index == 0 else ((8, 0), "left", "center")


def _utilization(report):
    schemes = [scheme for scheme in report["schemes"] if scheme.get("timeline")]
    figure, axes = new_figure(9.5, 0.9 + 2.3 * max(1, len(schemes)), rows=max(1, len(schemes)))
    for row, scheme in enumerate(schemes):
        axis, timeline = axes[row][0], scheme["timeline"]
        for index, interval in enumerate(timeline["intervals"]):
            start, width = interval["start"], interval["end"] - interval["start"]
            height = interval["utilization"] * 100
            colour = SERIES[index % len(SERIES)]
            axis.bar(start, 100, width=width, align="edge", color=colour, alpha=0.12, linewidth=0)
            axis.bar(start, height, width=width, align="edge", color=colour, linewidth=0)
            if width > 0.012 * timeline["cycles"]:
                _name_interval(axis, interval, width / timeline["cycles"])
        mean = scheme["utilization"] * 100
        axis.set_title(f"{scheme['title']}: one batch of {timeline['images']} images, "
                       f"{timeline['cycles']:,} cycles, {mean:.0f} % over all")
        axis.set_ylim(0, 100)
        axis.set_yticks((0, 25, 50, 75, 100))
        axis.set_ylabel("utilization, %")
        axis.margins(x=0)
        axis.xaxis.set_major_formatter(lambda value, _place: f"{value:,.0f}")
    axes[-1][0].set_xlabel("cycle")
    figure.suptitle(f"Lanes doing useful work, over time ({machine_name(report['machine'])})",
                    fontsize=11)
    return figure


def _name_interval(axis, interval, share):
    """Layer and utilization of a bar, in it or above it: across if its share of the axis has room
    for that, else upwards."""
    height = interval["utilization"] * 100
    parts = [interval["layer"], f"{height:.0f} %"]
    flat = share > 0.0085 * max(map(len, parts))
    text = ("\n" if flat else ", ").join(parts)
    # Of the axis: two lines, or a line upwards.
    room = 30 if flat else 3.9 * len(text)
    inside, above = height > room, height + room < 104
    axis.text(interval["start"] + (interval["end"] - interval["start"]) / 2,
              height / 2 if inside else height + 4 if above else 50, text, ha="center",
              va="bottom" if above and not inside else "center", fontsize=9,
              rotation=0 if flat else 90, color="white" if inside else INK,
              bbox=None if inside or above else {"facecolor": "white", "edgecolor": "none",
                                                 "pad": 1.0, "alpha": 0.8})
