"""What is the user's to mend, told from what is ours: one sentence against a traceback."""

import difflib
import errno
import os
import traceback

__all__ = ["UserError", "check_choice", "sentence", "suggestion"]

_OURS = "xnorloom"


class UserError(ValueError):
    """A request that cannot be met; the message says what is demanded and shows what was given."""


def suggestion(name, known):
    """End of a sentence about an unknown name: the closest known one, or all of them."""
    close = difflib.get_close_matches(str(name), list(known), n=1)
    return f"did you mean '{close[0]}'?" if close else f"known: {', '.join(known)}"


def check_choice(what, name, known):
    """Returns ``name`` if it is among ``known``.

    Raises
    ------
    UserError
        If it is not; the message suggests the closest known name.
    """
    if name not in known:
        raise UserError(f"{what} must be a known name, not {name!r}; {suggestion(name, known)}")
    return name


def _raised_by_us(error):
    modules = [frame.f_globals.get("__name__", "")
               for frame, _line in traceback.walk_tb(error.__traceback__)]
    return bool(modules) and modules[-1].partition(".")[0] == _OURS


def sentence(error):
    """The one sentence a user reads for an exception, or None if it is a fault of this program.

    A user's error is any exception of a class of our own packages, a ``ValueError`` raised by our
    own code, a missing optional package, and every refusal of the operating system.
    """
    text = " ".join(str(error).split())
    if type(error).__module__.partition(".")[0] == _OURS:
        return text
    if isinstance(error, ModuleNotFoundError):
        if (error.name or "").partition(".")[0] == _OURS:
            return None
        return f"Python package {error.name!r} is not installed; run `xnorloom doctor`"
    if isinstance(error, OSError):
        reason = os.strerror(error.errno) if error.errno else text
        if error.filename is None:
            return f"The system refused: {reason}"
        verb = "does not exist" if error.errno == errno.ENOENT else f"cannot be used: {reason}"
        return f"File {str(error.filename)!r} {verb}"
    if isinstance(error, ValueError) and _raised_by_us(error):
        return text
    return None
