import operator

import pytest
import torch
from torch import nn
from xnorloom.sw.graph.trace import FrontendError

from xnorloom.sw.ops.layers import QuantConv2d, QuantLinear
from xnorloom.sw.passes.quantize import quantize_
from xnorloom.sw.passes.snap import snap
from xnorloom.sw.quantizers import SCHEMES, UnknownNameError, get_scheme
from xnorloom.sw.quantizers.lsbq import LsbqActivation, LsbqWeight
from xnorloom.sw.quantizers.pact import PactActivation
from xnorloom.sw.quantizers.pixels import PixelQuantizer
from xnorloom.sw.quantizers.sawb import PactSawbConfig, SawbWeight


def small():
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(),
                         nn.Dropout(0.1), nn.Conv2d(4, 5, 3, stride=2, padding=1), nn.Hardtanh(),
                         nn.Flatten(), nn.Linear(80, 3))


@pytest.mark.parametrize("scheme, weight, activation", [
    ("lsbq-w1a2", LsbqWeight, LsbqActivation), ("pact-sawb-w2a2", SawbWeight, PactActivation)])
def test_quantize_swaps_layers_and_activations_in_place(scheme, weight, activation):
    model = small()
    parameters = list(model.parameters())
    assert quantize_(model, scheme, input_bits=5, input_step=1 / 16) is model
    assert [type(model[index]) for index in (0, 2, 4, 5, 7)] == [
        QuantConv2d, activation, QuantConv2d, activation, QuantLinear]
    assert type(model[4].weight_quantizer) is weight
    assert all(type(model[index].weight_quantizer) is SawbWeight
               and model[index].weight_quantizer.bits == 8 for index in (0, 7))
    assert model[0].source is model[0].input_quantizer
    assert (model[0].input_quantizer.bits, model[0].input_quantizer.step) == (5, 1 / 16)
    assert model[4].source is model[2] and model[7].source is model[5]
    assert {id(each) for each in parameters} <= {id(each) for each in model.parameters()}
    model(torch.rand(2, 1, 8, 8)).sum().backward()
    assert all(each.grad is not None for each in parameters)


def test_filter_leaves_modules_as_they_are():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    options = {"filter_fn": lambda module, name: name != "0"}
    with pytest.raises(FrontendError, match="^Module '0' .Linear. must not be left out by "
                                            "filter_fn unless torch_only is true: "):
        quantize_(model, "lsbq-w1a2", **options)
    assert type(model[2]) is nn.Linear
    quantize_(model, "lsbq-w1a2", torch_only=True, **options)
    assert type(model[0]) is nn.Linear and type(model[2]) is QuantLinear


def test_layers_left_out_count_as_first_and_last():
    model = quantize_(small(), "lsbq-w1a2", torch_only=True,
                      filter_fn=lambda module, name: name not in ("0", "7"))
    assert [type(model[index]) for index in (0, 4, 7)] == [nn.Conv2d, QuantConv2d, nn.Linear]
    assert type(model[4].weight_quantizer) is LsbqWeight and model[4].source is model[2]


def test_edges_may_follow_the_scheme():
    model = quantize_(small(), PactSawbConfig(edge_bits=None))
    assert [model[index].weight_quantizer.bits for index in (0, 4, 7)] == [2, 2, 2]


@pytest.mark.parametrize("pool", [nn.MaxPool2d(2), nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(4)])
def test_a_layer_behind_a_pool_reads_the_activation_before_it(pool):
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), pool, nn.Conv2d(2, 2, 3, padding=1))
    with pytest.raises(FrontendError, match="^Node '2' .* (max|average) pooling is not supported "):
        quantize_(model, "lsbq-w1a2")
    assert type(model[0]) is nn.Conv2d
    quantize_(model, "lsbq-w1a2", torch_only=True)
    assert model[3].source is model[1]
    model(torch.rand(2, 1, 10, 10)).sum().backward()
    assert model[0].weight.grad.any()


@pytest.mark.parametrize("add", [lambda x, y: x + y, torch.add, operator.add, operator.iadd])
def test_additions_before_an_activation_stay_as_they_are(add):
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.act1, self.two = nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3)
            self.act2, self.last = nn.ReLU(), nn.Linear(3, 2)

        def forward(self, x):
            x = self.act1(self.one(x))
            return self.last(self.act2(add(self.two(x), x)))

    model = quantize_(Block(), "pact-sawb-w2a2", torch_only=True)
    assert model.last.source is model.act2 and model.two.source is model.act1
    model(torch.rand(4, 3)).sum().backward()
    assert all(torch.isfinite(each.grad).all() for each in model.parameters())
    for refuse in (snap, lambda _: quantize_(Block(), "pact-sawb-w2a2")):
        with pytest.raises(FrontendError, match="^Node 'i?add' .call_function i?add. reads two, "
                                                "act1; branches are not supported"):
            refuse(model)


