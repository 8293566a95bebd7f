"""``make demo``: three networks from torch to RTL and back, then the report and its pictures.

Everything goes into one folder: checkpoints, images, the machine's Verilog, ``report.json``, and
the pictures drawn from it.
"""

import argparse
import json
import sys
import time
from pathlib import Path

from xnorloom.hw.spec.config import load_machine

from .leaving import guarded, heard
from .output import check_output, write_json
from .report.progress import console, track
from .verbs import building, running

__all__ = ["RUNS", "main", "run_demo"]

RUNS = (("cnn", "lsbq-w1a2"), ("cnn", "pact-sawb-w2a2"), ("resnet", "gpfq-w4a4"))
"""What the demo shows, by net and scheme: a chain of layers, with plane scales in no simple ratio
and in the ratio 2; and shortcuts with pools, quantized after training."""


def run_demo(folder, machine="default", *, runs=RUNS, epochs=None, count=None,
             engine="verilator"):
    """Trains, compiles, generates, simulates, compares and reports.

    Parameters
    ----------
    folder : path
        Where the results go; created if absent.
    machine : str, path or MachineConfig
    runs : sequence of tuple of str
        Net and scheme of each.
    epochs, count : int or None
        Less training or fewer images, for a quick look; None: all.
    engine : str
        ``verilator`` or ``icarus``.

    Returns
    -------
    dict
        The report; also in ``report.json``.
    """
    start = time.monotonic()
    folder = Path(folder)
    check_output(folder / "report.json", "Report")
    config = load_machine(machine)

    from .report.report import new_report
    from .verbs.comparison import compare_on
    from .verbs.inputs import test_images
    from .verbs.training import train

    images, labels = test_images("digits", count)
    teachers: dict = {}
    entries = []
    for net, scheme in runs:
        trained = train(net, "digits", scheme, output=folder / f"{net}-{scheme}.pt", epochs=epochs,
                        teacher=teachers.get(net), verbose=True)
        teachers[net] = trained.float_model
    with track("generate Verilog", shown=True):
        building.verilog(config, output=folder / "top.v")
    with running.open_machine(config, engine=engine, verbose=True) as transport:
        for name in (f"{net}-{scheme}" for net, scheme in runs):
            entries.append(compare_on(transport, folder / f"{name}.pt", config, images, labels,
                                      output=folder / f"{name}.xlm", whole=count is None,
                                      verbose=True))
        cycles, seconds = transport.cycles, transport.seconds
    report = new_report(config, entries, cycles, seconds, time.monotonic() - start)
    write_json(folder / "report.json", report)
    return report


def show(folder):
    """Prints the tables of a report and draws its pictures, from ``report.json`` alone."""
    from .report.pictures import draw_all
    from .report.report import mismatches
    from .report.tables import accuracy_line, scheme_table

    report = json.loads((Path(folder) / "report.json").read_text(encoding="utf-8"))
    for scheme in report["schemes"]:
        console.print(scheme_table(scheme))
        console.print(accuracy_line(scheme["accuracy"]))
        console.print(f"{scheme['values_compared']:,} values compared three ways, "
                      f"{sum(scheme['mismatches'].values()):,} differ")
        console.print()
    simulation = report["simulation"]
    console.print(f"simulated {simulation['cycles']:,} cycles at "
                  f"{simulation['cycles_per_second']:,} per second; "
                  f"all of it took {report['seconds']:.0f} s")
    for path in draw_all(report, folder):
        console.print(f"wrote {path}")
    wrong = mismatches(report)
    console.print("torch = integer reference = RTL, and every cycle as predicted" if not wrong
                  else f"{wrong:,} MISMATCHES")
    return 1 if wrong else 0


def main(arguments=None):
    """Runs the demo; the exit code is 1 if anything differs."""
    return heard(_run, arguments, name="demo")


def _run(arguments):
    parser = argparse.ArgumentParser(prog="python -m xnorloom.demo", description=__doc__)
    parser.add_argument("--output", default="build/demo", help="folder (default: %(default)s)")
    parser.add_argument("--machine", default="default", help="preset or TOML file")
    parser.add_argument("--epochs", type=int, help="train less, for a quick look")
    parser.add_argument("--count", type=int, help="fewer images, for a quick look")
    options = parser.parse_args(arguments)

    def work():
        run_demo(options.output, options.machine, epochs=options.epochs, count=options.count)
        return show(options.output)

    return guarded(work, name="demo")


if __name__ == "__main__":
    sys.exit(main())
