"""Output that nobody reads, or that cannot be written: no traceback, and an exit code that says
so."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.networks import small_network
from xnorloom import leaving
from xnorloom.hw.spec.config import PRESETS
from xnorloom.sw.passes.compiler import compile_network

ROOT = Path(__file__).resolve().parent.parent
UNHEARD = 141


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    path = tmp_path_factory.mktemp("leaving") / "net.xlm"
    compile_network(small_network(), PRESETS["small"]).save(path)
    return path


def start(*arguments, buffered, **streams):
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    environment |= {} if buffered else {"PYTHONUNBUFFERED": "1"}
    return subprocess.Popen([sys.executable, *map(str, arguments)], cwd=ROOT, text=True,
                            env=environment, **streams)


def with_nobody_reading(*arguments, buffered, stream="stdout"):
    """Exit code, and what is written to the other stream."""
    reading, writing = os.pipe()
    os.close(reading)
    other = "stderr" if stream == "stdout" else "stdout"
    with start(*arguments, buffered=buffered,
               **{stream: writing, other: subprocess.PIPE}) as process:
        os.close(writing)
        said = process.communicate(timeout=60)[0 if other == "stdout" else 1]
    return process.returncode, said


@pytest.mark.parametrize("buffered", [True, False])
@pytest.mark.parametrize("command", ["inspect", "estimate", "--version"])
def test_a_closed_pipe_is_no_error(image, command, buffered):
    arguments = [command] if command.startswith("-") else [command, image]
    assert with_nobody_reading("-m", "xnorloom", *arguments, buffered=buffered) == (UNHEARD, "")


def test_help_that_nobody_reads():
    assert with_nobody_reading("-m", "xnorloom", "--help", buffered=True) == (UNHEARD, "")
    assert with_nobody_reading("-m", "xnorloom.demo", "--help", buffered=True) == (UNHEARD, "")


@pytest.mark.parametrize("buffered", [True, False])
def test_an_error_that_nobody_reads(buffered):
    assert with_nobody_reading("-m", "xnorloom", "inspect", "absent", buffered=buffered,
                               stream="stderr") == (UNHEARD, "")


def test_a_reader_that_stops_early_gets_its_line(image):
    with start("-m", "xnorloom", "inspect", image, buffered=False, stdout=subprocess.PIPE,
               stderr=subprocess.PIPE) as process:
        assert process.stdout.readline() == "image of small\n"
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode in (0, UNHEARD), "all may have been written before it stopped"


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["inspect"]])
def test_a_full_disk_is_one_sentence(image, arguments):
    arguments = [*arguments, image] if arguments == ["inspect"] else arguments
    with (Path("/dev/full").open("w") as full,
          start("-m", "xnorloom", *arguments, buffered=True, stdout=full,
                stderr=subprocess.PIPE) as process):
        said = process.communicate(timeout=60)[1]
    assert process.returncode == 2 and said.count("\n") == 1
    assert said.endswith(": The system refused: No space left on device\n")


def test_a_broken_pipe_to_another_process_is_a_fault_of_ours():
    code = """if True:
        from xnorloom import leaving
        def work():
            raise BrokenPipeError
        leaving.heard(lambda: leaving.guarded(work, name="x"), name="x")"""
    with start("-c", code, buffered=True, stdout=subprocess.PIPE,
               stderr=subprocess.PIPE) as process:
        assert process.communicate(timeout=60)[1].endswith("BrokenPipeError\n")
    assert process.returncode == 1


def test_what_ends_well_is_left_alone(capsys):
    assert leaving.heard(lambda: 1, name="x") == 1
    with pytest.raises(SystemExit) as caught:
        leaving.heard(sys.exit, 3, name="x")
    assert caught.value.code == 3
