"""Numeric oracles of the five papers: every array file, every case, every field of it.

A file ``NAME.npz`` holds arrays ``CASE__FIELD`` (or plain ``FIELD`` for a file of one case). What
must hold of a case is said by the function of that name in one of the ``oracle_*`` modules; it
reads the fields, and one that it never read is an error, so nothing is passed over in silence.
``XNORLOOM_ORACLES`` names another folder of the same format.
"""

import os
import re
from pathlib import Path

import numpy as np
import pytest

from tests import oracle_balanced, oracle_gpfq, oracle_lsbq, oracle_pact_sawb, oracle_syq

CHECKS = {**oracle_balanced.CHECKS, **oracle_gpfq.CHECKS, **oracle_lsbq.CHECKS,
          **oracle_pact_sawb.CHECKS, **oracle_syq.CHECKS}

FOLDER = Path(os.environ.get("XNORLOOM_ORACLES", Path(__file__).parent / "oracles"))


class Case(dict):
    """Fields of one case; remembers which were read."""

    def __init__(self, fields):
        super().__init__(fields)
        self.unread = set(fields)

    def __getitem__(self, field):
        self.unread.discard(field)
        return super().__getitem__(field)

    def get(self, field, default=None):
        return self[field] if field in self else default

    def matching(self, pattern):
        """Fields whose whole name matches, as matches of the regular expression."""
        return filter(None, [re.fullmatch(pattern, field) for field in self])

    def ignore(self, *fields):
        """Says that fields are only for information."""
        self.unread.difference_update(fields)


def cases():
    for path in sorted(FOLDER.glob("*.npz")):
        with np.load(path, allow_pickle=False) as file:
            names = sorted({name.partition("__")[0] if "__" in name else "" for name in file.files})
        for name in names:
            yield pytest.param(path, name, id=f"{path.stem}-{name}" if name else path.stem)


@pytest.mark.parametrize("path, name", list(cases()))
def test_oracle(path, name):
    with np.load(path, allow_pickle=False) as file:
        prefix = f"{name}__" if name else ""
        case = Case({key.removeprefix(prefix): file[key] for key in file.files
                     if key.startswith(prefix)})
    assert path.stem in CHECKS, f"no check is written for oracle file {path.name}"
    CHECKS[path.stem](case)
    assert not case.unread, f"fields never compared: {', '.join(sorted(case.unread))}"


def test_the_folder_holds_oracles():
    assert list(cases()), f"{FOLDER} holds no .npz files"
