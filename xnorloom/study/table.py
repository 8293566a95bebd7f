"""``table``: every scheme with several seeds, from float to hardware: one report, one page."""

import os
import re
import sys
from pathlib import Path

from xnorloom.hw.spec.config import load_machine

from ..errors import UserError, check_choice
from ..output import check_output, write_json, write_text
from ..report.environment import versions
from ..report.progress import console, track
from ..report.summary import wrong
from ..verbs.inputs import test_images

__all__ = ["table"]


def table(schemes=None, *, seeds=(1, 2, 3), net="cnn", data="digits", machine="default",
          epochs=None, count=None, jobs=1, folder="build/table", output=None, verbose=False):
    """Trains schemes, runs them on the simulated machine and compares what they cost and reach.

    Whatever was trained or compared is kept in ``folder`` and not done again unless the code,
    the configuration or the machine it came from has changed; so an interrupted table goes on where
    it was.

    Parameters
    ----------
    schemes : sequence of str or None
        Registered names; None: all of them.
    seeds : sequence of int
        Of float weights, batches and shifts. The float network of a seed teaches all schemes.
    net, data : str
        Registered names.
    machine : str, path or MachineConfig
    epochs, count : int or None
        Less training or fewer images, for a quick look; None: all.
    jobs : int
        Processes that work side by side, each with one torch thread.
    folder : path
        For what is kept, and for ``report.json``.
    output : path or None
        Existing folder for ``results.md``, its pictures and ``results.json``, a copy of the report;
        None: no page is written.
    verbose : bool
        Whether progress is printed.

    Returns
    -------
    dict
        ``schemes``: per scheme ``name``, ``paper``, ``arxiv``, ``weight_bits`` and
        ``activation_bits`` (logarithms of the numbers of values), ``weight_planes``,
        ``image_bytes`` and ``runs``, in the order of the seeds; per run ``seed``, ``images``,
        ``accuracy`` (of :data:`xnorloom.report.summary.STAGES`), ``mismatches``,
        ``values_compared``, ``cycles``, ``mispredicted_layers``, ``utilization``,
        ``training_seconds``. Further ``seeds``, ``net``, ``data``, ``machine``,
        ``quantization_error``, ``sawb``, ``gpfq`` and ``versions``.

    Raises
    ------
    ValueError
        If a name is unknown, an option is out of its range, or the results cannot be written.
    """
    from xnorloom.sw.quantizers import SCHEMES
    from xnorloom.sw.training.nets import NETS

    from .runs import Setting, code_digests, recipe
    from .workers import work_off

    names = list(SCHEMES) if schemes is None else list(schemes)
    for name in names:
        check_choice("Scheme", name, SCHEMES)
    seeds = list(seeds)
    for what, values in (("Schemes", names), ("Seeds", seeds)):
        if not values or len(set(values)) != len(values):
            raise UserError(f"{what} must be given, each once, not {values!r}")
    if not isinstance(jobs, int) or jobs < 1:
        raise UserError(f"Jobs must be a positive integer, not {jobs!r}")
    for what, path in (("folder", folder), ("output", output)):
        if path is not None and not os.fspath(path):
            raise UserError(f"Folder {what!r} must have a name, not ''")
    config, folder = load_machine(machine), Path(folder)
    check_choice("Net", net, NETS)
    for seed in seeds:
        recipe(seed, epochs)
    test_images(data, count)
    check_output(folder / "report.json", "Report")
    if output is not None:
        check_output(Path(output) / "results.md", "Page")

    from .experiments import experiments

    setting = Setting(folder / "cache", net, data, config, code_digests(names), epochs,
                      count)
    # All seeds of a scheme in a row: workers then begin with float networks of their own.
    tasks = [(name, seed) for name in names for seed in seeds]
    runs = {}
    with track(f"{len(tasks)} runs", len(tasks), shown=verbose) as advance:
        def done(run):
            runs[run["scheme"], run["seed"]] = run
            if verbose:
                console.print(f"  {_line(run)}")
            advance(len(runs))

        work_off(setting, tasks, jobs, done, lambda note: advance(len(runs), note))
    report = {
        "schemes": sorted((_scheme(name, SCHEMES[name], [runs[name, seed] for seed in seeds])
                           for name in names), key=_place),
        "seeds": seeds, "net": net, "data": data, "machine": config.as_dict(),
        **experiments(folder / "cache", verbose=verbose), "versions": versions(),
    }
    write_json(folder / "report.json", report)
    if output is not None:
        from .page import page
        from .pictures import draw

        draw(report, output)
        write_json(Path(output) / "results.json", report)
        write_text(Path(output) / "results.md", page(report))
    return report


def _scheme(name, config, runs):
    paper, arxiv = _paper(config)
    same = ("weight_bits", "activation_bits", "weight_planes", "image_bytes")
    return {"name": name, "paper": paper, "arxiv": arxiv, **{key: runs[0][key] for key in same},
            "runs": [{key: value for key, value in run.items() if key not in ("scheme", *same)}
                     for run in runs]}


def _paper(config):
    """Name and number of the paper, as the first line of the scheme's own file has them."""
    text = sys.modules[type(config).__module__].__doc__ or ""
    number = re.search(r"arXiv (\d+\.\d+)", text)
    return (re.split("[:(.]", text)[0].strip() or type(config).__name__,
            number[1] if number else "")


def _place(scheme):
    return scheme["arxiv"], scheme["weight_bits"], scheme["activation_bits"], scheme["name"]


def _line(run):
    return (f"{run['scheme']}, seed {run['seed']}: hardware {run['accuracy']['hardware']:.2%}, "
            f"{wrong(run)} mismatches, {run['cycles']['measured']:,} cycles")
