"""Schemes by patterns of names: one network, several of them."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from xnorloom.hw.spec.config import PRESETS
from xnorloom.sw.graph.errors import FrontendError
from xnorloom.sw.graph.evaluate import evaluate
from xnorloom.sw.machine.driver import Driver
from xnorloom.sw.machine.reference import ReferenceMachine
from xnorloom.sw.passes.build import build
from xnorloom.sw.passes.compiler import compile_network
from xnorloom.sw.passes.pipeline import lower_model
from xnorloom.sw.passes.quantize import quantize_
from xnorloom.sw.quantizers import SCHEMES, get_scheme, register_scheme, scheme_data, scheme_name
from xnorloom.sw.quantizers.balanced import BalancedWeight
from xnorloom.sw.quantizers.lsbq import LsbqActivation, LsbqConfig, LsbqWeight
from xnorloom.sw.quantizers.mapping import SchemeMap
from xnorloom.sw.quantizers.pact import PactActivation
from xnorloom.sw.quantizers.sawb import PactSawbConfig, SawbWeight
from xnorloom.sw.quantizers.symmetric import SymmetricActivation
from xnorloom.sw.quantizers.uniform import UniformActivation
from xnorloom.sw.training import checkpoint
from xnorloom.sw.training.fit import fit

SHAPE = (1, 6, 6)
MAP = {"2.*": "pact-sawb-w3a3", "3.*": LsbqConfig(weights="ls2", activations="greedy-3"),
       "*": "balanced-w2a2"}


def block(inputs, outputs):
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs),
                         nn.ReLU())


def net():
    torch.manual_seed(0)
    return nn.Sequential(block(1, 4), block(4, 4), block(4, 5), block(5, 4), nn.MaxPool2d(2),
                         block(4, 5), nn.Flatten(), nn.Linear(45, 3))


IMAGES = np.random.default_rng(0).integers(0, 8, (32, *SHAPE)).astype(np.float32) / 7
OPTIONS = {"in_shape": SHAPE, "input_bits": 3, "input_step": 1 / 7}


def trained():
    model = quantize_(net(), MAP, **OPTIONS)
    fit(model, (IMAGES, np.arange(32) % 3), epochs=2, batch=16)
    return model


def test_the_first_pattern_that_fits_decides():
    model = quantize_(net(), MAP, **OPTIONS)
    kinds = [(type(model[index][0].weight_quantizer), type(model[index][2]))
             for index in (0, 1, 2, 3, 5)]
    assert kinds == [(SawbWeight, UniformActivation), (BalancedWeight, UniformActivation),
                     (SawbWeight, PactActivation), (LsbqWeight, LsbqActivation),
                     (BalancedWeight, UniformActivation)]
    # The first and the last layer by the edge bits of their own scheme.
    assert model[0][0].weight_quantizer.bits == model[7].weight_quantizer.bits == 8
    assert (model[2][0].weight_quantizer.bits, model[2][2].bits) == (3, 3)
    # Codes of a greedy method need not rise with their values; those of the others do.
    assert model.graph["4"]["order"] == ((4, "3.2"),)


def test_signs_are_those_of_each_scheme():
    float_net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Tanh(), nn.Conv2d(2, 2, 1), nn.Tanh(),
                              nn.Conv2d(2, 2, 1))
    model = quantize_(float_net, {"0": "pact-sawb-w2a2", "1": "pact-sawb-w2a2",
                                  "*": "lsbq-w1a2"}, **OPTIONS)
    assert type(model.get_submodule("1.quantizer")) is SymmetricActivation
    assert type(model.get_submodule("3.quantizer")) is LsbqActivation


def test_what_torch_computes_is_what_the_machine_does():
    config = PRESETS["default"]
    model = trained()
    network, snapped = lower_model(model, name="mixed", scale_bits=config.scale_bits,
                                   acc_bits=config.acc_bits)
    traced, found = snapped.trace(IMAGES), evaluate(network, network.encode(IMAGES))
    for layer in network.layers:
        np.testing.assert_array_equal(found[layer.name], traced[layer.name], err_msg=layer.name)
    driver = Driver(ReferenceMachine(config), compile_network(network, config))
    driver.reset()
    driver.load()
    result = driver.run(IMAGES[:4], observe=True)
    np.testing.assert_array_equal(result.outputs, snapped(IMAGES[:4]))
    for layer, values in result.maps.items():
        np.testing.assert_array_equal(values, snapped.trace(IMAGES[:4])[layer], err_msg=layer)


def test_a_checkpoint_comes_back_with_its_schemes(tmp_path):
    model = trained()
    about = {"net": "own", "data": "noise", "scheme": MAP, "input": {
        "name": "noise", "in_shape": SHAPE, "classes": 3, "input_bits": 3, "input_step": 1 / 7}}
    checkpoint.save(tmp_path / "net.pt", model, about)
    loaded, info = checkpoint.load(tmp_path / "net.pt")
    assert torch.equal(loaded(torch.from_numpy(IMAGES)), model(torch.from_numpy(IMAGES)))
    assert get_scheme(info["scheme"]) == get_scheme(MAP)
    assert info["scheme"]["2.*"] == "pact-sawb-w3a3" and "kind" in info["scheme"]["3.*"]


def test_names_and_data_of_a_mapping():
    mapping = {"a": "lsbq-w1a2", "b": None, "*": PactSawbConfig(weight_bits=5)}
    found = get_scheme(mapping)
    assert isinstance(found, SchemeMap) and get_scheme(found) is found
    assert found.fits("a") == ["a", "*"] and found["a"] == SCHEMES["lsbq-w1a2"]
    assert get_scheme(scheme_data(mapping)) == get_scheme(scheme_data(found)) == found
    assert scheme_name(mapping).startswith("a: lsbq-w1a2, b: float, *: PactSawbConfig(")


def test_float_is_for_torch_unless_nothing_needs_codes():
    mapping = {"1.*": None, "*": "pact-sawb-w2a2"}
    with pytest.raises(FrontendError, match="^Module '1.0' must have a scheme, not None, unless "
                                            "torch_only is true: "):
        quantize_(net(), mapping, **OPTIONS)
    model = quantize_(net(), mapping, torch_only=True, **OPTIONS)
    assert type(model[1][0]) is nn.Conv2d and model.graph["1.2"].op == "relu"
    model(torch.from_numpy(IMAGES)).sum().backward()
    # The ReLU at the end has no codes in any case.
    last = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2), nn.ReLU())
    assert quantize_(last, {"[012]": "pact-sawb-w2a2"}, in_shape=(4,)).graph["3"].op == "relu"


@pytest.mark.parametrize("scheme, kind, message", [
    ({"2.*": "lsbq-w1a2"}, FrontendError,
     "Scheme must have a pattern that fits '0.0', and has '2.*'; '*' fits whatever is left"),
    ({"conv": "lsbq-w1a2", "*": "lsbq-w1a2"}, FrontendError,
     "Scheme pattern 'conv' must fit a layer or an activation, and fits none of 0.0, 0.2, "),
    ({}, ValueError, "Scheme must have a configuration for at least one pattern, not none"),
    ({"*": None}, ValueError, "Scheme must have a configuration for at least one pattern, not "),
    ({3: "lsbq-w1a2"}, ValueError, "Scheme pattern must be a text, not 3"),
    ({"*": "lsbq"}, ValueError, "Scheme must be a registered name, not 'lsbq'"),
    ({"*": {"*": "lsbq-w1a2"}}, ValueError,
     "Scheme of pattern '*' must be one, not a mapping"),
    ({"0.*": "gpfq-w4a4", "*": "lsbq-w1a2"}, ValueError,
     "Schemes of one network must all be trained or all be calibrated, not GpfqConfig, "),
])
def test_mappings_that_say_too_little(scheme, kind, message):
    with pytest.raises(kind) as caught:
        quantize_(net(), scheme, **OPTIONS)
    assert str(caught.value).startswith(message)


def test_a_graph_is_built_with_the_schemes_it_was_quantized_with():
    model = quantize_(net(), MAP, **OPTIONS)
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    for other in ({"x": "lsbq-w1a2"}, "lsbq-w1a2"):
        with pytest.raises(FrontendError, match="must have a pattern of its scheme, not '"):
            build(model.graph, tensors, get_scheme(other))


def test_a_registered_name_stands_for_one_scheme():
    before = copy.copy(SCHEMES)
    register_scheme("lsbq-w1a2", LsbqConfig())
    with pytest.raises(ValueError, match="^Scheme name 'lsbq-w1a2' must be a new one, and stands "
                                         r"for LsbqConfig\("):
        register_scheme("lsbq-w1a2", LsbqConfig(weights="ls2"))
    assert before == SCHEMES
