"""The rules of the project: floors, lint, types, and what a fresh import costs."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent


def run_tool(name, *arguments):
    tool = shutil.which(name, path=str(BIN))
    if tool is None:
        pytest.skip(f"{name} is not installed; pip install {name}")
    done = subprocess.run([tool, *arguments], cwd=ROOT, capture_output=True, text=True,
                          timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_floor_imports_only_what_lies_below_it():
    out = run_tool("lint-imports", "--no-cache")
    kept = re.search(r"Contracts: (\d+) kept, 0 broken", out)
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    assert kept and int(kept[1]) == len(settings["contracts"])


def rooms(folder):
    """Rooms of a floor: folders and files that are packages or modules."""
    names = {path.stem for path in folder.iterdir()
             if path.suffix == ".py" or (path.is_dir() and (path / "__init__.py").is_file())}
    return names - {"__init__", "__main__", "hw", "sw", "sim"}


def imported(room):
    """Modules of ours that a file, or the files of a folder, import, by their full names."""
    for path in [room] if room.is_file() else room.rglob("*.py"):
        package = ("xnorloom", *path.relative_to(ROOT / "xnorloom").parent.parts)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                above = package[:len(package) - node.level + 1] if node.level else ()
                base = ".".join((*above, *([node.module] if node.module else [])))
                yield from (f"{base}.{alias.name}" for alias in node.names)


def test_the_tables_of_rooms_are_the_tree_and_its_contracts():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    floors = {"xnorloom": "Inside the front door: program, studies, verbs, reports",
              "hw": "Rooms of the gateware", "sw": "Rooms of the software"}
    uses = {floor: {*imported(ROOT / "xnorloom" / floor)} for floor in ("hw", "sw", "sim")}
    uses["xnorloom"] = {name for room in rooms(ROOT / "xnorloom")
                        for path in (ROOT / "xnorloom").glob(f"{room}*")
                        for name in imported(path)}
    for floor, title in floors.items():
        table = re.search(rf"\| room of `{floor}` .*\n\| --- .*\n((?:\| .*\n)+)", text)[1]
        rows = [re.fullmatch(r"\| `(\w+)` \| (.+) \| (.+) \|", line).groups()
                for line in table.splitlines()]
        (contract,) = (each for each in contracts["contracts"] if each["name"] == title)
        layers = [{room.strip().removeprefix("xnorloom.") for room in layer.split(":")}
                  - {"__main__"} for layer in contract["layers"]]
        names = [name for name, _what, _known in rows]
        assert set(names) == rooms(ROOT / "xnorloom" / (floor if floor != "xnorloom" else ""))
        for layer in filter(None, layers):
            here, names = names[:len(layer)], names[len(layer):]
            assert set(here) == layer, f"rooms of {floor} beside {here}"
        for name, _what, known in rows:
            whole = f"xnorloom.{name}" if floor == "xnorloom" else f"xnorloom.{floor}.{name}"
            outside = {other for other, names in uses.items() if other != floor and any(
                each == whole or each.startswith(f"{whole}.") for each in names)}
            assert outside <= set(re.findall(r"`(\w+)`", known)), whole


def test_ruff_finds_nothing():
    run_tool("ruff", "check", "--no-cache", ".")


def test_types_hold():
    run_tool("mypy")


@pytest.mark.parametrize("path", sorted((ROOT / "xnorloom/hw/spec").rglob("*.py")),
                         ids=lambda path: path.name)
def test_the_ground_floor_imports_the_standard_library_and_itself_only(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level <= 1, f"{path.name} reaches above hw.spec"
            names = [node.module] if node.level == 0 else []
        else:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for name in names:
            ours = name.startswith("xnorloom.hw.spec")
            assert ours or name.split(".")[0] in sys.stdlib_module_names, name


def test_every_locked_version_is_one_that_pyproject_allows():
    from packaging.requirements import Requirement

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {}
    for line in project["dependencies"] + sum(project["optional-dependencies"].values(), []):
        requirement = Requirement(line)
        wanted[requirement.name] = requirement.specifier
    del wanted["xnorloom"]
    locked = {}
    for line in (ROOT / "requirements.lock").read_text().splitlines():
        if line and not line.startswith("#"):
            requirement = Requirement(line)
            (pin,) = requirement.specifier
            assert pin.operator == "=="
            locked[requirement.name] = pin.version
    assert set(wanted) <= set(locked)
    for name, specifier in wanted.items():
        assert specifier.contains(locked[name]), f"{name} {locked[name]} is not {specifier}"


def test_every_dependency_says_why():
    lines = (ROOT / "pyproject.toml").read_text().splitlines()
    start = lines.index("dependencies = [")
    end = lines.index("[project.scripts]")
    for number in range(start, end):
        entry = lines[number].strip()
        if entry.startswith('"') and not entry.startswith('"xnorloom['):
            above = lines[number - 1].strip()
            assert above.startswith(("#", '"')), f"{entry} lacks a comment"


def test_nothing_committed_names_a_place_of_one_machine():
    done = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard"],
                          cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("not a git checkout")
    needle = re.compile("/(?:home|root|tmp|" + "work)/[a-z.]|"
                        "https?://[^ ]*(?:sim" + "ple|py" + "pi)/")
    for name in done.stdout.splitlines():
        path = ROOT / name
        if path.suffix in {".py", ".toml", ".md", ".lock", ".v", ".vlt", ".json", ""} \
                and path.is_file():
            found = needle.search(path.read_text(encoding="utf-8"))
            assert found is None, f"{name}: {found[0]}"


def test_importing_the_front_door_is_quick_and_brings_nothing_heavy():
    code = ("import sys, time; start = time.perf_counter(); import xnorloom; "
            "seconds = time.perf_counter() - start; "
            "heavy = {'torch', 'numpy', 'amaranth', 'cocotb', 'matplotlib', 'sklearn', 'rich'}; "
            "print(seconds, *(heavy & set(sys.modules)))")
    seconds = []
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True,
                              text=True, check=True)
        measured, *heavy = done.stdout.split()
        assert not heavy
        seconds.append(float(measured))
    assert min(seconds) < 0.3


def test_every_name_of_the_front_door_is_there():
    import xnorloom

    for name in xnorloom.__all__:
        assert getattr(xnorloom, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'trian'"):
        _ = xnorloom.trian
