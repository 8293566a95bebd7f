"""The verbs that build: what they say of precision, and what they show of an image."""

from xml.etree import ElementTree

import pytest
import torch
from PIL import Image
from torch import nn

import xnorloom
from xnorloom import cli
from xnorloom.report.drawing import new_figure
from xnorloom.report.memory_map import draw_memory_map
from xnorloom.report.progress import console
from xnorloom.report.tables import inspect_tables
from xnorloom.sw.machine.lifetimes import map_lifetimes
from xnorloom.sw.quantizers.lsbq import LsbqConfig
from xnorloom.verbs.building import precision_lines


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    """Test processes may have a terminal of any width, or none."""
    monkeypatch.setattr(console, "width", 1000)


def model(last):
    """A quantized model whose last layer has these channel magnitudes."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 4, bias=False), nn.ReLU(), nn.Linear(4, len(last), bias=False))
    with torch.no_grad():
        net[0].weight *= torch.tensor([1.0, 1e-3, 1e-6, 1.0])[:, None]
        net[2].weight *= torch.tensor(last)[:, None]
    net = xnorloom.quantize_(net, LsbqConfig(edge_bits=None), in_shape=(6,))
    net(torch.rand(8, 6))
    return net.eval()


@pytest.mark.parametrize("last, lines", [([1.0, 0.5, 0.3], 0), ([1.0, 1e-5, 1e-5], 1)])
def test_compile_names_the_layers_that_lose_precision(last, lines, capsys):
    image = xnorloom.compile(model(last), "tiny", in_shape=(6,), verbose=True)
    said = [line for line in capsys.readouterr().out.splitlines() if "precision" in line]
    assert len(said) == lines
    if lines:
        assert said[0].startswith("layer 2: 2 channels lose precision, their scales are off by up "
                                  "to 100.00% (more than 0.39%); the first is channel 1")
    assert xnorloom.compile(model(last), "tiny", in_shape=(6,)).to_bytes() == image.to_bytes()
    assert not capsys.readouterr().out


def test_a_report_without_losses_has_no_lines():
    assert list(precision_lines(xnorloom.snap(model([1.0, 1.0]), "tiny").report)) == []


def test_inspect_shows_the_range_of_exponents():
    image = xnorloom.compile(model([1.0, 1.0]), "tiny", in_shape=(6,))
    first, last = (layer["frac_bits"] for layer in xnorloom.inspect(image)["layers"])
    assert len(first) == 4 and isinstance(last, int)
    with console.capture() as capture:
        console.print(inspect_tables(xnorloom.inspect(image))[1])
    shown = capture.get().split()
    assert f"{min(first)}..{max(first)}" in shown and str(last) in shown


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_inspect_draws_where_maps_lie_and_for_how_long(tmp_path, suffix):
    image = xnorloom.compile(model([1.0, 1.0]), "tiny", output=tmp_path / "net.xlm")
    path = tmp_path / "new" / f"map.{suffix}"
    assert cli.main(["inspect", str(tmp_path / "net.xlm"), "--picture", str(path)]) == 0
    first = path.read_bytes()
    assert xnorloom.inspect(image, picture=path)["maps"] == map_lifetimes(image)
    assert path.read_bytes() == first
    if suffix == "svg":
        assert ElementTree.fromstring(first).find("{http://www.w3.org/2000/svg}title").text
    else:
        with Image.open(path) as drawn:
            assert drawn.width > 1000 and len(drawn.convert("RGB").getcolors(1 << 16)) > 20


def test_maps_are_drawn_from_where_they_are_written_to_where_they_are_last_read():
    maps = [{"name": "input", "base": 3, "words": 40, "first": -1, "last": None},
            {"name": "conv1", "base": 43, "words": 20, "first": 0, "last": 1},
            {"name": "conv2", "base": 63, "words": 1, "first": 1, "last": 2}]
    _figure, axes = new_figure(8, 4)
    draw_memory_map(axes[0][0], {
        "title": "net", "layers": [{"name": name} for name in ("conv1", "conv2", "linear")],
        "maps": maps, "memories": [{"name": "activations", "used": 64, "depth": 4096}]})
    boxes = {(box.get_x(), box.get_y(), box.get_width(), box.get_height())
             for box in axes[0][0].patches}
    assert boxes == {(-1, 0, 4, 3), (-1, 3, 4, 40), (0, 43, 2, 20), (1, 63, 2, 1)}
    assert {text.get_text() for text in axes[0][0].texts} == {"input\n40", "conv1\n20"}


@pytest.mark.parametrize("name, said", [
    ("map.gif", "must end in .png or .svg"), ("net.xlm", "must not be a file that is read for it")])
def test_a_picture_that_is_none_is_refused(tmp_path, capsys, name, said):
    xnorloom.compile(model([1.0, 1.0]), "tiny", output=tmp_path / "net.xlm")
    before = (tmp_path / "net.xlm").read_bytes()
    assert cli.main(["inspect", str(tmp_path / "net.xlm"), "--picture", str(tmp_path / name)]) == 2
    assert said in capsys.readouterr().err
    assert (tmp_path / "net.xlm").read_bytes() == before
