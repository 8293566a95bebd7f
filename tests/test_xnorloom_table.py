"""The table of all schemes: what is kept, what is done again, what is shown."""

import json
import shutil
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from tests.stand_in import StandIn
from xnorloom import cli
from xnorloom.errors import UserError
from xnorloom.hw.spec.config import load_machine
from xnorloom.report.summary import STAGES, summary
from xnorloom.study import (
    experiments,
    quantization_error,
    runs,
    sources,
    workers,
)
from xnorloom.study import (
    page as results_page,
)
from xnorloom.study import (
    table as results,
)
from xnorloom.study.gpfq_error import gpfq_error
from xnorloom.verbs import running

torch = pytest.importorskip("torch")
pytest.importorskip("matplotlib")

SCHEMES = ("lsbq-w1a2", "pact-sawb-w2a2")


@pytest.fixture(scope="module")
def parts():
    """The experiments of a report, with fewer points."""
    return json.loads(json.dumps({
        "quantization_error": quantization_error.error_table(20_000),
        "curves": quantization_error.error_curves(2_000), "sawb": experiments._sawb(),
        "gpfq": gpfq_error(inputs=(64, 128, 256, 512), samples=16)}))


@pytest.fixture
def machine(monkeypatch, parts):
    """Puts stand-ins in place of the simulator and the experiments; lists the machines opened."""
    opened = []

    def open_machine(config, **_options):
        opened.append(StandIn(config))
        return opened[-1]

    monkeypatch.setattr(running, "open_machine", open_machine)
    monkeypatch.setattr(experiments, "experiments", lambda folder, verbose: parts)
    return opened


@pytest.fixture(scope="module")
def finished(tmp_path_factory, parts):
    """Folder and report of a finished table."""
    folder = tmp_path_factory.mktemp("table")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running, "open_machine", lambda config, **_options: StandIn(config))
        patch.setattr(experiments, "experiments", lambda folder, verbose: parts)
        return folder, make(folder)


def make(folder, **options):
    return results.table(**{"schemes": SCHEMES, "seeds": (1, 2), "epochs": 1, "count": 8,
                            "folder": folder} | options)


@pytest.fixture
def trainings(monkeypatch):
    """Lists what is trained."""
    from xnorloom.sw.training import train

    done, honest = [], train.train

    def spy(net, scheme, *arguments, recipe, **options):
        done.append((scheme, recipe.seed))
        return honest(net, scheme, *arguments, recipe=recipe, **options)

    monkeypatch.setattr(train, "train", spy)
    return done


def without_times(report):
    """The runs of a report, but for the seconds they took."""
    return [{**run, "training_seconds": None} for scheme in report["schemes"]
            for run in scheme["runs"]]


def copy_of(finished, tmp_path):
    shutil.copytree(finished[0], tmp_path / "copy")
    return tmp_path / "copy"


def test_a_report_holds_every_run_and_what_it_costs(finished):
    folder, report = finished
    assert report == json.loads((folder / "report.json").read_text())
    assert [scheme["name"] for scheme in report["schemes"]] == ["pact-sawb-w2a2", "lsbq-w1a2"]
    sawb, lsbq = report["schemes"]
    assert (lsbq["paper"], lsbq["arxiv"]) == ("LSBQ", "2001.02786")
    assert (lsbq["weight_bits"], lsbq["activation_bits"], lsbq["weight_planes"]) == (1, 2, 1)
    assert (sawb["weight_bits"], sawb["weight_planes"]) == (2, 2)
    assert sawb["image_bytes"] > lsbq["image_bytes"] > 4 * 1024
    for scheme in report["schemes"]:
        assert [run["seed"] for run in scheme["runs"]] == [1, 2]
        for run in scheme["runs"]:
            assert run["images"] == 8 and run["cycles"]["measured"] > 1000
            assert run["accuracy"]["hardware"] == run["accuracy"]["snapped"]
        assert summary(scheme)["mismatches"] == 0


def test_a_finished_table_is_neither_trained_nor_simulated_again(finished, machine, trainings):
    folder, report = finished
    assert make(folder) == report
    assert not trainings and not machine


def test_the_float_network_of_a_seed_teaches_all_schemes(machine, trainings, tmp_path):
    make(tmp_path, seeds=(3,))
    assert trainings == [(None, 3), ("lsbq-w1a2", 3), ("pact-sawb-w2a2", 3)]
    assert len(machine) == 1, "one machine for all"


