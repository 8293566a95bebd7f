"""What a table shows besides networks: errors of the quantizers themselves, without training."""

import json
from dataclasses import asdict

from ..output import write_json
from ..report.progress import track
from .sources import digest

__all__ = ["experiments"]


def experiments(folder, *, verbose=False):
    """Parts of a table's report, kept in a folder as long as the code they came from is the same.

    Returns
    -------
    dict
        ``quantization_error`` (:func:`~xnorloom.study.quantization_error.error_table`), ``curves``
        (:func:`~xnorloom.study.quantization_error.error_curves`), ``sawb`` (rows of
        :func:`sw.quantizers.sawb_fit.coefficient_table`) and ``gpfq``
        (:func:`~xnorloom.study.gpfq_error.gpfq_error`).
    """
    from xnorloom.sim.cache import BuildCache

    def make(place):
        with track("errors on ideal densities", shown=verbose):
            write_json(place / "experiments.json", {
                "quantization_error": _table(), "curves": _curves(), "sawb": _sawb(),
                "gpfq": _gpfq()})

    cache = BuildCache(folder)
    key = cache.key(digest("xnorloom.study.experiments"))
    path = cache.get(f"experiments-{key}", make) / "experiments.json"
    return json.loads(path.read_text(encoding="utf-8"))


def _table():
    from .quantization_error import error_table

    return error_table()


def _curves():
    from .quantization_error import error_curves

    return error_curves()


def _sawb():
    from xnorloom.sw.quantizers.sawb_fit import coefficient_table

    return [asdict(row) for row in coefficient_table()]


def _gpfq():
    from .gpfq_error import gpfq_error

    return gpfq_error()
