"""Comparison, simulation and demo, with the integer reference standing in for the simulator.

The simulated machine itself is tried by the README's lines and by the tests of sim; here it counts
that whatever differs is found, counted and told.
"""

import dataclasses
import json

import pytest

from tests.stand_in import StandIn
from xnorloom import cli, demo
from xnorloom.report import report
from xnorloom.verbs import building, comparison, running

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    from xnorloom.sw import data
    from xnorloom.sw.training import checkpoint, nets
    from xnorloom.sw.training.fit import fit

    path = tmp_path_factory.mktemp("checkpoint") / "net.pt"
    digits = data.load("digits")
    some = dataclasses.replace(digits, train_images=digits.train_images[:256],
                               train_labels=digits.train_labels[:256])
    torch.manual_seed(0)
    model = nets.build("cnn", "lsbq-w1a2", "digits")
    fit(model, some, epochs=1)
    checkpoint.save(path, model, {"net": "cnn", "scheme": "lsbq-w1a2", "data": "digits",
                                  "accuracy": {"float": 0.99}})
    return path


@pytest.fixture
def stand_in(monkeypatch):
    """Puts a stand-in where the simulator would be; gives a function that sets its faults."""
    faults = {}
    monkeypatch.setattr(running, "open_machine",
                        lambda config, **_options: StandIn(config, **faults))
    return faults.update


def test_what_agrees_is_reported_with_the_keys_that_are_promised(checkpoint, stand_in, tmp_path,
                                                                 capsys):
    out = tmp_path / "out.json"
    assert cli.main(["compare", str(checkpoint), "--count", "10", "--json", str(out)]) == 0
    result = json.loads(out.read_text())
    assert set(result) >= {"schemes", "machine", "simulation", "versions", "seconds"}
    assert result["simulation"]["cycles_per_second"] == 2000
    (scheme,) = result["schemes"]
    assert scheme["name"] == "lsbq-w1a2" and scheme["images"] == 10
    assert set(scheme["accuracy"]) == {"float", "quantized", "snapped", "hardware"}
    assert scheme["accuracy"]["float"] is None, "it was measured on all images, not on ten"
    assert scheme["accuracy"]["hardware"] == scheme["accuracy"]["snapped"]
    values = 10 * (32 * 64 + 2 * 64 * 16 + 10)
    assert scheme["values_compared"] == values
    for part in (scheme, *scheme["layers"]):
        assert part["mismatches"] == {"torch_vs_reference": 0, "reference_vs_rtl": 0}
        assert part["cycles"]["predicted"] == part["cycles"]["measured"] > 0
        assert 0 < part["utilization"] <= 1
    last = scheme["timeline"]["intervals"][-1]
    assert last["end"] == scheme["timeline"]["cycles"]
    assert f"{values:,} values compared three ways, 0 mismatches" in capsys.readouterr().out


def test_one_wrong_bit_is_found_and_ends_in_1(checkpoint, stand_in, capsys):
    stand_in({"flip": True})
    assert cli.main(["compare", str(checkpoint), "--count", "8"]) == 1
    assert " 1 mismatches" in capsys.readouterr().out


def test_one_late_cycle_is_found_and_ends_in_1(checkpoint, stand_in):
    stand_in({"late": 1})
    assert cli.main(["compare", str(checkpoint), "--count", "8"]) == 1


@pytest.fixture
def one_code_off(monkeypatch):
    """The snapped model is wrong in one code."""
    from xnorloom.sw.passes.snap import SnappedModel

    honest = SnappedModel.trace

    def wrong(self, images):
        traced = honest(self, images)
        traced["conv2"][0, 0, 0, 0] ^= 1
        return traced

    monkeypatch.setattr(SnappedModel, "trace", wrong)


def test_a_snapped_model_that_differs_from_torch_is_found(checkpoint, stand_in, one_code_off):
    result = comparison.compare(checkpoint, count=3)
    assert result["schemes"][0]["mismatches"] == {"torch_vs_reference": 1, "reference_vs_rtl": 0}
    assert report.mismatches(result) == 1


