"""Checkpoints: what comes back, what is refused, and that nothing else than the file is needed."""

import dataclasses

import pytest
import torch

from xnorloom.sw import data
from xnorloom.sw.passes.quantize import quantize_
from xnorloom.sw.quantizers import scheme_data
from xnorloom.sw.quantizers.sawb import PactSawbConfig
from xnorloom.sw.training import checkpoint, nets

INPUT = dataclasses.asdict(data.info("digits"))
INFO = {"net": "cnn", "scheme": "lsbq-w1a2", "data": "digits", "accuracy": {"float": 0.99}}


@pytest.fixture
def model():
    model = nets.build("cnn", "lsbq-w1a2")
    model(torch.rand(2, 1, 8, 8))
    return model.eval()


def test_a_checkpoint_comes_back_as_it_was(model, tmp_path):
    path = tmp_path / "net.pt"
    checkpoint.save(path, model, INFO)
    loaded, info = checkpoint.load(path)
    images = torch.rand(3, 1, 8, 8)
    assert info == {**INFO, "input": INPUT} and not loaded.training
    assert torch.equal(loaded(images), model(images))
    assert [each.name for each in tmp_path.iterdir()] == ["net.pt"]


def test_a_float_network_too(tmp_path):
    float_model = nets.build("cnn")
    checkpoint.save(tmp_path / "net.pt", float_model, {**INFO, "scheme": None})
    loaded, _ = checkpoint.load(tmp_path / "net.pt")
    assert torch.equal(loaded.linear.weight, float_model.linear.weight)


def test_a_configuration_of_ones_own_is_stored_as_plain_data(tmp_path):
    scheme = PactSawbConfig(weight_bits=3, activation_bits=4, alpha=2.5, edge_bits=None)
    model = nets.build("cnn", scheme)
    checkpoint.save(tmp_path / "net.pt", model, {**INFO, "scheme": scheme})
    loaded, info = checkpoint.load(tmp_path / "net.pt")
    assert info["scheme"] == scheme_data(scheme)
    assert info["scheme"]["kind"] == "PactSawbConfig" and info["scheme"]["fields"]["alpha"] == 2.5
    assert loaded.conv2.weight_quantizer.bits == 3 and loaded.act1.bits == 4
    assert loaded.conv1.weight_quantizer.bits == 3


def test_a_registered_configuration_is_stored_by_name(model, tmp_path):
    from xnorloom.sw.quantizers import get_scheme

    checkpoint.save(tmp_path / "net.pt", model, {**INFO, "scheme": get_scheme("lsbq-w1a2")})
    assert checkpoint.load(tmp_path / "net.pt")[1]["scheme"] == "lsbq-w1a2"


def test_the_files_of_the_data_need_not_be_there(tmp_path):
    about = data.DataInfo("mnist:/no/such", (1, 12, 10), 10, 8, 1 / 255)
    model = nets.build("cnn", "lsbq-w1a2", about)
    checkpoint.save(tmp_path / "net.pt", model, {
        **INFO, "data": about.name, "input": dataclasses.asdict(about)})
    loaded, info = checkpoint.load(tmp_path / "net.pt")
    assert data.DataInfo(**info["input"]) == about
    assert loaded.input_quantizer.bits == 8 and loaded.linear.in_features == 64 * 6 * 5


def error_of(path):
    with pytest.raises(checkpoint.CheckpointError) as caught:
        checkpoint.load(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_absent_file(tmp_path):
    path = tmp_path / "none.pt"
    assert error_of(path) == f"Checkpoint {str(path)!r} cannot be read: No such file or directory"


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"\x80\x04N."])
def test_a_file_of_something_else(content, tmp_path):
    path = tmp_path / "net.pt"
    path.write_bytes(content)
    assert "must be a file written by xnorloom train" in error_of(path)


def test_a_truncated_file(model, tmp_path):
    path = tmp_path / "net.pt"
    checkpoint.save(path, model, INFO)
    path.write_bytes(path.read_bytes()[:-1000])
    assert "something else, or damaged" in error_of(path)


