"""Words of the command line."""

import argparse
import textwrap
from collections.abc import Callable
from typing import Any

from ..errors import suggestion
from . import commands

__all__ = ["build_parser"]

_MOST_SEED = 2 ** 63 - 1


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


def _window(text):
    first, colon, end = text.partition(":")
    if not (colon and first.isdecimal() and end.isdecimal() and int(first) < int(end)):
        raise argparse.ArgumentTypeError(f"must be two cycles, as 1000:2000, not {text!r}")
    return int(first), int(end)


def _seed(text):
    try:
        value = int(text)
    except ValueError:
        value = -1
    if not 0 <= value <= _MOST_SEED:
        raise argparse.ArgumentTypeError(f"must be an integer from 0 to {_MOST_SEED}, not {text!r}")
    return value


def _list(kind):
    """Reader of values separated by commas."""
    def read(text):
        return [kind(part) for part in text.split(",")]

    read.__name__ = "list"
    return read


def _registered_names():
    from xnorloom.sw.quantizers import SCHEMES
    from xnorloom.sw.training.nets import NETS

    return [f"Networks: {', '.join(NETS)}", f"Schemes: {', '.join(sorted(SCHEMES))}"]


def build_parser():
    """The program's parser; every command names the function that carries it out as ``run``."""
    parser = _Parser(prog="xnorloom", description="Low-bit PyTorch networks on an XNOR-popcount "
                                                  "systolic machine, proven bit for bit.")
    parser.add_argument("--version", action="store_true", help="print the version and leave")
    verbs = parser.add_subparsers(dest="command", metavar="COMMAND")

    def command(name, run, help_text):
        sub = verbs.add_parser(name, help=help_text, description=help_text)
        sub.set_defaults(run=run)
        return sub

    def option(sub, *names):
        for name in names:
            flags, settings = _OPTIONS[name]
            sub.add_argument(*flags, **settings)

    sub = command("train", commands.train,
                  "Train a quantized network and save a checkpoint.")
    sub.names = _registered_names
    option(sub, "data")
    sub.add_argument("--net", default="cnn", help="network (default: %(default)s)")
    sub.add_argument("--scheme", default="lsbq-w1a2", help="quantizers (default: %(default)s)")
    sub.add_argument("--epochs", type=_count, help="passes over the training set")
    sub.add_argument("--seed", type=_seed, help="of weights and batches")
    sub.add_argument("--augment", choices=("shift", "none"), default="shift",
                     help="what is done to images while training (default: %(default)s)")
    sub.add_argument("-o", "--output", required=True, metavar="NET.pt", help="checkpoint to write")

    sub = command("compile", commands.compile,
                  "Snap a checkpoint and pack a program image.")
    sub.add_argument("checkpoint", metavar="NET.pt")
    option(sub, "machine", "batch")
    sub.add_argument("--dump-passes", metavar="DIR",
                     help="also write the text of every pass, each held against the one before it")
    sub.add_argument("-o", "--output", required=True, metavar="NET.xlm", help="image to write")

    sub = command("verilog", commands.verilog,
                  "Write the Verilog of a machine.")
    option(sub, "machine")
    sub.add_argument("--popcount", choices=("plain", "countones"), default="plain",
                     help="countones simulates faster and does not synthesize everywhere")
    sub.add_argument("--name", default="top",
                     help="top module; all others begin with it (default: %(default)s)")
    sub.add_argument("-o", "--output", required=True, metavar="TOP.v", help="file to write")

    sub = command("simulate", commands.simulate,
                  "Run an image in the simulated machine.")
    sub.add_argument("image", metavar="NET.xlm")
    option(sub, "data", "count", "engine", "json")
    sub.add_argument("--waves", metavar="RUN.fst",
                     help="record waves (.fst or .vcd; without a suffix, .fst if it can be "
                          "written), of one batch unless --count is given")
    sub.add_argument("--window", type=_window, metavar="A:B",
                     help="record cycles from A up to, but without, B (default: all)")

    sub = command("compare", commands.compare,
                  "Compare torch, integer reference and RTL, every code of "
                  "every layer.")
    sub.add_argument("checkpoint", metavar="NET.pt")
    option(sub, "machine", "data", "count", "batch", "engine", "json")

    sub = command("table", commands.table,
                  "Train every scheme with several seeds, compare what they reach "
                  "and cost, and write docs/results.md.")
    option(sub, "data", "machine", "count")
    sub.add_argument("--schemes", type=_list(str), metavar="A,B", help="names (default: all)")
    sub.add_argument("--seeds", type=_list(_seed), default=[1, 2, 3], metavar="1,2,3",
                     help="of float weights and batches (default: 1,2,3)")
    sub.add_argument("--net", default="cnn", help="network (default: %(default)s)")
    sub.add_argument("--epochs", type=_count, help="train less, for a quick look")
    sub.add_argument("--jobs", type=_count, default=1, metavar="N",
                     help="processes side by side (default: %(default)s)")
    sub.add_argument("--folder", default="build/table",
                     help="for finished runs and report.json (default: %(default)s)")
    sub.add_argument("--output", metavar="FOLDER", help="also write results.md and its pictures")

    sub = command("estimate", commands.estimate,
                  "Cycles, stalls and utilization per layer, without "
                  "simulating.")
    sub.add_argument("image", metavar="NET.xlm")
    option(sub, "json")

    sub = command("inspect", commands.inspect,
                  "Header, layers, memory map and checksums of an image.")
    sub.add_argument("image", metavar="NET.xlm")
    sub.add_argument("--picture", metavar="MAP.svg",
                     help="also draw the memory map, and how long maps live (.svg or .png)")
    option(sub, "json")

    sub = command("synth", commands.synth,
                  "Synthesize a machine and print the area of its modules.")
    option(sub, "machine")
    sub.add_argument("--target", choices=("ecp5", "ice40", "xc7"), default="ecp5",
                     help="FPGA family (default: %(default)s)")
    option(sub, "json")

    sub = command("route", commands.route,
                  "Place and route a machine on an ECP5-25F, out of context.")
    sub.add_argument("--machine", default="small", metavar="NAME|FILE.toml",
                     help="preset or file (default: %(default)s)")
    sub.add_argument("--seed", type=_seed, help="where placement starts")
    option(sub, "json")

    command("doctor", commands.doctor, "What is installed, what is missing, and how to get it.")
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
