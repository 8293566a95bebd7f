"""The ``xnorloom`` program: every command is a call of the package and a summary of its result.

Exit codes: 0 done, 1 something does not match, 2 the request cannot be met (one sentence on
stderr), 130 interrupted.
"""

import argparse
import signal
import sys
import textwrap
from collections.abc import Callable
from typing import Any

from .errors import sentence, suggestion

__all__ = ["main"]

_INTERRUPTED = 130


class _Parser(argparse.ArgumentParser):
    """Errors are one sentence, with a suggestion for a misspelt name."""

    names: Callable[[], list[str]] | None = None
    """Gives the lines that end the help; only then, since what lists them takes a while to import.
    """

    def __init__(self, **options):
        super().__init__(allow_abbrev=False, **options)

    def format_help(self):
        if self.names is not None:
            self.formatter_class = argparse.RawDescriptionHelpFormatter
            self.epilog = "\n".join(textwrap.fill(line, 80, break_on_hyphens=False)
                                    for line in self.names())
        return super().format_help()

    def error(self, message):
        self.exit(2, f"{self.prog}: {' '.join(message.split())}; see {self.prog} --help\n")

    def _check_value(self, action, value):
        if action.choices is not None and value not in action.choices:
            what = "Command" if action.dest == "command" else action.option_strings[0]
            self.error(f"{what} must be a known name, not {value!r}; "
                       f"{suggestion(value, action.choices)}")


def _count(text):
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be a positive integer, not {text!r}")
    return value


def _list(kind):
    """Reader of values separated by commas."""
    def read(text):
        return [kind(part) for part in text.split(",")]

    read.__name__ = "list"
    return read


def _registered_names():
    from sw.nets import NETS
    from sw.quantizers import SCHEMES

    return [f"Networks: {', '.join(NETS)}", f"Schemes: {', '.join(sorted(SCHEMES))}"]


def _parser():
    parser = _Parser(prog="xnorloom", description="Low-bit PyTorch networks on an XNOR-popcount "
                                                  "systolic machine, proven bit for bit.")
    parser.add_argument("--version", action="store_true", help="print the version and leave")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    def command(name, run, help_text):
        sub = commands.add_parser(name, help=help_text, description=help_text)
        sub.set_defaults(run=run)
        return sub

    def option(sub, *names):
        for name in names:
            flags, settings = _OPTIONS[name]
            sub.add_argument(*flags, **settings)

    sub = command("train", _train, "Train a quantized network and save a checkpoint.")
    sub.names = _registered_names
    option(sub, "data")
    sub.add_argument("--net", default="cnn", help="network (default: %(default)s)")
    sub.add_argument("--scheme", default="lsbq-w1a2", help="quantizers (default: %(default)s)")
    sub.add_argument("--epochs", type=_count, help="passes over the training set")
    sub.add_argument("--seed", type=int, help="of weights and batches")
    sub.add_argument("-o", "--output", required=True, metavar="NET.pt", help="checkpoint to write")

    sub = command("compile", _compile, "Snap a checkpoint and pack a program image.")
    sub.add_argument("checkpoint", metavar="NET.pt")
    option(sub, "machine", "batch")
    sub.add_argument("-o", "--output", required=True, metavar="NET.xlm", help="image to write")

    sub = command("verilog", _verilog, "Write the Verilog of a machine.")
    option(sub, "machine")
    sub.add_argument("--popcount", choices=("plain", "countones"), default="plain",
                     help="countones simulates faster and does not synthesize everywhere")
    sub.add_argument("-o", "--output", required=True, metavar="TOP.v", help="file to write")

    sub = command("simulate", _simulate, "Run an image in the simulated machine.")
    sub.add_argument("image", metavar="NET.xlm")
    option(sub, "data", "count", "engine", "json")
    sub.add_argument("--waves", metavar="RUN.fst",
                     help="record waves (.fst or .vcd), of one batch unless --count is given")

    sub = command("compare", _compare, "Compare torch, integer reference and RTL, every code of "
                                       "every layer.")
    sub.add_argument("checkpoint", metavar="NET.pt")
    option(sub, "machine", "data", "count", "batch", "engine", "json")

    sub = command("table", _table, "Train every scheme with several seeds, compare what they reach "
                                   "and cost, and write docs/results.md.")
    option(sub, "data", "machine", "count")
    sub.add_argument("--schemes", type=_list(str), metavar="A,B", help="names (default: all)")
    sub.add_argument("--seeds", type=_list(int), default=[1, 2, 3], metavar="1,2,3",
                     help="of float weights and batches (default: 1,2,3)")
    sub.add_argument("--net", default="cnn", help="network (default: %(default)s)")
    sub.add_argument("--epochs", type=_count, help="train less, for a quick look")
    sub.add_argument("--jobs", type=_count, default=1, metavar="N",
                     help="processes side by side (default: %(default)s)")
    sub.add_argument("--folder", default="build/table",
                     help="for finished runs and report.json (default: %(default)s)")
    sub.add_argument("--output", metavar="FOLDER", help="also write results.md and its pictures")

    sub = command("estimate", _estimate, "Cycles, stalls and utilization per layer, without "
                                         "simulating.")
    sub.add_argument("image", metavar="NET.xlm")
    option(sub, "json")

    sub = command("inspect", _inspect, "Header, layers, memory map and checksums of an image.")
    sub.add_argument("image", metavar="NET.xlm")
    option(sub, "json")

    sub = command("synth", _synth, "Synthesize a machine and print the area of its modules.")
    option(sub, "machine")
    sub.add_argument("--target", choices=("ecp5", "ice40", "xc7"), default="ecp5",
                     help="FPGA family (default: %(default)s)")
    option(sub, "json")

    sub = command("route", _route, "Place and route a machine on an ECP5-25F, out of context.")
    sub.add_argument("--machine", default="small", metavar="NAME|FILE.toml",
                     help="preset or file (default: %(default)s)")
    option(sub, "json")

    command("doctor", _doctor, "What is installed, what is missing, and how to get it.")
    return parser


