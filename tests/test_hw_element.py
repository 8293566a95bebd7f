# amaranth: UnusedElaboratable=no
"""The processing element hands operands on and counts mismatches from pass to pass."""

import random

import pytest

from tests.bench import play
from xnorloom.hw.array.element import ProcessingElement, element_latency
from xnorloom.hw.spec.config import MachineConfig


@pytest.mark.parametrize("lanes, stages, doubling, count_bits", [
    (1, 1, True, 4), (3, 2, False, 4), (7, 1, False, 5), (20, 2, True, 16), (32, 1, True, 17)])
def test_random_steps(lanes, stages, doubling, count_bits):
    config = MachineConfig(rows=1, cols=1, lanes=lanes, popcount_stages=stages, doubling=doubling,
                           count_bits=count_bits)
    element = ProcessingElement(config)
    rng = random.Random(lanes)
    top, wrap = (1 << lanes) - 1, 1 << count_bits
    latency = element_latency(config)
    assert latency == 2 + stages
    steps = []
    for _ in range(500):
        steps.append({
            "activation": rng.choice([0, top, rng.getrandbits(lanes)]),
            "weight": rng.choice([0, rng.getrandbits(lanes)]), "valid": rng.random() < 0.8,
            "clear": rng.random() < 0.2, "double": rng.random() < 0.3, "last": rng.random() < 0.2,
            "shift": rng.random() < 0.4, "above": rng.randrange(wrap)})
        steps[-1]["last"] &= steps[-1]["valid"]
    cycles = []
    for step in steps:
        flags = {name: int(step[name]) for name in ("valid", "clear", "double", "last")}
        cycles.append([(element.activation_i, step["activation"]),
                       (element.weight_i, step["weight"]), (element.flags_i, flags),
                       (element.shift, int(step["shift"])), (element.above, step["above"])])

    count, finished = 0, {}
    for cycle, step in enumerate(steps):
        if step["valid"]:
            kept = 2 * count if doubling and step["double"] else count
            mismatches = (step["activation"] ^ step["weight"]).bit_count()
            count = ((0 if step["clear"] else kept) + mismatches) % wrap
            if step["last"]:
                finished[cycle + latency] = count
    result = 0
    seen = play(element, cycles, [
        element.result, element.loaded, element.activation_o, element.weight_o,
        element.flags_o.valid, element.flags_o.clear, element.flags_o.double,
        element.flags_o.last])
    for cycle, (shown, loaded, activation, weight, *flags) in enumerate(seen):
        # What was shifted in the cycle before shows now, unless a count was completed.
        if cycle in finished:
            result = finished[cycle]
        elif cycle and steps[cycle - 1]["shift"]:
            result = steps[cycle - 1]["above"]
        assert (shown, loaded) == (result, cycle in finished), cycle
        if cycle:
            before = steps[cycle - 1]
            assert (activation, weight) == (before["activation"], before["weight"])
            assert flags == [before[name] for name in ("valid", "clear", "double", "last")]
    assert len(finished) > 50
