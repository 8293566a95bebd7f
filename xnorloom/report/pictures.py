"""Pictures of a report: where the cycles go, accuracy by stage, utilization over time."""

from pathlib import Path
from typing import Any

from .drawing import BLUE, GREY, INK, MARKERS, ORANGE, SERIES, SKY, VERMILION, new_figure, save

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
        ``cycles.png``, ``accuracy.png`` and ``utilization.png``.
    """
    drawings = {"cycles": _cycles, "accuracy": _accuracy, "utilization": _utilization}
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
    figure, axes = new_figure(5.2 * len(schemes), 1.6 + 0.5 * deepest, columns=len(schemes),
                              sharex=True)
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
        axis.set_title(f"{scheme['name']}: "
                       f"{scheme['cycles']['measured'] / scheme['images']:,.0f} "
                       f"cycles per image")
        axis.set_xlabel(f"thousand cycles, {scheme['images']} images")
    figure.legend(seen.values(), seen.keys(), loc="outside lower center", ncols=len(seen),
                  fontsize=9, handlelength=1.2, columnspacing=1.4)
    figure.suptitle(f"Where the cycles go ({_machine(report)}; per cent: utilization)",
                    fontsize=11)
    return figure


def _accuracy(report):
    figure, axes = new_figure(6.4, 3.9)
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
                  markersize=8, linewidth=1.4, label=scheme["name"], alpha=0.95)
        for stage, (place, value) in zip(stages, points, strict=True):
            # Above the best of a stage, below the others: no label crosses a line between them.
            side = 1 if scheme is _leader(report["schemes"], stage) else -1
            axis.annotate(f"{value:.1f}", (place, value), (0, 9 * side),
                          textcoords="offset points", ha="center",
                          va="bottom" if side > 0 else "top", fontsize=9, color=colour,
                          bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8})
    axis.axhline(97, color=INK, linewidth=0.8, linestyle=(0, (4, 4)), zorder=1.5)
    axis.annotate("97 % asked of the hardware", (len(_STAGES) - 0.55, 97), (0, -4),
                  textcoords="offset points", ha="right", va="top", fontsize=8.5)
    axis.set_xticks(range(len(_STAGES)), _STAGES)
    axis.set_xlim(-0.45, len(_STAGES) - 0.55)
    axis.set_ylim(low - 0.25 * room, high + 0.25 * room)
    axis.set_yticks([tick for tick in axis.get_yticks()
                     if low - 0.25 * room <= tick <= min(100, high + 0.25 * room)])
    axis.set_ylabel("test accuracy, %")
    axis.grid(axis="y", color="#EEEEEE")
    axis.set_axisbelow(True)
    axis.legend(loc="lower left")
    axis.set_title(f"Accuracy from float to hardware, {report['schemes'][0]['images']} images")
    return figure


def _leader(schemes, stage):
    """The scheme of the highest accuracy at a stage, the last of equals."""
    known = [scheme for scheme in schemes if scheme["accuracy"].get(stage) is not None]
    return max(reversed(known), key=lambda scheme: scheme["accuracy"][stage])


def _utilization(report):
    schemes = [scheme for scheme in report["schemes"] if scheme.get("timeline")]
    figure, axes = new_figure(9.5, 0.9 + 2.0 * max(1, len(schemes)), rows=max(1, len(schemes)),
                              sharex=True)
    longest = max((scheme["timeline"]["cycles"] for scheme in schemes), default=1)
    for row, scheme in enumerate(schemes):
        axis, timeline = axes[row][0], scheme["timeline"]
        for index, interval in enumerate(timeline["intervals"]):
            start, width = interval["start"], interval["end"] - interval["start"]
            height = interval["utilization"] * 100
            colour = SERIES[index % len(SERIES)]
            axis.bar(start, 100, width=width, align="edge", color=colour, alpha=0.12, linewidth=0)
            axis.bar(start, height, width=width, align="edge", color=colour, linewidth=0)
            share = width / longest
            if share > 0.012:
                flat, inside = share > 0.06, height > (30 if share > 0.06 else 55)
                axis.text(start + width / 2, height / 2 if inside else height + 4,
                          f"{interval['layer']}{chr(10) if flat else ', '}{height:.0f} %",
                          ha="center", va="center" if inside else "bottom", fontsize=9,
                          rotation=0 if flat else 90, color="white" if inside else INK)
        mean = scheme["utilization"] * 100
        axis.set_title(f"{scheme['name']}: one batch of {timeline['images']} images, "
                       f"{timeline['cycles']:,} cycles, {mean:.0f} % over all")
        axis.set_ylim(0, 100)
        axis.set_yticks((0, 25, 50, 75, 100))
        axis.set_ylabel("utilization, %")
        axis.margins(x=0)
    axes[-1][0].set_xlabel("cycle")
    axes[-1][0].xaxis.set_major_formatter(lambda value, _place: f"{value:,.0f}")
    figure.suptitle(f"Lanes doing useful work, over time ({_machine(report)})", fontsize=11)
    return figure


def _machine(report):
    machine = report["machine"]
    return f"{machine['rows']} x {machine['cols']} x {machine['lanes']} machine"
