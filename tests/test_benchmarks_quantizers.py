"""The benchmark of the quantizers times what gives the same results."""

import dataclasses
import json

import numpy as np
import pytest

pytest.importorskip("torch")

from benchmarks import quantizers


def small_cases():
    return list(quantizers.cases(sizes=(50, 301), rows=(4, 60), layers=((3, 70), (2, 3000)),
                                 balanced_size=999, layer_size=5000, sawb_size=900,
                                 gpfq_shape=(5, 40, 23)))


@pytest.mark.parametrize("case", small_cases(), ids=lambda case: case.title)
def test_ours_and_plain_give_the_same(case):
    seconds = quantizers.measure(case, repeats=1)
    assert seconds["ours"] > 0 and seconds["plain"] > 0
    assert ("sort" in seconds) == case.title.startswith(("ls2", "ternary"))
    assert np.size(case.ours()) == np.size(case.plain()) > 0


def test_a_different_result_ends_the_benchmark():
    case = dataclasses.replace(small_cases()[0], plain=lambda: np.array([[1.0], [0.5]]))
    with pytest.raises(SystemExit, match="results must be the same"):
        quantizers.measure(case, repeats=1)


def test_plain_scans_by_hand():
    rows = np.array([[1.0, -1.0, 3.0, 3.0], [0.0, 0.0, -5.0, 5.0]])
    assert quantizers.plain_two_planes(rows).tolist() == [[2.0, 2.5], [1.0, 2.5]]
    assert quantizers.plain_ternary(rows[1:]).tolist() == [[2.5], [2.5]]
    assert quantizers.plain_balanced(np.array([0.0, 1.0, 2.0, 3.0]), 1).tolist() == [0, 0, 0, 1]


def test_figures_are_written(tmp_path, monkeypatch, capsys):
    cases = small_cases()
    monkeypatch.setattr(quantizers, "cases", lambda: cases)
    for name, value in quantizers.ONE_THREAD.items():
        monkeypatch.setenv(name, value)
    path = tmp_path / "figures.json"
    monkeypatch.setattr("sys.argv", ["quantizers", "--json", str(path), "--only", "GPFQ,balanced",
                                     "--repeats", "1"])
    quantizers.main()
    titles = [row["title"] for row in json.loads(path.read_text())["seconds"]]
    assert len(titles) == 7 and titles[-1] == "GPFQ, 5 neurons, 40 inputs, 23 samples"
    shown = capsys.readouterr().out
    assert all(title in shown for title in titles)
