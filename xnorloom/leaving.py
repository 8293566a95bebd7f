"""How a program of ours ends: exit codes, interrupts, and readers that hear no more."""

import contextlib
import os
import select
import signal
import sys

from .errors import sentence

__all__ = ["UNHEARD", "guarded", "heard"]

UNHEARD = 128 + signal.SIGPIPE
"""Exit code of a program whose output is read no more, as the shell gives it."""

_REFUSED, _INTERRUPTED = 2, 130


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
        raise
    except Exception as error:
        text = sentence(error)
        if text is None:
            raise
        print(f"{name}: {text}", file=sys.stderr)
        return _REFUSED
    finally:
        if previous is not None:
            signal.signal(signal.SIGTERM, previous)


def heard(run, *arguments, name):
    """Calls ``run``, whatever it prints and however it ends, and sees to it that all of it is
    written: else the interpreter would complain at its own end, and spoil the exit code.

    Returns
    -------
    int
        What ``run`` returns; :data:`UNHEARD` if standard output or error is a pipe that nobody
        reads any more, 2 if they cannot be written for another reason.
    """
    code, leaving = None, None
    try:
        try:
            code = run(*arguments)
        except SystemExit as error:
            leaving = error
        for stream in _streams():
            stream.flush()
    except BrokenPipeError:
        if not any(map(_is_unheard, _streams())):
            raise
        _drop_what_cannot_be_written()
        return UNHEARD
    except OSError as error:
        _drop_what_cannot_be_written()
        if code != _REFUSED:
            with contextlib.suppress(OSError):
                print(f"{name}: {sentence(error)}", file=sys.stderr)
        return _REFUSED
    if leaving is not None:
        raise leaving
    return code


def _streams():
    return [stream for stream in (sys.stdout, sys.stderr) if stream is not None]


def _is_unheard(stream):
    """Whether a stream is a pipe that nobody reads: a pipe to a worker may have broken as well."""
    poll = select.poll()
    poll.register(stream.fileno(), 0)
    return bool(poll.poll(0))


def _drop_what_cannot_be_written():
    """Sends to the null device what a stream still holds."""
    for stream in _streams():
        try:
            stream.flush()
        except OSError:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())
            os.close(null)
            stream.flush()
