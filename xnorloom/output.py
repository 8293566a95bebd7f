"""Files that appear whole or not at all."""

import json
import os
import secrets
import tempfile
from pathlib import Path

from xnorloom.sw.files import FileError, demand_writable, whole_file

from .errors import UserError

__all__ = ["check_folder", "check_input", "check_output", "check_picture", "make_folder",
           "whole_file", "write_json", "write_text"]


def check_input(path, what):
    """Returns the path of an existing file.

    Raises
    ------
    UserError
        If it is absent or not a file; ``what`` names its role.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"{what} {str(path)!r} does not exist")
    if not path.is_file():
        raise UserError(f"{what} {str(path)!r} must be a file")
    return path


def check_output(path, what, *read):
    """Returns the path of a file that can be written, before the work for it begins.

    Nothing is created yet: see :func:`make_folder`.

    Parameters
    ----------
    path : path
        The file.
    what : str
        Its role, for messages.
    *read
        What the work reads; those that are paths are not to be lost.

    Raises
    ------
    UserError
        If it is no regular file, or its folder cannot be written, or cannot be created, or it is
        read.
    """
    try:
        folder = demand_writable(path, what).parent
        while not folder.exists():
            folder = folder.parent
        with tempfile.TemporaryFile(dir=folder):
            pass
    except FileError as error:
        raise UserError(str(error)) from None
    except OSError as error:
        raise UserError(f"{what} {str(path)!r} cannot be written: "
                        f"{os.strerror(error.errno or 0)}") from None
    for source in read:
        if isinstance(source, (str, os.PathLike)) and Path(path).exists() \
                and Path(source).exists() and Path(path).samefile(source):
            raise UserError(f"{what} {str(path)!r} must not be a file that is read for it")
    return Path(path)


def check_folder(path, what):
    """Returns the path of a folder that files can be written into, before the work for them begins.

    Nothing is created yet.

    Raises
    ------
    UserError
        If it has no name, is no folder, or cannot be written or created; ``what`` names its role.
    """
    if not os.fspath(path):
        raise UserError(f"{what} must have a name, not ''")
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise UserError(f"{what} {str(path)!r} must be a folder")
    # Any name in it that nobody has.
    try:
        check_output(path / f".{secrets.token_hex(8)}", what)
    except UserError as error:
        reason = str(error).rpartition(": ")[2]
        raise UserError(f"{what} {str(path)!r} cannot be written: {reason}") from None
    return path


def check_picture(path, what, *read):
    """Like :func:`check_output`, of a picture, whose suffix says what it is.

    Raises
    ------
    UserError
        Also if it does not end in ``.png`` or ``.svg``.
    """
    path = check_output(path, what, *read)
    if path.suffix not in (".png", ".svg"):
        raise UserError(f"{what} {str(path)!r} must end in .png or .svg")
    return path


def make_folder(path):
    """Creates the folder of a file that is about to be written, if it is not there."""
    demand_writable(path).parent.mkdir(parents=True, exist_ok=True)


def write_text(path, text):
    """Writes a text file whole; its folder is created if it is not there."""
    make_folder(path)
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path, data):
    """Writes a JSON file like :func:`write_text`; numpy scalars become plain numbers."""
    write_text(path, json.dumps(data, indent=2, default=_plain) + "\n")


def _plain(value):
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} does not go into JSON")
