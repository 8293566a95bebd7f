"""The verbs that build: what they say of precision, and what they show of an image."""

import pytest
import torch
from torch import nn

import xnorloom
from xnorloom.report.progress import console
from xnorloom.report.tables import inspect_tables
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