def test_a_model_must_be_quantized_and_for_the_shape_that_is_named(checkpoint):
    with pytest.raises(ValueError, match="^Model Conv2d must be quantized: pass it through"):
        building.compile(torch.nn.Conv2d(1, 4, 3))
    with pytest.raises(ValueError, match="^Model must be a checkpoint file or a torch.nn.Module"):
        building.compile(17)
    for call in (lambda: building.compile(checkpoint, in_shape=[1, 8, 9]),
                 lambda: comparison.compare(checkpoint, count=1, in_shape=(1, 8, 9))):
        with pytest.raises(ValueError, match=r"^Input shape 'in_shape' must be \(1, 8, 8\), which "
                                             r"the model was quantized for, not \(1, 8, 9\)$"):
            call()


def test_a_snapped_model_is_compiled_and_compared_as_it_is(checkpoint, stand_in):
    import xnorloom
    from xnorloom.sw.training import checkpoint as checkpoints

    model, _info = checkpoints.load(checkpoint)
    snapped = xnorloom.snap(model)
    image = xnorloom.compile(snapped, in_shape=(1, 8, 8))
    again = xnorloom.compile(model, in_shape=(1, 8, 8))
    assert (image.program == again.program).all()
    (scheme,) = comparison.compare(snapped, count=3)["schemes"]
    assert not any(scheme["mismatches"].values())
    assert scheme["accuracy"]["quantized"] is None and scheme["accuracy"]["snapped"] is not None