def test_an_interrupted_table_goes_on_where_it_was(machine, trainings, tmp_path, monkeypatch):
    def interrupted(_config, **_options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(running, "open_machine", interrupted)
        make(tmp_path, seeds=(1,))
    assert trainings == [(None, 1), ("lsbq-w1a2", 1)]
    assert not (tmp_path / "report.json").exists()
    assert not list(tmp_path.glob("cache/.making-*"))
    make(tmp_path, seeds=(1,))
    assert trainings[2:] == [("pact-sawb-w2a2", 1)]


@pytest.mark.parametrize("name, again", [("run.json", 0), ("net.pt", 1)])
def test_a_damaged_file_is_made_again_and_the_same(finished, machine, trainings, tmp_path, name,
                                                   again):
    folder = copy_of(finished, tmp_path)
    for entry in folder.glob("cache/lsbq-w1a2-seed1-*"):
        if (entry / "run.json").exists():
            (entry / "run.json").write_text("{}")
        elif name == "net.pt":
            data = bytearray((entry / "net.pt").read_bytes())
            data[len(data) // 2] ^= 1
            (entry / "net.pt").write_bytes(data)
    report = make(folder)
    assert trainings == [("lsbq-w1a2", 1)] * again and len(machine) == 1
    assert without_times(report) == without_times(finished[1])


@pytest.mark.parametrize("change, trained", [({"machine": "wide"}, 0), ({"count": 4}, 0),
                                             ({"epochs": 2}, 2), ({"seeds": (4,)}, 2)])
def test_what_a_change_touches_is_done_again(finished, machine, trainings, tmp_path, change,
                                             trained):
    make(copy_of(finished, tmp_path), **{"schemes": SCHEMES[:1], "seeds": (1,)} | change)
    assert len(trainings) == trained and len(machine) == 1


def test_side_by_side_gives_the_same(finished, machine, trainings, tmp_path):
    assert make(copy_of(finished, tmp_path), jobs=2) == finished[1]


def test_what_fails_in_another_process_is_told(tmp_path):
    setting = runs.Setting(tmp_path, "cnm", "digits", load_machine("default"),
                           runs.code_digests(SCHEMES), 1, 8)
    with pytest.raises(UserError, match="^Net must be a registered name, not 'cnm'"):
        workers.work_off(setting, [(name, 1) for name in SCHEMES], 2, None, lambda _note: None)


def test_a_mismatch_ends_in_1(monkeypatch, machine, tmp_path, capsys):
    monkeypatch.setattr(running, "open_machine",
                        lambda config, **_options: StandIn(config, flip=True))
    arguments = ["table", "--schemes", "lsbq-w1a2", "--seeds", "1", "--epochs", "1", "--count", "8",
                 "--folder", str(tmp_path)]
    assert cli.main(arguments) == 1
    assert "in all runs: 1 mismatches" in capsys.readouterr().out


@pytest.mark.parametrize("options, message", [
    ({"schemes": ["lsbq-w1a3"]}, "^Scheme must be a known name, not 'lsbq-w1a3'; did you mean"),
    ({"schemes": []}, r"^Schemes must be given, each once, not \[\]"),
    ({"seeds": (1, 1)}, r"^Seeds must be given, each once, not \[1, 1\]"),
    ({"jobs": 0}, "^Jobs must be a positive integer, not 0"),
    ({"net": "resnt"}, "^Net must be a known name, not 'resnt'; did you mean 'resnet'"),
    ({"seeds": (1, -1)}, "^Training option 'seed' must be an integer from 0 to "),
    ({"epochs": 0}, "^Training option 'epochs' must be a positive integer, not 0"),
    ({"count": 361}, "^Count must be from 1 to the 360 images there are, not 361"),
])
def test_a_wrong_option_is_named(machine, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        make(tmp_path / "new", **options)
    assert not list(tmp_path.iterdir())


# The page

def test_the_page_and_its_pictures_are_drawn_from_the_report(finished, machine, tmp_path):
    output = tmp_path / "docs"
    report = make(copy_of(finished, tmp_path), output=output)
    assert {path.name for path in output.iterdir()} == {
        "results.md", "results.json", "accuracy-cycles.svg", "error-bits.svg", "gpfq-error.svg"}
    assert json.loads((output / "results.json").read_text()) == report
    text = (output / "results.md").read_text()
    for scheme in report["schemes"]:
        said = summary(scheme)
        row = next(line for line in text.splitlines() if line.startswith(f"| `{scheme['name']}`"))
        assert f"| {scheme['image_bytes']:,} | {said['cycles']:,.0f} |" in row
        assert f"{100 * said['accuracy']['hardware']['median']:.1f}" in row
    assert "the median of seeds 1 and 2," in text and "**0 differ**" in text
    first = {path: path.read_bytes() for path in output.glob("*.svg")}
    for data in first.values():
        root = ElementTree.fromstring(data)
        assert root.find("{http://www.w3.org/2000/svg}title").text
        assert len(data) > 10_000
    results_page_again = results_page.page(json.loads((output / "results.json").read_text()))
    assert results_page_again == text
    make(tmp_path / "copy", output=output)
    assert {path: path.read_bytes() for path in output.glob("*.svg")} == first


def test_a_median_has_its_range_and_an_unknown_accuracy_none():
    runs = [{"accuracy": dict.fromkeys(STAGES, value) | {"float": None},
             "mismatches": {"torch_vs_reference": 1, "reference_vs_rtl": 2},
             "cycles": {"predicted": 10, "measured": measured}, "utilization": 0.5,
             "mispredicted_layers": 4} for value, measured in ((0.9, 11), (0.7, 10), (1.0, 10))]
    said = summary({"runs": runs})
    assert said["accuracy"]["hardware"] == {"median": 0.9, "low": 0.7, "high": 1.0}
    assert said["accuracy"]["float"] is None
    assert said["mismatches"] == 3 * (1 + 2 + 4) + 1 and said["cycles"] == 10


# The experiments

def test_our_quantizers_leave_the_error_that_theory_knows():
    table = quantization_error.error_table(200_000)["table"]
    for density, row in table.items():
        for name, cell in row.items():
            assert cell["computed"] == pytest.approx(cell["reference"], abs=1.2e-4), (density, name)


def test_no_quantizer_is_better_than_lloyd_and_max(parts):
    for curves in parts["curves"].values():
        best = dict(map(tuple, curves["Lloyd-Max"]))
        for name, curve in curves.items():
            for bits, error in curve:
                if bits in best:
                    assert error >= best[bits] * (1 - 1e-5), name
        assert list(best.values()) == sorted(best.values(), reverse=True)
        (two_bits,) = curves["LS2"]
        assert two_bits[1] == pytest.approx(best[2], rel=1e-3)


def test_lloyd_and_max_on_points_by_hand():
    assert quantization_error.lloyd_max(np.array([-3.0, -1.0, 1.0, 3.0]), 2) == 1.0
    assert quantization_error.lloyd_max(np.array([-3.0, -1.0, 1.0, 3.0]), 4) == 0.0


def test_the_error_of_gpfq_falls_like_one_over_n():
    for series in gpfq_error(inputs=(128, 256, 512, 1024), samples=32)["series"]:
        assert -1.1 < series["slope"] < -0.9
        assert 0.75 < series["ratio"][0] <= series["ratio"][1] < 1.25


def test_experiments_are_kept(tmp_path, monkeypatch):
    for name in ("_table", "_curves", "_sawb", "_gpfq"):
        monkeypatch.setattr(experiments, name, lambda name=name: name)
    first = experiments.experiments(tmp_path)
    assert first == {"quantization_error": "_table", "curves": "_curves", "sawb": "_sawb",
                     "gpfq": "_gpfq"}
    monkeypatch.setattr(experiments, "_table", None)
    assert experiments.experiments(tmp_path) == first


# Which code a result depends on

def test_code_counts_and_what_is_said_of_it_does_not(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "_ROOT", tmp_path)
    package = tmp_path / "xnorloom" / "sw"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "one.py").write_text('"""One."""\nfrom . import two\nimport numpy\n')
    (package / "two.py").write_text("def f():\n    from .deep.three import g\n    return g\n")
    (package / "deep").mkdir()
    (package / "deep" / "three.py").write_text("def g():\n    return 3\n")
    (package / "other.py").write_text("x = 1\n")
    assert [path.name for path in sources.source_files("xnorloom.sw.one")] == [
        "__init__.py", "three.py", "one.py", "two.py"]
    digest = sources.digest.__wrapped__
    first = digest("xnorloom.sw.one")
    (package / "deep" / "three.py").write_text('def g():\n    """Three."""\n    return 3  # why\n')
    (package / "other.py").write_text("x = 2\n")
    assert digest("xnorloom.sw.one") == first
    (package / "deep" / "three.py").write_text("def g():\n    return 4\n")
    assert digest("xnorloom.sw.one") != first
