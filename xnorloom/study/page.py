"""The page ``results.md``, written from the report of a table."""

from ..report.summary import STAGES, summary

__all__ = ["page"]


def page(report):
    """Text of the page in Markdown.

    Parameters
    ----------
    report : dict
        As :func:`xnorloom.study.table.table` makes it, or as read back from JSON.
    """
    return "\n\n".join([_head(report), _schemes(report), _errors(report), _sawb(report),
                        _gpfq(report)]) + "\n"


def _rows(heads, rows):
    right = ["---" if head.startswith("<") else "---:" for head in heads]
    heads = [head.removeprefix("<") for head in heads]
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in (heads, right, *rows))


def _listed(values):
    *most, last = map(str, values)
    return f"{', '.join(most)} and {last}" if most else last


def _head(report):
    machine, seeds = report["machine"], report["seeds"]
    images = report["schemes"][0]["runs"][0]["images"]
    values = sum(run["values_compared"] for scheme in report["schemes"] for run in scheme["runs"])
    wrong = sum(summary(scheme)["mismatches"] for scheme in report["schemes"])
    return f"""# Results

Written by `xnorloom table --output docs` (`make table`) from the report it leaves in
[results.json](results.json); nothing on this page is typed by hand. What the schemes are is told in
[quantizers.md](quantizers.md).

## Schemes

Network `{report['net']}` on `{report['data']}`; machine `{machine['name']}`, {machine['rows']} x
{machine['cols']} x {machine['lanes']}, simulated cycle by cycle. Accuracies are in per cent of
{images} test images: the median of seed{'s' if len(seeds) > 1 else ''} {_listed(seeds)}, the lowest
and the highest in brackets where they differ. *Snapped* is the quantized network on the machine's
integer grid. Bits are logarithms of the number of values a weight or an activation takes. *Image*
is the program that the machine is loaded with; cycles are those of all {images} images.

In all runs together {values:,} values were compared, torch = integer reference = RTL, and the
cycles of every layer with their prediction: **{wrong:,} differ**.

The training recipe was settled with test accuracies of single seeds in view; differences of a few
images between schemes say nothing."""


def _schemes(report):
    rows = []
    for scheme in report["schemes"]:
        said = summary(scheme)
        rows.append([
            f"`{scheme['name']}`", scheme["paper"] + (f" ({scheme['arxiv']})" if scheme["arxiv"]
                                                      else ""),
            f"{scheme['weight_bits']:.3g}", f"{scheme['activation_bits']:.3g}",
            *(_spread(said["accuracy"][stage]) for stage in STAGES),
            f"{scheme['image_bytes']:,}", f"{said['cycles']:,.0f}", f"{said['utilization']:.1%}",
            f"{said['mismatches']:,}"])
    table = _rows(["<scheme", "<paper", "weight bits", "activation bits", *STAGES, "image, bytes",
                   "cycles", "utilization", "mismatches"], rows)
    return (f"{table}\n\n![Accuracy against cycles](accuracy-cycles.svg)\n\n"
            "Schemes of equal accuracy and cycles stand side by side in the picture.")


def _spread(accuracy):
    if accuracy is None:
        return "-"
    middle, low, high = (f"{100 * accuracy[key]:.1f}" for key in ("median", "low", "high"))
    return middle if low == high else f"{middle} ({low}..{high})"


def _errors(report):
    error = report["quantization_error"]
    heads = ["<density", *next(iter(error["table"].values()))]
    rows = []
    for density, row in error["table"].items():
        rows.append([density, *(f"{cell['computed']:.{_digits(name)}f}"
                                for name, cell in row.items())])
        rows.append(["known", *(f"{cell['reference']:.{_digits(name)}f}"
                                for name, cell in row.items())])
    farthest = max(abs(cell["computed"] - cell["reference"])
                   for row in error["table"].values() for cell in row.values())
    return f"""## Quantization error

Of our quantizers on {error['points']:,} quantile points of a density: squared error divided by the
sum of squares; scales and levels divided by the root mean square. Below each row what is known;
the largest difference is {farthest:.1g}.

{_rows(heads, rows)}

![Error against bits](error-bits.svg)"""


def _digits(quantity):
    return 4 if quantity.split()[-1] in ("v1", "v2", "level", "threshold") else 5


def _sawb(report):
    sources = sorted({name for row in report["sawb"] for name in row["published"]}, key=str.lower)
    rows = [[row["levels"], *(_pair(row["published"].get(name)) for name in sources),
             _pair(row["refit"]), f"{row['misfit']:.2f}"] for row in report["sawb"]]
    return f"""## Coefficients of SAWB

The clipping level is `c1 * rms(w) + c2 * mean|w|`. Pairs `c1, c2` of public implementations by
number of levels, beside ours, refitted to the best clipping levels of six densities.

{_rows(["levels", *sources, "refitted", "largest misfit, in mean abs(w)"], rows)}"""


def _pair(coefficients):
    return "" if coefficients is None else "{:.3f}, {:.3f}".format(*(
        value + 0.0 if abs(value) >= 5e-4 else 0.0 for value in coefficients))


def _gpfq(report):
    gpfq = report["gpfq"]
    rows = [[series["levels"], series["samples"], f"{series['slope']:.3f}",
             f"{series['ratio'][0]:.2f}..{series['ratio'][1]:.2f}"] for series in gpfq["series"]]
    table = _rows(["levels", "samples m", "slope", "error / (msq * m / N)"], rows)
    return f"""## GPFQ's error against the number of inputs

Relative squared error of the output of neurons with N inputs, on m samples of Gaussian data, for
uniform weights. Plain rounding to the same alphabet (msq) leaves the same share whatever N is;
GPFQ's falls like 1/N.

{table}

![GPFQ's error against N](gpfq-error.svg)"""