_OPTIONS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "machine": (("--machine",), {"default": "default", "metavar": "NAME|FILE.toml",
                                 "help": "preset or file (default: %(default)s)"}),
    "data": (("--data",), {"default": "digits", "metavar": "NAME[:PATH]",
                           "help": "digits, mnist:PATH, cifar10:PATH or folder:PATH, with the "
                                   "folder of the files (default: %(default)s)"}),
    "count": (("--count",), {"type": _count, "metavar": "N",
                             "help": "images of the test set (default: all)"}),
    "batch": (("--batch",), {"type": _count, "metavar": "N",
                             "help": "images per run (default: as many as fit)"}),
    "engine": (("--engine",), {"choices": ("verilator", "icarus"), "default": "verilator",
                               "help": "simulator (default: %(default)s)"}),
    "json": (("--json",), {"metavar": "OUT.json", "help": "also write the result as JSON"}),
}


def _print(thing):
    from .progress import console

    console.print(thing)


def _train(options):
    from . import train
    from .tables import accuracy_line

    result = train(options.net, options.data, options.scheme, output=options.output,
                   epochs=options.epochs, seed=options.seed, verbose=True)
    _print(accuracy_line(result.accuracy))
    _print(f"wrote {options.output}")
    return 0


def _compile(options):
    from . import compile as compile_image

    image = compile_image(options.checkpoint, options.machine, batch=options.batch,
                          output=options.output, verbose=True)
    _print(f"wrote {options.output}: {len(image.layers)} layers, {len(image.to_bytes()):,} bytes, "
           f"{image.batch} images per run on machine {image.config.name}")
    return 0


def _verilog(options):
    from . import verilog

    text = verilog(options.machine, popcount=options.popcount, output=options.output)
    _print(f"wrote {options.output}: {text.count(chr(10)):,} lines")
    return 0