def test_a_copy_is_linked_to_its_own_quantizer():
    import copy
    model = quantize_(small(), "pact-sawb-w2a2")
    twin = copy.deepcopy(model)
    assert twin[4].source is twin[2] is not model[2]


def test_signed_padding_is_the_named_code():
    layer = QuantConv2d(1, 1, 3, padding=1, bias=False, weight_quantizer=LsbqWeight("ls1"))
    source = LsbqActivation("ls2")
    source(torch.randn(2, 1, 6, 6, generator=torch.Generator().manual_seed(0)))
    layer.read_from(source.eval())
    with torch.no_grad():
        layer.weight.fill_(1.0)
    value = source.codebook().reconstruct()[1]
    assert source.pad_code == 1 and value < 0
    corner = float(layer(torch.zeros(1, 1, 4, 4))[0, 0, 0, 0].detach())
    assert corner == pytest.approx(5 * value, rel=1e-6)


def test_unsigned_padding_is_zero():
    layer = QuantConv2d(1, 1, 3, padding=1, bias=False, weight_quantizer=SawbWeight(2),
                        input_quantizer=PixelQuantizer(8, 1 / 255))
    assert not layer(torch.zeros(1, 1, 4, 4)).any()


def test_first_layer_sees_rounded_pixels():
    layer = QuantLinear(1, 1, bias=False, weight_quantizer=LsbqWeight("ls1"),
                        input_quantizer=PixelQuantizer(2, 1 / 3))
    with torch.no_grad():
        layer.weight.fill_(2.0)
    assert layer(torch.tensor([[0.4]])).item() == pytest.approx(2 / 3)


def test_layer_without_a_source_says_so():
    layer = QuantConv2d(1, 1, 3, padding=1, weight_quantizer=LsbqWeight("ls1"))
    with pytest.raises(ValueError, match="^QuantConv2d must have an input quantizer or be linked "
                                         "to one by quantize_, not stand alone$"):
        layer(torch.zeros(1, 1, 4, 4))


@pytest.mark.parametrize("options, message", [
    ({"groups": 2}, "Conv2d groups must be 1, not 2"),
    ({"dilation": 2}, "Conv2d dilation must be 1, not (2, 2)"),
    ({"padding": "same"}, "Conv2d padding must be numbers in mode 'zeros', not 'same'"),
    ({"padding_mode": "reflect"},
     "Conv2d padding must be numbers in mode 'zeros', not 'reflect'"),
])
def test_options_the_machine_lacks(options, message):
    model = nn.Sequential(nn.Conv2d(2, 2, 3, **options))
    for torch_only in (False, True):
        with pytest.raises(ValueError) as caught:
            quantize_(model, "lsbq-w1a2", torch_only=torch_only)
        assert str(caught.value) == f"Layer '0' cannot be quantized: {message}"
        assert type(model[0]) is nn.Conv2d


@pytest.mark.parametrize("model, fragment", [
    (nn.Sequential(nn.Conv2d(1, 2, 1), nn.Conv2d(2, 2, 1)), "'1' (Conv2d) must read the input or"),
    (nn.Sequential(nn.Conv2d(1, 2, 1), nn.GELU(), nn.Conv2d(2, 2, 1)), "reads '1' (GELU)"),
    (nn.Conv2d(1, 2, 1), "wrap Conv2d in torch.nn.Sequential"),
])
def test_unquantized_inputs_are_named(model, fragment):
    with pytest.raises(FrontendError) as caught:
        quantize_(model, "lsbq-w1a2", torch_only=True)
    assert fragment in str(caught.value)
    assert not any(isinstance(each, QuantConv2d) for each in model.modules())


def test_a_module_used_twice_is_named():
    shared = nn.ReLU()
    model = nn.Sequential(nn.Linear(3, 3), shared, nn.Linear(3, 3), shared, nn.Linear(3, 2))
    with pytest.raises(FrontendError, match="is used twice; each use needs a module of its own"):
        quantize_(model, "lsbq-w1a2", torch_only=True)
    with pytest.raises(FrontendError, match="is called twice; each use needs a module of its own"):
        quantize_(model, "lsbq-w1a2")


def test_schemes_are_found_by_name():
    assert set(SCHEMES) >= {"lsbq-w1a2", "pact-sawb-w2a2"}
    own = PactSawbConfig(weight_bits=4, activation_bits=3)
    assert get_scheme(own) is own and own.activation_quantizer().bits == 3
    with pytest.raises(UnknownNameError) as caught:
        get_scheme("lsbq-w1a22")
    assert str(caught.value) == ("Scheme must be a registered name, not 'lsbq-w1a22', did you mean "
                                 "'lsbq-w1a2'?")
