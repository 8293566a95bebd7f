"""The program: exit codes, one-sentence errors, files that are whole or absent."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.interrupts import heed_interrupts
from xnorloom import cli, leaving, output
from xnorloom.errors import UserError, check_choice, sentence
from xnorloom.report import environment

ROOT = Path(__file__).resolve().parent.parent


def refusal(capsys, *arguments):
    """Runs a command that must be refused; gives the sentence it prints."""
    try:
        code = cli.main([str(argument) for argument in arguments])
    except SystemExit as leaving:
        code = leaving.code
    captured = capsys.readouterr()
    assert code == 2, captured
    assert captured.err.count("\n") == 1 and "Traceback" not in captured.err
    return captured.err.strip()


@pytest.mark.parametrize("arguments, expected", [
    (["tarin"], "xnorloom: Command must be a known name, not 'tarin'; did you mean 'train'?"),
    (["compare", "x.pt", "--engine", "verilatr"], "did you mean 'verilator'?"),
    (["compare", "x.pt", "--count", "0"], "--count: must be a positive integer, not '0'"),
    (["compare"], "the following arguments are required: NET.pt"),
    (["synth", "--target", "ecp6"], "did you mean 'ecp5'?"),
    (["estimate", "x.xlm", "--jsn", "y"], "unrecognized arguments: --jsn y"),
])
def test_a_wrong_argument_gets_one_sentence(capsys, arguments, expected):
    assert expected in refusal(capsys, *arguments)


@pytest.mark.parametrize("command", [["compile", "-o", "out.xlm"], ["compare"], ["simulate"],
                                     ["estimate"], ["inspect"]])
def test_an_absent_file_is_named(capsys, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    text = refusal(capsys, command[0], "absent.pt", *command[1:])
    assert re.search(r"(Checkpoint|Image) 'absent\.pt' does not exist$", text)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["compare", "estimate", "inspect", "simulate"])
def test_a_file_that_is_not_ours_is_refused(capsys, tmp_path, command):
    path = tmp_path / "junk"
    path.write_bytes(bytes(range(256)) * 8)
    refusal(capsys, command, path)


@pytest.mark.parametrize("machine, expected", [
    ("defualt", "did you mean 'default'?"),
    ("absent.toml", "'absent.toml' cannot be read"),
    ("bad.toml", "Machine has no field 'row', did you mean 'rows'?"),
    ("odd.toml", "'units' must divide rows (4), not 3"),
    ("notoml.toml", "is not TOML"),
])
def test_a_wrong_machine_is_refused_by_name(capsys, tmp_path, monkeypatch, machine, expected):
    monkeypatch.chdir(tmp_path)
    Path("bad.toml").write_text("row = 8\ncols = 8\nlanes = 64\n")
    Path("odd.toml").write_text("preset = 'default'\nunits = 3\n")
    Path("notoml.toml").write_text("rows = = 8\n")
    assert expected in refusal(capsys, "verilog", "--machine", machine, "-o", "top.v")
    assert not Path("top.v").exists()


@pytest.mark.parametrize("words", [
    ["compile", "FILE", "-o", "FILE"], ["compile", "FILE", "-o", "LINK"],
    ["verilog", "--machine", "MACHINE.toml", "-o", "MACHINE.toml"],
    ["compare", "FILE", "--json", "FILE"], ["estimate", "FILE", "--json", "LINK"],
    ["inspect", "FILE", "--json", "FILE"]])
def test_what_is_read_is_not_written_over(capsys, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    Path("FILE").write_bytes(b"dear")
    Path("LINK").symlink_to("FILE")
    Path("MACHINE.toml").write_text('preset = "tiny"')
    assert cli.main(words) == 2
    assert "must not be a file that is read for it" in capsys.readouterr().err
    assert Path("FILE").read_bytes() == b"dear"
    assert Path("MACHINE.toml").read_text() == 'preset = "tiny"'


def test_an_output_that_cannot_be_written_is_refused_before_the_work(capsys, tmp_path):
    (tmp_path / "file").write_text("x")
    text = refusal(capsys, "verilog", "-o", tmp_path / "file" / "top.v")
    assert "cannot be written" in text
    text = refusal(capsys, "train", "-o", tmp_path / "file" / "net.pt")
    assert "cannot be written" in text
    assert "must be a file, not a folder" in refusal(capsys, "verilog", "-o", tmp_path)


def test_placement_starts_where_the_user_says(monkeypatch):
    import xnorloom
    from xnorloom.hw.flow import route

    monkeypatch.setattr(route, "route", lambda _config, *, seed, progress: seed)
    assert xnorloom.route(seed=7) == 7
    assert xnorloom.route() == route.SEED


@pytest.fixture
def no_work(monkeypatch):
    """Whatever takes long must not begin."""
    from xnorloom.hw.flow import route, synth, verilog
    from xnorloom.sim import transport
    from xnorloom.sw.training import fit, train

    def begun(*_arguments, **_options):
        raise ZeroDivisionError("work has begun")

    for module, name in ((route, "route"), (synth, "synthesize"), (verilog, "emit"),
                         (train, "fit"), (fit, "fit"), (transport, "RtlTransport")):
        monkeypatch.setattr(module, name, begun)


@pytest.mark.parametrize("arguments, expected", [
    (["synth", "--json", "."], "Result '.' must be a file, not a folder"),
    (["synth", "--json", ""], "Result must have a name, not ''"),
    (["route", "--seed", "-1"], "must be an integer from 0 to"),
    (["route", "--json", "."], "Result '.' must be a file, not a folder"),
    (["route", "--json", "new/pipe/x"], "Result 'new/pipe/x' cannot be written: Not a directory"),
    (["estimate", "net.xlm", "--json", "/dev/null"], "must be a file, not a device"),
    (["inspect", "net.xlm", "--json", ""], "Result must have a name, not ''"),
    (["simulate", "net.xlm", "--json", "pipe"], "Result 'pipe' must be a file, not a pipe"),
    (["simulate", "net.xlm", "--count", "361"], "Count must be from 1 to the 360 images there are"),
    (["simulate", "net.xlm", "--data", "mnist:"], "Data set 'mnist' must be given with its folder"),
    (["simulate", "net.xlm", "--waves", ""], "Waves must have a name, not ''"),
    (["compare", "net.xlm", "--count", "9" * 30], "Count must be from 1 to the 360 images there"),
    (["verilog", "-o", ""], "Verilog must have a name, not ''"),
    (["compile", "net.xlm", "-o", "new/net.xlm", "--dump-passes", ""],
     "Folder 'dump' must have a name, not ''"),
    (["compile", "net.xlm", "-o", "new/net.xlm", "--dump-passes", "pipe"],
     "Folder 'dump' 'pipe' must be a folder"),
    (["compile", "net.xlm", "-o", "new/net.xlm", "--dump-passes", "new/pipe/x"],
     "Folder 'dump' 'new/pipe/x' cannot be written: Not a directory"),
    (["verilog", "-o", "pipe"], "Verilog 'pipe' must be a file, not a pipe"),
    (["verilog", "-o", "new/top.v", "--machine", "small.toml"], "'small.toml' cannot be read"),
    (["train", "-o", ""], "Checkpoint must have a name, not ''"),
    (["train", "-o", "/dev/stdout"], "Checkpoint '/dev/stdout' must be a file, not a"),
    (["train", "-o", "new/net.pt", "--net", "nn"], "Net must be a registered name, not 'nn'"),
    (["train", "-o", "new/net.pt", "--seed", "-1"], "must be an integer from 0 to"),
    (["train", "-o", "new/net.pt", "--seed", "9" * 5000], "must be an integer from 0 to"),
    (["train", "-o", "new/net.pt", "--epochs", "0"], "must be a positive integer, not '0'"),
    (["train", "-o", "new/net.pt", "--augment", "shft"], "did you mean 'shift'?"),
    (["table", "--seeds", "1,-1"], "must be an integer from 0 to"),
    (["table", "--seeds", "1,1"], "Seeds must be given, each once"),
    (["table", "--folder", "new", "--net", "nn"], "Net must be a known name, not 'nn'"),
    (["table", "--folder", "new", "--data", "words"], "Data set must be a known name"),
    (["table", "--folder", "new", "--count", "361"], "Count must be from 1 to the 360 images"),
    (["table", "--folder", ""], "Folder 'folder' must have a name, not ''"),
    (["table", "--folder", "new", "--output", ""], "Folder 'output' must have a name, not ''"),
    (["table", "--folder", "pipe"], "Report 'pipe/report.json' cannot be written: Not a directory"),
])
def test_nonsense_is_refused_before_the_work_and_leaves_nothing(capsys, tmp_path, monkeypatch,
                                                                no_work, arguments, expected):
    from tests.networks import small_network
    from xnorloom.hw.spec.config import PRESETS
    from xnorloom.sw.passes.compiler import compile_network

    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    compile_network(small_network(), PRESETS["small"]).save("net.xlm")
    arguments = [each.replace("new/pipe", "net.xlm") for each in arguments]
    assert expected.replace("new/pipe", "net.xlm") in refusal(capsys, *arguments)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.xlm", "pipe"]


@pytest.mark.parametrize("command", ["inspect", "estimate"])
def test_a_result_goes_through_a_link_into_a_folder_of_its_own(tmp_path, command):
    from tests.networks import small_network
    from xnorloom.hw.spec.config import PRESETS
    from xnorloom.sw.passes.compiler import compile_network

    compile_network(small_network(), PRESETS["small"]).save(tmp_path / "net.xlm")
    (tmp_path / "link.json").symlink_to("far/away/result.json")
    assert cli.main([command, str(tmp_path / "net.xlm"), "--json",
                     str(tmp_path / "link.json")]) == 0
    assert (tmp_path / "link.json").is_symlink()
    assert json.loads((tmp_path / "far" / "away" / "result.json").read_text())


@pytest.mark.parametrize("flag, value, expected", [
    ("--scheme", "lsbq-w1a22", "did you mean 'lsbq-w1a2'?"),
    ("--net", "resnt", "did you mean 'resnet'?"),
    ("--data", "digit", "did you mean 'digits'?"),
])
def test_an_unknown_scheme_net_or_data_set_gets_a_suggestion(capsys, tmp_path, flag, value,
                                                             expected):
    text = refusal(capsys, "train", flag, value, "-o", tmp_path / "net.pt")
    assert expected.replace("'", '"') in text.replace("'", '"')
    assert not list(tmp_path.iterdir())


def test_train_s_help_lists_what_is_registered(capsys):
    from xnorloom.sw.quantizers import SCHEMES
    from xnorloom.sw.training.nets import NETS

    with pytest.raises(SystemExit):
        cli.main(["train", "--help"])
    shown = capsys.readouterr().out.split()
    assert {f"{name}," for name in list(NETS)[:-1]} <= set(shown)
    assert {f"{name}," for name in sorted(SCHEMES)[:-1]} <= set(shown)


@pytest.mark.parametrize("data, expected", [
    ("mnist:absent", "Data set 'mnist:absent' must have folder 'absent', which does not exist"),
    ("cifar10", "Data set 'cifar10' must be given with its folder, as 'cifar10:PATH'")])
def test_data_that_is_not_there_is_named(capsys, tmp_path, monkeypatch, data, expected):
    monkeypatch.chdir(tmp_path)
    assert expected in refusal(capsys, "train", "--data", data, "-o", "net.pt")
    assert not list(tmp_path.iterdir())


def test_a_net_trained_on_files_needs_them_no_more(capsys, tmp_path):
    folder, checkpoint = tmp_path / "mnist", tmp_path / "net.pt"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for part, count in (("train", 40), ("t10k", 8)):
        for name, shape in (("images-idx3", (count, 6, 5)), ("labels-idx1", (count,))):
            header = np.array([0x800 + len(shape), *shape], dtype=">u4").tobytes()
            values = rng.integers(0, 10, shape).astype(np.uint8).tobytes()
            (folder / f"{part}-{name}-ubyte").write_bytes(header + values)
    assert cli.main(["train", "--data", f"mnist:{folder}", "--net", "mlp", "--scheme", "lsbq-w1a2",
                     "--epochs", "1", "-o", str(checkpoint)]) == 0
    shutil.rmtree(folder)
    assert cli.main(["compile", str(checkpoint), "-o", str(tmp_path / "net.xlm")]) == 0
    assert cli.main(["inspect", str(tmp_path / "net.xlm")]) == 0
    text = refusal(capsys, "simulate", tmp_path / "net.xlm", "--data", f"mnist:{folder}")
    assert "must have folder" in text


def test_activations_that_the_machine_has_no_multiplication_for_are_refused(capsys, tmp_path):
    from xnorloom.sw.quantizers.sawb import PactSawbConfig
    from xnorloom.sw.training import checkpoint, nets

    scheme, machine = PactSawbConfig(activation_bits=6), tmp_path / "plain.toml"
    machine.write_text("preset = 'default'\nrescale = false\n")
    checkpoint.save(tmp_path / "net.pt", nets.build("cnn", scheme),
                    {"net": "cnn", "scheme": scheme, "data": "digits"})
    text = refusal(capsys, "compile", tmp_path / "net.pt", "--machine", machine, "-o",
                   tmp_path / "net.xlm")
    assert text == ("xnorloom compile: Layer 'conv1' re-quantization must be by thresholds on a "
                    "machine without rescale, not 'by multiplication'")
    assert not (tmp_path / "net.xlm").exists()


@pytest.mark.parametrize("command", ["inspect", "estimate", "simulate"])
def test_an_image_of_format_1_is_refused_with_advice(capsys, tmp_path, command):
    path = tmp_path / "net.xlm"
    path.write_bytes(b"\x89XLM" + (1).to_bytes(4, "little") + bytes(64))
    text = refusal(capsys, command, path)
    assert text == (f"xnorloom {command}: Image must be of format version 2, not 1: compile the "
                    "network again with this version")


@pytest.mark.parametrize("command", [["compile", "-o", "net.xlm"], ["compare"]])
def test_a_checkpoint_of_format_1_is_refused_with_advice(capsys, tmp_path, monkeypatch, command):
    import torch

    monkeypatch.chdir(tmp_path)
    torch.save({"format": "xnorloom-checkpoint", "version": 1, "info": {}, "state": {}}, "net.pt")
    text = refusal(capsys, command[0], "net.pt", *command[1:])
    assert text == (f"xnorloom {command[0]}: Checkpoint 'net.pt' must be of version 2 or 3, not 1: "
                    "train the network again with this version")
    assert [path.name for path in tmp_path.iterdir()] == ["net.pt"]


def test_doctor_lists_the_interpreter_and_says_how_to_get_what_is_missing(capsys, monkeypatch):
    monkeypatch.setattr(environment.shutil, "which",
                        lambda name: None if name == "perl" else f"/bin/{name}")
    monkeypatch.setattr(environment, "_tool_version", lambda name, _arguments:
                        None if name == "perl" else "1.0")
    monkeypatch.setattr(environment, "_headers_for_fst", lambda: None)
    parts = {part.name: part for part in environment.doctor()}
    assert parts["python"].state == "ok"
    assert parts["perl"].state == "missing" and parts["perl"].remedy == "apt install perl"
    assert parts["lz4 and zlib headers"].state == "optional"
    assert cli.main(["doctor"]) == 1
    assert "perl is missing: apt install perl" in capsys.readouterr().out


def test_versions_go_into_json():
    found = json.loads(json.dumps(environment.versions()))
    assert {"python", "torch", "amaranth", "cocotb", "verilator"} <= set(found)


def test_an_interrupt_leaves_the_old_file_and_no_other(capsys, tmp_path):
    path = tmp_path / "net.xlm"
    path.write_text("old")

    def work():
        with output.whole_file(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    assert leaving.guarded(work, name="xnorloom compile") == 130
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
    assert "interrupted" in capsys.readouterr().err


def test_ctrl_c_ends_the_program_with_130():
    code = ("import sys, time; from xnorloom import leaving\n"
            "def work():\n print('ready', flush=True); time.sleep(60)\n"
            "sys.exit(leaving.guarded(work, name='xnorloom test'))")
    for number in (signal.SIGINT, signal.SIGTERM):
        with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True,
                              preexec_fn=heed_interrupts) as process:
            assert process.stdout.readline() == "ready\n"
            os.kill(process.pid, number)
            _out, err = process.communicate(timeout=20)
        assert process.returncode == 130
        assert err == "xnorloom test: interrupted, nothing half-written is left\n"


def test_our_errors_are_sentences_and_our_bugs_are_not():
    from xnorloom.hw.spec.config import ConfigError, load_machine

    def raised(work):
        try:
            work()
        except Exception as error:
            return error

    assert sentence(UserError("one\n  two")) == "one two"
    assert sentence(ConfigError("x")) == "x"
    assert sentence(raised(lambda: load_machine("nosuch"))).startswith("Machine must be")
    assert sentence(raised(Path("/absent/file").read_text)) == "File '/absent/file' does not exist"
    assert sentence(raised(lambda: int("x"))) is None
    assert sentence(ZeroDivisionError("division by zero")) is None
    assert "'nosuch' is not installed" in sentence(ModuleNotFoundError("no", name="nosuch"))


def test_a_choice_far_from_all_names_lists_them():
    assert check_choice("Colour", "red", ("red", "green")) == "red"
    with pytest.raises(UserError, match="^Colour must be a known name, not 'zzz'; known: red, gre"):
        check_choice("Colour", "zzz", ("red", "green"))


def test_help_and_version(capsys):
    assert cli.main([]) == 2
    assert cli.main(["--version"]) == 0
    assert "xnorloom 0." in capsys.readouterr().out