def _simulate(options):
    from . import simulate

    result = simulate(options.image, options.data, count=options.count, engine=options.engine,
                      waves=options.waves, json=options.json, verbose=True)
    _print(f"{result['images']} images, {result['cycles']['measured']:,} cycles, "
           f"{result['simulation']['cycles_per_second']:,} cycles per second; "
           f"accuracy {result['accuracy']['hardware']:.2%}")
    for name in (options.waves, options.json):
        if name:
            _print(f"wrote {name}")
    return 0


def _compare(options):
    from . import compare
    from .report import mismatches
    from .tables import accuracy_line, scheme_table

    report = compare(options.checkpoint, options.data, options.machine, count=options.count,
                     batch=options.batch, engine=options.engine, json=options.json, verbose=True)
    scheme = report["schemes"][0]
    _print(scheme_table(scheme))
    _print(accuracy_line(scheme["accuracy"]))
    wrong = mismatches(report)
    _print(f"{scheme['values_compared']:,} values compared three ways, {wrong:,} mismatches")
    if options.json:
        _print(f"wrote {options.json}")
    return 1 if wrong else 0


def _table(options):
    from . import table
    from .results import summary
    from .tables import results_table

    report = table(options.schemes, seeds=options.seeds, net=options.net, data=options.data,
                   machine=options.machine, epochs=options.epochs, count=options.count,
                   jobs=options.jobs, folder=options.folder, output=options.output, verbose=True)
    _print(results_table(report))
    wrong = sum(summary(scheme)["mismatches"] for scheme in report["schemes"])
    _print(f"torch = integer reference = RTL in all runs: {wrong:,} mismatches")
    _print(f"wrote {options.folder}/report.json")
    if options.output:
        _print(f"wrote {options.output}/results.md")
    return 1 if wrong else 0


def _estimate(options):
    from . import estimate
    from .output import write_json
    from .tables import estimate_table

    result = estimate(options.image)
    if options.json:
        write_json(options.json, result)
    _print(estimate_table(result["layers"], f"{options.image}: {result['images']} images per run, "
                                            f"machine {result['machine']}"))
    return 0


def _inspect(options):
    from . import inspect
    from .output import write_json
    from .tables import inspect_tables

    result = inspect(options.image)
    if options.json:
        write_json(options.json, result)
    for table in inspect_tables(result):
        _print(table)
    return 0


def _synth(options):
    from . import synth
    from .output import write_json
    from .tables import area_table

    result = synth(options.machine, target=options.target, verbose=True)
    if options.json:
        write_json(options.json, result)
    _print(area_table(result))
    return 0


def _route(options):
    from . import route
    from .output import write_json
    from .tables import route_lines

    result = route(options.machine, verbose=True)
    if options.json:
        write_json(options.json, result)
    for line in route_lines(result):
        _print(line)
    return 0


def _doctor(_options):
    from . import doctor
    from .tables import environment_table

    parts = doctor()
    _print(environment_table(parts))
    missing = [part for part in parts if part.state == "missing"]
    for part in missing:
        _print(f"{part.name} is missing: {part.remedy}")
    if not missing:
        _print("everything that `make demo` needs is here")
    return 1 if missing else 0


def main(arguments=None):
    """Runs one command.

    Parameters
    ----------
    arguments : list of str or None
        Words of the command line, None for those of this process.

    Returns
    -------
    int
        Exit code.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.version:
        from . import __version__

        print(f"xnorloom {__version__}")
        return 0
    if options.command is None:
        parser.print_help()
        return 2
    return guarded(options.run, options, name=f"xnorloom {options.command}")


def guarded(run, *arguments, name):
    """Calls ``run`` and turns what the user can mend, or an interrupt, into an exit code."""
    def terminated(_number, _frame):
        raise KeyboardInterrupt

    try:
        previous = signal.signal(signal.SIGTERM, terminated)
    except ValueError:
        previous = None
    try:
        return run(*arguments)
    except KeyboardInterrupt:
        print(f"{name}: interrupted, nothing half-written is left", file=sys.stderr)
        return _INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except Exception as error:
        text = sentence(error)
        if text is None:
            raise
        print(f"{name}: {text}", file=sys.stderr)
        return 2
    finally:
        if previous is not None:
            signal.signal(signal.SIGTERM, previous)


