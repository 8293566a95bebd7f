"""Files that appear whole or not at all, in the place that their name leads to."""

import contextlib
import errno
import os
import secrets
import shutil
import stat
from pathlib import Path

__all__ = ["FileError", "demand_writable", "move_into_place", "whole_file"]

_KINDS = ((stat.S_ISDIR, "folder"), (stat.S_ISFIFO, "pipe"), (stat.S_ISSOCK, "socket"),
          (stat.S_ISCHR, "device"), (stat.S_ISBLK, "device"))
_MOST_LINKS = 40


class FileError(ValueError):
    """A file that cannot be written; the message names its role, its path and the reason."""


def demand_writable(path, what="File"):
    """Returns the path that is replaced when a file is written: links are followed to their end.

    Parameters
    ----------
    path : path-like
        It need not exist, nor need what a link leads to.
    what : str
        The file's role, for messages.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    FileError
        If it is empty, a folder, a pipe, a device or an open file of a process (what is written to
        these cannot appear whole), is read-only, or its links go in a circle.
    """
    if not os.fspath(path):
        raise FileError(f"{what} must have a name, not ''")
    try:
        target = _followed(Path(path))
        mode = target.stat().st_mode if target.exists() else stat.S_IFREG
    except (OSError, ValueError) as error:
        raise FileError(_refused(path, what, error)) from None
    kind = next((name for check, name in _KINDS if check(mode)), None)
    if _is_open_file(target):
        kind = "open file of a process"
    if kind is not None:
        raise FileError(f"{what} {str(path)!r} must be a file, not "
                        f"{'an' if kind.startswith('o') else 'a'} {kind}")
    if target.exists() and not os.access(target, os.W_OK):
        raise FileError(f"{what} {str(path)!r} cannot be written: it is read-only")
    return target


def _followed(path):
    for _ in range(_MOST_LINKS):
        path = Path(os.path.realpath(path.parent), path.name)
        if not path.is_symlink() or _is_open_file(path):
            return path
        path = path.parent / path.readlink()
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))


def _is_open_file(path):
    # What /dev/stdout leads to: whoever has it open would go on writing to what was replaced.
    return path.parts[1:2] == ("proc",)


def _refused(path, what, error):
    reason = os.strerror(error.errno) if getattr(error, "errno", None) else error
    return f"{what} {str(path)!r} cannot be written: {reason}"


def move_into_place(file, target):
    """Moves a finished file over what lies at its target, whose mode it takes over."""
    if target.exists():
        shutil.copymode(target, file)
    file.replace(target)


@contextlib.contextmanager
def whole_file(path, what="File"):
    """Gives a temporary path beside a file and moves it there at the end.

    A link stays, and what it leads to is replaced. A new file gets the mode that the umask leaves,
    one that is replaced keeps its own. On any exception, an interrupt included, the temporary file
    is removed and ``path`` is what it was before.

    Parameters
    ----------
    path : path-like
        In a folder that exists.
    what : str
        The file's role, for messages.

    Raises
    ------
    FileError
        If :func:`demand_writable` refuses it, or the system does.
    """
    target = demand_writable(path, what)
    temporary = target.with_name(f".xnorloom-{secrets.token_hex(8)}")
    try:
        temporary.touch(exist_ok=False)
        yield temporary
        move_into_place(temporary, target)
    except OSError as error:
        raise FileError(_refused(path, what, error)) from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
