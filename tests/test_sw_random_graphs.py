"""Random networks of all operators, in all schemes: torch is the integers, and every pass is held
against what it was given."""

import numpy as np
import pytest
import torch

from tests.graphs import KINDS, random_net
from xnorloom.hw.spec.config import PRESETS
from xnorloom.sw.errors import CompileError
from xnorloom.sw.graph.errors import FrontendError
from xnorloom.sw.graph.network import binary_table
from xnorloom.sw.graph.text import parse, to_text
from xnorloom.sw.machine.driver import Driver
from xnorloom.sw.machine.image import Image
from xnorloom.sw.machine.reference import ReferenceMachine
from xnorloom.sw.passes.compiler import compile_network
from xnorloom.sw.passes.golden import check_codes, check_fused
from xnorloom.sw.passes.lower import lower
from xnorloom.sw.passes.quantize import quantize_
from xnorloom.sw.passes.snap import snap
from xnorloom.sw.quantizers import SCHEMES

NAMES = sorted(SCHEMES)
MACHINES = (PRESETS["tiny"], PRESETS["default"])


def quantized(seed):
    """A random network in evaluation mode, with activation scales of a few batches."""
    model = random_net(seed, KINDS[seed % len(KINDS)])
    network = quantize_(model, NAMES[seed % len(NAMES)], in_shape=model.in_shape, input_bits=3,
                        input_step=0.25, padding=("code", "zero")[seed // 2 % 2]).train()
    images = torch.randint(0, 8, (8, *model.in_shape)) / 4
    for _ in range(6):
        network(images)
    return network.eval(), images


def check(seed):
    try:
        network, images = quantized(seed)
    except FrontendError as error:
        # Averages of uneven levels have limits of their own.
        assert "average" in str(error)
        return
    assert parse(to_text(network.graph)) == network.graph
    snapped = snap(network)
    check_fused(network, snapped)
    lowered = lower(snapped)
    check_codes(snapped, lowered)
    for layer in lowered.layers:
        if layer.format is not None and layer.format.planes > 4:
            assert np.array_equal(layer.format.table, binary_table(layer.format.planes))
        for term in layer.terms:
            assert term.border is None or any(term.padding)
    result = snapped(images)
    assert result.shape == network(images).shape
    for machine in MACHINES:
        try:
            image = compile_network(lowered, machine)
        except CompileError:
            continue
        driver = Driver(ReferenceMachine(machine), Image.from_bytes(image.to_bytes()))
        driver.load()
        np.testing.assert_array_equal(driver.run(images.numpy()).outputs, result.numpy())
        break


@pytest.mark.parametrize("seed", range(30))
def test_integers_are_torch(seed):
    check(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(30, 300))
def test_integers_are_torch_in_many_networks(seed):
    check(seed)