def test_some_other_torch_file(tmp_path):
    path = tmp_path / "net.pt"
    torch.save({"weight": torch.zeros(3)}, path)
    assert "not some other torch file" in error_of(path)


def test_a_pickled_module_is_not_executed(model, tmp_path):
    path = tmp_path / "net.pt"
    torch.save(model, path)
    assert "must be a file written by xnorloom train" in error_of(path)


@pytest.mark.parametrize("change, fragment", [
    ({"scheme": "lsbq-w9a9"}, "rebuilt: Scheme must be a registered name, not 'lsbq-w9a9'"),
    ({"scheme": {"kind": "PactConfg", "fields": {}}}, "Kind of scheme must be a registered name, "),
    ({"scheme": {"kind": "PactSawbConfig", "fields": {"bits": 2}}},
     "Scheme fields of PactSawbConfig must be among edge_bits, "),
    ({"scheme": {"kind": "PactSawbConfig", "fields": {"weight_bits": 99}}}, "bits must be "),
    ({"scheme": ["lsbq-w1a2"]}, "Scheme must be a registered name, not ['lsbq-w1a2']"),
    ({"input": {"name": "digits"}}, "must describe its input, and does not"),
    ({"scheme": "pact-sawb-w2a2"}, "must hold the tensors of net 'cnn' in scheme 'pact-sawb-w2a2'"),
])
def test_names_that_do_not_fit(change, fragment, model, tmp_path):
    path = tmp_path / "net.pt"
    checkpoint.save(path, model, {**INFO, **change})
    assert fragment in error_of(path)


class Own(torch.nn.Module):
    """A network that no name of ours stands for."""

    def __init__(self):
        super().__init__()
        self.norm, self.one = torch.nn.BatchNorm2d(1), torch.nn.Conv2d(1, 4, 3, padding=1)
        self.weight = torch.nn.Parameter(torch.rand(4, 4, 1, 1) - 0.5)
        self.slope, self.last = torch.nn.PReLU(4), torch.nn.Linear(8, 3)

    def forward(self, x):
        x = self.slope(self.one(self.norm(x)))
        y = torch.tanh(torch.nn.functional.conv2d(x, self.weight))
        return self.last(torch.cat([x.mean((2, 3)), y.mean((2, 3))], 1)).softmax(1)


@pytest.mark.parametrize("scheme", ["lsbq-w1g3", "pact-sawb-w2a2", "gpfq-w4a4", "syq-pixel-wta4"])
def test_a_network_of_ones_own_comes_back_from_the_text_of_its_graph(scheme, tmp_path):
    torch.manual_seed(0)
    model = quantize_(Own(), scheme, in_shape=(1, 8, 8))
    for _ in range(3):
        model(torch.rand(8, 1, 8, 8))
    path = tmp_path / "net.pt"
    checkpoint.save(path, model.eval(), {"net": "own", "scheme": scheme, "data": "digits"})
    loaded, info = checkpoint.load(path)
    images = torch.rand(3, 1, 8, 8)
    assert loaded.graph == model.graph and info["net"] == "own"
    assert list(loaded.state_dict()) == list(model.state_dict())
    assert torch.equal(loaded(images), model(images))
    assert all(each.requires_grad for each in loaded.parameters())


def test_a_file_of_the_first_edition_is_read(model, tmp_path):
    path = tmp_path / "net.pt"
    checkpoint.save(path, model, INFO)
    content = torch.load(path, weights_only=True)
    del content["graph"]
    torch.save({**content, "version": 2}, path)
    images = torch.rand(3, 1, 8, 8)
    assert torch.equal(checkpoint.load(path)[0](images), model(images))
    torch.save({**content, "version": 2, "info": {**INFO, "input": INPUT, "net": "former"}}, path)
    assert "rebuilt: Net must be a registered name, not 'former'" in error_of(path)


