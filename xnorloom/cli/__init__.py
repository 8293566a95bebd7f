"""The ``xnorloom`` program: every command is a call of the package and a summary of its result.

Exit codes: 0 done, 1 something does not match, 2 the request cannot be met (one sentence on
stderr), 130 interrupted, 141 nobody reads the output any more.
"""

from ..leaving import guarded, heard
from .parser import build_parser

__all__ = ["main"]


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
    return heard(_run, arguments, name="xnorloom")


def _run(arguments):
    parser = build_parser()
    options = parser.parse_args(arguments)
    if options.version:
        from .. import __version__

        print(f"xnorloom {__version__}")
        return 0
    if options.command is None:
        parser.print_help()
        return 2
    return guarded(options.run, options, name=f"xnorloom {options.command}")
