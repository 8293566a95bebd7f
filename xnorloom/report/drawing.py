"""What all pictures share: palette, style, figures, and files that are the same every time."""

from pathlib import Path
from typing import Any

from ..output import make_folder, whole_file

__all__ = ["BLUE", "GREEN", "GREY", "INK", "MARKERS", "ORANGE", "PURPLE", "SERIES", "SKY", "STYLE",
           "VERMILION", "machine_name", "new_figure", "save"]

# Okabe and Ito's palette: told apart by colour-blind readers and in grey.
BLUE, SKY, GREEN, ORANGE, VERMILION = "#0072B2", "#56B4E9", "#009E73", "#E69F00", "#D55E00"
PURPLE, GREY, INK = "#CC79A7", "#BBBBBB", "#333333"
SERIES = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY)
MARKERS = "os^Dv<"

STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans", "font.size": 10, "axes.titlesize": 11, "axes.titleweight": "bold",
    "axes.titlelocation": "left", "axes.spines.top": False, "axes.spines.right": False,
    "axes.edgecolor": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK,
    "text.color": INK, "figure.facecolor": "white", "savefig.dpi": 150, "legend.frameon": False,
    "svg.hashsalt": "xnorloom",
}


def new_figure(width, height, columns=1, rows=1, **options):
    """A figure of a size in inches, and its axes as a 2-D array."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def machine_name(machine):
    """How pictures name a machine, given as a dictionary: by its shape."""
    return f"{machine['rows']} x {machine['cols']} x {machine['lanes']} machine"


def save(draw, report, path, title=None):
    """Draws a report into a PNG or SVG file; the same report gives the same file.

    Parameters
    ----------
    draw : callable
        Makes a figure of the report.
    report : dict
    path : path
    title : str or None
        What an SVG shows, for those who cannot see it.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    path = Path(path)
    metadata = ({"Title": title, "Date": None, "Creator": None} if path.suffix == ".svg"
                else {"Software": None})
    with matplotlib.rc_context(STYLE):
        figure = draw(report)
        FigureCanvasAgg(figure)
        make_folder(path)
        with whole_file(path) as temporary:
            figure.savefig(temporary, format=path.suffix[1:], bbox_inches="tight",
                           metadata=metadata)
    return path
