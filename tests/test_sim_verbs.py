"""``simulate`` and what it says while it builds: stages, the size of waves, what is refused."""

import io
import re
import time
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from tests.networks import layer, small_network
from xnorloom.cli.parser import build_parser
from xnorloom.errors import UserError
from xnorloom.hw.spec.config import PRESETS
from xnorloom.report import progress
from xnorloom.sim import waves
from xnorloom.sim.errors import SimulationError
from xnorloom.sw.passes.compiler import compile_network
from xnorloom.verbs import running


@pytest.fixture
def image():
    return compile_network(small_network(layer()), PRESETS["tiny"], batch=1)


@pytest.fixture
def pictures():
    return np.zeros((2, 3, 6, 6), dtype=np.uint8), [0, 1]


@pytest.mark.parametrize("terminal", [True, False])
def test_stages_of_one_task_are_shown_on_a_terminal(monkeypatch, terminal):
    said = io.StringIO()
    monkeypatch.setattr(progress, "console", Console(file=said, force_terminal=terminal, width=120))
    with progress.track("build machine") as advance:
        advance(0, "generate Verilog", None)
        advance(3, "compile 3/9", 9)
        time.sleep(0.3)
        advance(1, total=1)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said.getvalue()).replace("\r", "")
    assert ("compile 3/9" in plain) is terminal
    assert re.search(r"^build machine: done in \d+\.\d s$", plain, re.MULTILINE)


def test_waves_that_cannot_fit_are_refused_before_anything_is_built(monkeypatch, tmp_path, image,
                                                                    pictures):
    def refuse(*_arguments, **_options):
        raise AssertionError("must not be built")

    monkeypatch.setattr(running, "open_machine", refuse)
    monkeypatch.setattr(waves.shutil, "disk_usage", lambda _path: SimpleNamespace(
        free=waves.RESERVE_BYTES + 200_000))
    with pytest.raises(SimulationError, match="^Waves must fit on the disk of "):
        running.simulate(image, pictures, waves=tmp_path / "run.vcd")
    with pytest.raises(AssertionError, match="must not be built"):
        running.simulate(image, pictures, waves=tmp_path / "run.vcd", window=(10, 20))


def test_a_window_needs_waves(image, pictures):
    with pytest.raises(UserError, match="^Window of cycles must come with a file for waves$"):
        running.simulate(image, pictures, window=(1, 2))


@pytest.mark.parametrize("text, window", [("0:1", (0, 1)), ("1000:2000", (1000, 2000))])
def test_a_window_is_two_cycles(text, window):
    options = build_parser().parse_args(["simulate", "net.xlm", "--window", text])
    assert options.window == window


@pytest.mark.parametrize("text", ["", "5", "5:", ":5", "5:5", "9:3", "-1:3", "a:b", "1:2:3"])
def test_a_window_that_is_none_is_one_sentence(capsys, text):
    with pytest.raises(SystemExit):
        build_parser().parse_args(["simulate", "net.xlm", f"--window={text}"])
    assert f"must be two cycles, as 1000:2000, not {text!r}" in capsys.readouterr().err