def test_branches_and_copies_of_maps_are_compared(stand_in):
    """A map that is read with two strides is copied: the copy is a layer of the machine alone."""
    import xnorloom

    class Branches(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = torch.nn.Conv2d(1, 4, 3, padding=1)
            self.body = torch.nn.Conv2d(4, 4, 3, padding=1)
            self.shortcut = torch.nn.Conv2d(4, 4, 1, stride=2)
            self.head = torch.nn.Linear(4, 3)

        def forward(self, x):
            x = torch.relu(self.stem(x))
            y = torch.nn.functional.max_pool2d(torch.relu(self.body(x) + x), 2)
            y = torch.relu(y + torch.relu(self.shortcut(x)))
            return self.head(y.mean((2, 3)))

    torch.manual_seed(0)
    model = xnorloom.quantize_(Branches(), "pact-sawb-w2a2", in_shape=(1, 8, 8), input_bits=4,
                               input_step=1 / 16)
    model.train()(torch.rand(8, 1, 8, 8))
    result = comparison.compare(model.eval(), count=5)
    layers = {layer["name"]: layer for layer in result["schemes"][0]["layers"]}
    copies = {name: layer for name, layer in layers.items() if ".copy" in name}
    assert copies and all(layer["values_compared"] == 0 for layer in copies.values())
    assert all(layer["values_compared"] > 0 for name, layer in layers.items()
               if name not in copies)
    assert max(layer["terms"] for layer in layers.values()) == 2
    assert [layer["pool"]["kind"] for layer in layers.values() if layer["pool"]]
    assert report.mismatches(result) == 0


def test_the_text_of_every_pass_is_written(checkpoint, tmp_path, capsys):
    from xnorloom.sw.passes.pipeline import PASSES

    folder, image = tmp_path / "far" / "passes", tmp_path / "net.xlm"
    assert cli.main(["compile", str(checkpoint), "-o", str(image), "--dump-passes",
                     str(folder)]) == 0
    assert f"wrote the text of every pass into {folder}" in capsys.readouterr().out
    assert sorted(path.name for path in folder.iterdir()) == [
        f"{number}-{name}.txt" for number, name in enumerate(PASSES) if number >= 2]
    for path in folder.iterdir():
        assert "conv2" in path.read_text()
    assert building.compile(checkpoint).to_bytes() == image.read_bytes()


def test_a_pass_that_changes_the_network_is_found_where_passes_are_dumped(
        checkpoint, tmp_path, one_code_off):
    with pytest.raises(AssertionError, match="^Pass 'lower' changed 1 of "):
        building.compile(checkpoint, dump=tmp_path / "passes")
    building.compile(checkpoint)


def test_a_float_accuracy_is_told_of_the_images_it_was_measured_on(checkpoint, stand_in):
    from xnorloom.sw import data

    digits = data.load("digits")
    images = digits.test_images[:4], digits.test_labels[:4]
    for what, expected in (("digits", 0.99), (images, None), (digits, None)):
        (scheme,) = comparison.compare(checkpoint, what)["schemes"]
        assert scheme["accuracy"]["float"] == expected


@pytest.fixture(scope="module")
def image(checkpoint):
    path = checkpoint.with_suffix(".xlm")
    assert cli.main(["compile", str(checkpoint), "-o", str(path)]) == 0
    return path


def test_simulate_tells_labels_and_cycles(image, stand_in, tmp_path, monkeypatch):
    out = tmp_path / "run.json"
    assert cli.main(["simulate", str(image), "--count", "9", "--json", str(out)]) == 0
    result = json.loads(out.read_text())
    assert result["images"] == 9 == len(result["predictions"])
    assert result["cycles"]["predicted"] == result["cycles"]["measured"] > 0
    assert [layer["name"] for layer in result["layers"]] == ["conv1", "conv2", "conv3", "linear"]


def test_estimate_and_inspect_agree_with_the_image(image, tmp_path, capsys):
    for command in ("estimate", "inspect"):
        assert cli.main([command, str(image), "--json", str(tmp_path / command)]) == 0
    estimated = json.loads((tmp_path / "estimate").read_text())
    *layers, whole = estimated["layers"]
    assert whole["name"] == "all" and whole["cycles"] > sum(row["cycles"] for row in layers)
    inspected = json.loads((tmp_path / "inspect").read_text())
    assert inspected["bytes"] == image.stat().st_size
    assert [layer["name"] for layer in inspected["layers"]] == [row["name"] for row in layers]
    for memory in inspected["memories"]:
        assert 0 <= memory["used"] <= memory["depth"]
    shown = capsys.readouterr().out
    assert inspected["program_crc32"] in shown and "conv3" in shown


@pytest.mark.parametrize("damage", ["cut", "flip", "version"])
def test_a_damaged_image_is_refused_in_one_sentence(image, tmp_path, capsys, damage):
    data = bytearray(image.read_bytes())
    if damage == "cut":
        data = data[:-5]
    else:
        data[4 if damage == "version" else len(data) // 2] ^= 0x10
    path = tmp_path / "damaged.xlm"
    path.write_bytes(data)
    assert cli.main(["inspect", str(path)]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1 and captured.err.startswith("xnorloom inspect: Image must")


def test_a_net_that_does_not_fit_is_refused_with_the_preset_that_does(checkpoint, tmp_path,
                                                                      capsys):
    machine = tmp_path / "cramped.toml"
    machine.write_text("preset = 'default'\nweight_depth = 64\n")
    code = cli.main(["compile", str(checkpoint), "--machine", str(machine), "-o",
                     str(tmp_path / "net.xlm")])
    said = capsys.readouterr().err
    assert code == 2 and said.count("\n") == 1
    assert "too few" in said and "fits" in said
    assert not (tmp_path / "net.xlm").exists()


def test_too_many_images_are_refused(image, stand_in, capsys):
    assert cli.main(["simulate", str(image), "--count", "361"]) == 2
    assert "Count must be from 1 to the 360 images" in capsys.readouterr().err


def test_no_simulator_is_one_sentence(image, monkeypatch, tmp_path, capsys):
    from xnorloom.sim import toolchain

    monkeypatch.setattr(toolchain.shutil, "which", lambda _name: None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cli.main(["simulate", str(image), "--count", "1", "--engine", "icarus"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "not installed" in said


def test_the_demo_writes_everything_it_promises(stand_in, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(building, "verilog",
                        lambda _config, output: output.write_text("module top; endmodule\n"))
    folder = tmp_path / "demo"
    assert demo.main(["--output", str(folder), "--epochs", "1", "--count", "16"]) == 0
    assert {path.name for path in folder.iterdir()} == {
        "top.v", "report.json", "cycles.png", "accuracy.png", "utilization.png", "memory.png",
        *(f"{net}-{scheme}.{kind}" for net, scheme in demo.RUNS for kind in ("pt", "xlm"))}
    shown = capsys.readouterr().out
    assert "torch = integer reference = RTL, and every cycle as predicted" in shown
    result = json.loads((folder / "report.json").read_text())
    assert [(scheme["net"], scheme["name"]) for scheme in result["schemes"]] == list(demo.RUNS)
    kinds = {layer["pool"]["kind"] for scheme in result["schemes"] for layer in scheme["layers"]
             if layer["pool"]}
    assert kinds == {"max", "sum"}
    assert max(layer["terms"] for layer in result["schemes"][-1]["layers"]) == 2
    result["schemes"][0]["mismatches"]["reference_vs_rtl"] = 3
    (folder / "report.json").write_text(json.dumps(result))
    assert demo.show(folder) == 1
    assert "3 MISMATCHES" in capsys.readouterr().out
