"""The memory map of an image as a picture: which maps lie where and for how long, and how full
every memory is."""

import itertools
from pathlib import Path

from .drawing import BLUE, GREEN, GREY, INK, PURPLE, SKY, VERMILION, machine_name, new_figure, save

__all__ = ["draw_memory_map", "memory_figure", "save_memory_map"]

_COLOURS = (BLUE, VERMILION, GREEN, PURPLE)
_LINE = 0.042
"""Height of a line of text, in parts of the axis."""

_CHARACTER = 0.0085
"""Width of a character, in parts of the axis."""


def save_memory_map(inspected, path):
    """Draws what :func:`xnorloom.inspect` found.

    Parameters
    ----------
    inspected : dict
    path : path
        ``.png`` or ``.svg``.

    Returns
    -------
    Path
    """
    report = {"machine": inspected["machine"],
              "schemes": [{**inspected, "title": inspected["network"]}]}
    return save(memory_figure, report, Path(path), "Maps in the activation banks and their "
                                                   "lifetimes, and how full every memory is")


def memory_figure(report):
    """A row for every scheme of a report.

    Parameters
    ----------
    report : dict
        ``machine``, and ``schemes`` with ``title``, ``layers`` (their ``name``), ``maps`` (of
        :func:`sw.machine.lifetimes.map_lifetimes`) and ``memories`` (of :func:`xnorloom.inspect`).
    """
    schemes = report["schemes"]
    longest = max(len(layer["name"]) for scheme in schemes for layer in scheme["layers"])
    figure, axes = new_figure(12.5, 0.7 + len(schemes) * (3.3 + 0.06 * longest), columns=2,
                              rows=len(schemes), width_ratios=(3.4, 1))
    for (left, right), scheme in zip(axes, schemes, strict=True):
        draw_memory_map(left, scheme)
        _fullness(right, scheme["memories"])
    figure.suptitle(f"Maps in the activation banks, and how full every memory is "
                    f"({machine_name(report['machine'])})", fontsize=11)
    return figure


def draw_memory_map(axis, scheme):
    """Maps as rectangles: layers to the right, addresses upwards.

    Parameters
    ----------
    axis : matplotlib Axes
    scheme : dict
        See :func:`memory_figure`.
    """
    names, maps = [layer["name"] for layer in scheme["layers"]], scheme["maps"]
    memory = next(each for each in scheme["memories"] if each["name"] == "activations")
    top = max(memory["used"], 1)
    padding = min(entry["base"] for entry in maps)
    if padding:
        axis.bar(-1, padding, width=len(names) + 1, align="edge", color=GREY, linewidth=0)
    for entry, colour in zip(maps, itertools.cycle(_COLOURS)):
        end = len(names) if entry["last"] is None else entry["last"] + 1
        width, height = end - entry["first"], entry["words"]
        axis.bar(entry["first"], height, width=width, bottom=entry["base"], align="edge",
                 # What is a hair high would vanish under a white edge.
                 color=colour, edgecolor="white" if height > 0.01 * top else colour, linewidth=0.9)
        lines = [entry["name"], f"{height:,}"]
        if height <= 2 * _LINE * top:
            lines = [": ".join(lines)]
        if (height > len(lines) * _LINE * top
                and max(map(len, lines)) * _CHARACTER < width / (len(names) + 1)):
            axis.text(entry["first"] + width / 2, entry["base"] + height / 2, "\n".join(lines),
                      ha="center", va="center", fontsize=8.5, color="white", linespacing=1.35)
    axis.set_xlim(-1, len(names))
    axis.set_ylim(0, 1.02 * top)
    short = max(map(len, names)) * len(names) < 100
    axis.set_xticks([place - 0.5 for place in range(len(names) + 1)], ["host", *names],
                    rotation=0 if short else 30, ha="center" if short else "right",
                    rotation_mode="anchor")
    axis.tick_params(axis="x", length=0)
    axis.set_xlabel("a map begins at the layer that writes it and ends with the last one to read "
                    "it")
    axis.set_ylabel("address in every bank")
    axis.set_title(f"{scheme['title']}: {memory['used']:,} of {memory['depth']:,} entries")


def _fullness(axis, memories):
    shown = [memory for memory in memories if memory["used"]]
    shares = [100 * memory["used"] / memory["depth"] for memory in shown]
    axis.barh(range(len(shown)), [100] * len(shown), color="#EEEEEE", height=0.62)
    axis.barh(range(len(shown)), shares, color=SKY, height=0.62)
    for place, memory in enumerate(shown):
        axis.text(3, place, f"{memory['used']:,} of {memory['depth']:,}", va="center", fontsize=8.5,
                  color=INK)
    axis.set_yticks(range(len(shown)), [memory["name"] for memory in shown])
    axis.tick_params(axis="y", length=0)
    axis.invert_yaxis()
    axis.set_xlim(0, 100)
    axis.set_xlabel("entries of a bank used, %")