@pytest.mark.parametrize("old, new, fragment", [
    ("= convolution(", "= convolve(", "rebuilt: Node 'conv1' must be a known operator, not 'conv"),
    ("kernel=(3, 3)", "kernel=(3, 2)", "must have a weight of kernel (3, 2), not (3, 3)"),
    ("stride=(2, 2)", "stride=(1, 1)", "must hold the tensors of net 'cnn'"),
    ("conv1: (32, 8, 8)", "conv1: (3, 8, 8)", "must have shape (32, 8, 8), not (3, 8, 8)"),
    ("stride=(2, 2), ", "", "must hold the tensors of net 'cnn'"),
    ("'norm1', codes='scheme'", "'norm1', codes='other'", "rebuilt: Node 'act1' codes must be "),
    ("'norm1', codes='scheme', ", "'norm1', ", "must hold the tensors of net 'cnn'"),
    ("module='conv1'", "module='conv9'", "must hold the tensors of net 'cnn'"),
    ("module='act1'", "module='conv1'", "pads must name quantizers of the graph, not 'act1'"),
    ("module='act1'", "module='conv1.weight'", ""),
    ("module='act1'", "module='_modules'", ""),
    ("module='act1'", "module='forward'", "must have another name: a torch module has 'forward'"),
    ("groups=1", "groups=0", ""), ("padding=(1, 1, 1, 1)", "padding=(1, 'x')", ""),
    ("(1, 8, 8)", "(1, 8)", ""),
    ("weights='edge'", "weights=()", "Node 'conv1' weights must be edge or inner, not ()"),
    ("pads=((1, 'input_quantizer'),)", "pads=3", ""), ("eps=1e-05", "eps='x'", ""),
    ("bits=5", "bits=99", "PixelQuantizer bits must be an integer from 1 to 8, not 99"),
    ("input: (1, 8, 8)", "input: (1, __import__('os'), 8)", "Graph line 1 must be the input"),
    ("output: linear", "output: conv9", "Output must be the input or a node, not 'conv9'"),
])
def test_a_graph_that_was_tampered_with(old, new, fragment, model, tmp_path):
    path = tmp_path / "net.pt"
    checkpoint.save(path, model, INFO)
    content = torch.load(path, weights_only=True)
    assert old in content["graph"]
    torch.save({**content, "graph": content["graph"].replace(old, new, 1)}, path)
    assert fragment in error_of(path)


def test_a_graph_that_is_no_text(model, tmp_path):
    path = tmp_path / "net.pt"
    checkpoint.save(path, model, INFO)
    torch.save({**torch.load(path, weights_only=True), "graph": 3}, path)
    assert "must hold the tensors of net 'cnn'" in error_of(path)


@pytest.mark.parametrize("version, said", [
    (99, "99"), (None, "None"), (1, "1: train the network again with this version")])
def test_another_version(model, tmp_path, version, said):
    path = tmp_path / "net.pt"
    checkpoint.save(path, model, INFO)
    content = torch.load(path, weights_only=True)
    torch.save({**content, "version": version}, path)
    assert error_of(path) == f"Checkpoint {str(path)!r} must be of version 2 or 3, not {said}"


def test_a_folder_that_is_not_there(model, tmp_path):
    with pytest.raises(checkpoint.CheckpointError, match="cannot be written: No such file"):
        checkpoint.save(tmp_path / "none" / "net.pt", model, INFO)


def test_names_are_demanded(model, tmp_path):
    with pytest.raises(checkpoint.CheckpointError, match="^Checkpoint info 'net' must be a name, "
                                                         "not None$"):
        checkpoint.save(tmp_path / "net.pt", model, {"scheme": None, "data": "digits"})
    with pytest.raises(checkpoint.CheckpointError, match="^Checkpoint info 'scheme' must be given"):
        checkpoint.save(tmp_path / "net.pt", model, {"net": "cnn", "data": "digits"})
    with pytest.raises(data.DataError, match="^Data set must be a known name, not 'words'"):
        checkpoint.save(tmp_path / "net.pt", model, {**INFO, "data": "words"})
    assert not list(tmp_path.iterdir())
