"""Random torch networks of all operators, in all schemes, on random machines: torch, evaluation,
integer reference and the simulated machine agree in every value of every layer and in every
counter."""

import re
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from tests.graphs import KINDS, random_net
from tests.strategies import machines
from xnorloom.hw.spec.config import MachineConfig
from xnorloom.sim.transport import RtlTransport
from xnorloom.sw import data as datasets
from xnorloom.sw.errors import CompileError
from xnorloom.sw.graph.errors import FrontendError
from xnorloom.sw.graph.evaluate import evaluate
from xnorloom.sw.machine.driver import Driver
from xnorloom.sw.machine.estimate import estimate, estimate_cycles
from xnorloom.sw.machine.reference import ReferenceMachine
from xnorloom.sw.ops.grid import SnapError
from xnorloom.sw.ops.registry import OPERATORS
from xnorloom.sw.passes.compiler import compile_network
from xnorloom.sw.passes.pipeline import lower_model
from xnorloom.sw.passes.quantize import PADDINGS, quantize_
from xnorloom.sw.quantizers import SCHEMES
from xnorloom.sw.quantizers.sawb import PactSawbConfig
from xnorloom.sw.training import nets

GRAPHS_PER_MACHINE = 9


@dataclass
class Tried:
    """What has run, and why the rest did not."""

    ran: int = 0
    values: int = 0
    refused: Counter = field(default_factory=Counter)
    seen: Counter = field(default_factory=Counter)


def quantized(net, scheme, padding, input_bits, batch):
    """The network of a float one, with scales and statistics of a pass in training mode."""
    step = 1 / (1 << input_bits - 1)
    network = quantize_(net, scheme, in_shape=net.in_shape, input_bits=input_bits,
                        input_step=step, padding=padding).train()
    for _ in range(2):
        network(torch.randint(0, 1 << input_bits, (batch, *net.in_shape)) * step)
    images = torch.randint(0, 1 << input_bits, (3, *net.in_shape)) * step
    return network.eval(), images


def features(network):
    """What a quantized graph and its layers are made of."""
    for node in network.graph.nodes:
        yield node.op
        if node.attributes.get("groups", 1) > 1:
            yield "groups"
        if any(each > 1 for each in node.attributes.get("dilation", ())):
            yield "dilation"


def compare(transport, config, network, snapped, images, batch):
    """Runs images everywhere; everything must agree. Returns the values compared."""
    image = compile_network(network, config, batch=batch)
    wanted, result = snapped.trace(images), snapped(images).numpy()
    images = images.reshape(-1, *network.in_shape).numpy()
    found = evaluate(network, network.encode(images))
    runs = []
    for machine in (ReferenceMachine(config), transport):
        driver = Driver(machine, image)
        driver.reset()
        driver.load()
        runs.append((driver.run(images, observe=True), driver.run(images)))
    (reference, reference_plain), (rtl, rtl_plain) = runs
    for name, values in wanted.items():
        for what, maps in (("evaluate", found), ("reference", reference.maps), ("rtl", rtl.maps)):
            np.testing.assert_array_equal(maps[name], values, err_msg=f"{what}: {name}")
    np.testing.assert_array_equal(rtl_plain.outputs, reference_plain.outputs)
    np.testing.assert_array_equal(rtl_plain.outputs, rtl.outputs)
    np.testing.assert_array_equal(rtl.outputs, result)
    last = network.layers[-1].name
    np.testing.assert_array_equal(network.result(found[last]), result)
    for row, counters in zip(estimate(image), rtl_plain.batches[0].layers, strict=True):
        for counter in ("cycles", "busy", "stalled_on_drain", "stalled_on_output",
                        "stalled_on_input"):
            assert row[counter] == counters[counter], (row["name"], counter)
    assert rtl_plain.layers == reference_plain.layers
    assert rtl_plain.cycles == estimate_cycles(image) * len(rtl_plain.batches)
    return sum(values.size for values in wanted.values())


def attempt(rng, config, transport, tried):
    """Runs a random network, unless it is refused."""
    def pick(choices):
        return choices[rng.integers(len(choices))]

    scheme, seed = pick(sorted(SCHEMES)), int(rng.integers(1 << 30))
    net = random_net(seed, pick(KINDS))
    options = pick(PADDINGS), pick(range(1, 9)), pick((2, 8))
    note(f"{config}\n{scheme}, {options}, seed {seed}: {net}")
    try:
        network, images = quantized(net, scheme, *options)
        lowered, snapped = lower_model(network, scale_bits=config.scale_bits,
                                       acc_bits=config.acc_bits, count_bits=config.count_bits)
        values = compare(transport, config, lowered, snapped, images, pick((1, 2, None)))
    except (CompileError, FrontendError, SnapError) as error:
        # One sentence that says who is refused.
        assert re.match(r"[A-Z].*'[\w.]+'", str(error)), str(error)
        tried.refused[type(error).__name__, re.sub(r"'[\w.]+'|[-\d.]+", "_", str(error))] += 1
        return False
    tried.ran += 1
    tried.values += values
    tried.seen.update({*features(network), scheme})
    return True


def run_random_graphs(machine_count):
    """So many machines, several graphs on each."""
    tried = Tried()

    @settings(max_examples=machine_count, phases=(Phase.generate,), database=None,
              suppress_health_check=list(HealthCheck))
    @given(data=st.data())
    def check(data):
        # Most schemes have codes of 2 bits or more.
        config = data.draw(machines(code_bits=data.draw(st.sampled_from([2, 4, 4, 4]))))
        rng, ran = np.random.default_rng(data.draw(st.integers(0, 1 << 30))), 0
        with RtlTransport(config, optimize=1) as transport:
            for _ in range(4 * GRAPHS_PER_MACHINE):
                ran += attempt(rng, config, transport, tried)
                if ran == GRAPHS_PER_MACHINE:
                    break

    check()
    return tried


def test_random_graphs_on_random_machines():
    # Building a machine takes the time, so each runs several graphs.
    tried = run_random_graphs(4)
    assert tried.ran >= 30, tried.refused


@pytest.mark.parametrize("fields, kinds", [
    ({"rows": 4, "units": 2}, ("mlp", "cnn", "resnet", "mobilenet")),
    ({"rows": 3, "acc_bits": 20, "code_bits": 1}, ("mlp", "cnn", "resnet"))], ids=str)
def test_wide_codes(fields, kinds):
    config = MachineConfig(cols=4, lanes=16, **fields)
    about = datasets.info("digits")
    with RtlTransport(config, optimize=1) as transport:
        for bits, kind in enumerate(kinds, 5):
            torch.manual_seed(bits)
            net = nets.NETS[kind](about, width=4)
            net.in_shape = about.in_shape
            for module in net.modules():
                if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                    torch.nn.init.normal_(module.bias, std=1.5)
            network, images = quantized(net, PactSawbConfig(activation_bits=bits), "code", 5, 4)
            lowered, snapped = lower_model(network, scale_bits=config.scale_bits,
                                           acc_bits=config.acc_bits, count_bits=config.count_bits)
            assert compare(transport, config, lowered, snapped, images, None) > 50
            offsets = [layer.offsets is not None for layer in snapped.layers]
            assert any(offsets) == (config.acc_bits == 20)


@pytest.mark.slow
def test_many_random_graphs_on_random_machines():
    tried = run_random_graphs(38)
    assert tried.ran >= 300, tried.refused
    # Softmax is the host's, padding goes into convolutions, nothing becomes of an identity.
    assert not {*SCHEMES, *OPERATORS, "groups", "dilation"} - tried.seen.keys() - {
        "softmax", "log_softmax", "padding", "identity"}
