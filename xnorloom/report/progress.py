"""Progress that tells the truth: bars on a terminal, plain lines elsewhere, nothing lost."""

import contextlib
import os
import sys
import time

from rich.console import Console

__all__ = ["console", "track"]

_WIDTH_WITHOUT_TERMINAL = 1000


class _Console(Console):
    """A console that leaves a closed pipe to :func:`xnorloom.leaving.heard`."""

    def on_broken_pipe(self):
        raise BrokenPipeError


def _width():
    """Columns of what is no terminal: a file or pipe takes whole rows, unless told otherwise."""
    if sys.stdout is not None and sys.stdout.isatty():
        return None
    told = os.environ.get("COLUMNS", "")
    return int(told) if told.isdecimal() and int(told) else _WIDTH_WITHOUT_TERMINAL


console = _Console(highlight=False, markup=False, soft_wrap=True, width=_width())
"""Where everything for people goes; width and colour follow the terminal, ``NO_COLOR`` is kept."""

_SECONDS_BETWEEN_LINES = 10.0


@contextlib.contextmanager
def track(title, total=None, *, shown=True):
    """Shows the progress of one task; gives a function ``advance(done, note="", total=None)``.

    A task of several stages gives the ``total`` of each as it goes; None there is the ``total``
    from the beginning.

    On a terminal a bar; otherwise a line at the beginning, one every ten seconds (how much is done,
    or where that is unknown the seconds it took so far), and one at the end. The last line always
    stands, with the seconds it took.

    Parameters
    ----------
    title : str
        What is being done.
    total : int or None
        Value of ``done`` at the end, None if unknown.
    shown : bool
        Whether anything is printed at all; functions called from Python keep silent.
    """
    if not shown:
        yield lambda done, note="", total=None: None
        return
    start = time.monotonic()
    last_note, printed = "", start
    if console.is_terminal:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        bar = Progress(TextColumn("{task.description}"), BarColumn(),
                       TextColumn("{task.fields[note]}"), TimeElapsedColumn(),
                       console=console, transient=True)
        with bar:
            task = bar.add_task(title, total=total, note="")

            def advance(done, note="", total=total):
                nonlocal last_note
                last_note = note
                bar.tasks[0].total = total
                bar.update(task, completed=done, note=note)

            yield advance
    else:
        console.print(f"{title} ...")

        def advance(done, note="", total=total):
            nonlocal last_note, printed
            last_note, now = note, time.monotonic()
            if now - printed >= _SECONDS_BETWEEN_LINES:
                printed = now
                share = f" {done}/{total}" if total else f" {now - start:.0f} s"
                console.print(f"  {title}{share} {note}".rstrip())

        yield advance
    seconds = time.monotonic() - start
    console.print(f"{title}: done in {seconds:.1f} s {last_note}".rstrip())
