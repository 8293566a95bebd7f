# amaranth: UnusedElaboratable=no
"""Readback streams a range of activation entries or counters, low words first."""

import random

import pytest

from tests.bench import simulate, stream_get
from xnorloom.hw.link.readback import PROBE_LATENCY, Readback
from xnorloom.hw.spec.config import MachineConfig
from xnorloom.hw.spec.memory import PROFILE_LAYERS, Memory


def _read(lanes, sections, gap=lambda: 0):
    """Words and length of every section, from banks filled at random."""
    config = MachineConfig(rows=3, cols=1, lanes=lanes, activation_depth=20)
    block = Readback(config)
    rng = random.Random(lanes)
    banks = [[rng.getrandbits(lanes) for _ in range(20)] for _ in range(3)]
    counters = [rng.getrandbits(32) for _ in range(8 * PROFILE_LAYERS)]
    answers = []

    async def bench(ctx):
        for memory, bank, start, count in sections:
            words = count * (1 if memory == Memory.PROFILE else -(-lanes // 32))
            ctx.set(block.section, {"memory": memory, "bank": bank, "start": start,
                                    "count": count})
            ctx.set(block.start, 1)
            await ctx.tick()
            ctx.set(block.start, 0)
            assert ctx.get(block.length) == words
            answers.append(await stream_get(ctx, block.o, words, gap=gap,
                                            limit=PROBE_LATENCY + 13))
            assert not ctx.get(block.active)
            for _ in range(10):
                await ctx.tick()
                assert not ctx.get(block.o.valid)

    async def machine(ctx):
        pipeline = [None] * (PROBE_LATENCY - 1)
        async for _clk, _rst, valid, bank, address, profile in ctx.tick().sample(
                block.probe.valid, block.probe.bank, block.probe.address,
                block.profile_address):
            pipeline.append(banks[bank][address] if valid else None)
            word = pipeline.pop(0)
            # The word is there for one cycle only.
            ctx.set(block.activations, rng.getrandbits(lanes) if word is None else word)
            ctx.set(block.profile, counters[profile])

    simulate(block, bench, processes=(machine,))
    expected = []
    for memory, bank, start, count in sections:
        if memory == Memory.PROFILE:
            expected.append(counters[start:start + count])
        else:
            expected.append([entry >> 32 * part & 0xFFFFFFFF
                             for entry in banks[bank][start:start + count]
                             for part in range(-(-lanes // 32))])
    assert answers == expected


@pytest.mark.parametrize("lanes", [1, 32, 33, 64, 100, 160])
def test_activations(lanes):
    _read(lanes, [(Memory.ACTIVATIONS, 0, 0, 20), (Memory.ACTIVATIONS, 2, 19, 1),
                  (Memory.ACTIVATIONS, 1, 7, 5)])


def test_counters():
    _read(40, [(Memory.PROFILE, 0, 0, 16), (Memory.PROFILE, 0, 8 * PROFILE_LAYERS - 1, 1),
               (Memory.ACTIVATIONS, 2, 0, 2), (Memory.PROFILE, 0, 100, 3)])


def test_nothing_to_read():
    _read(40, [(Memory.PROFILE, 0, 4, 0), (Memory.ACTIVATIONS, 1, 4, 0),
               (Memory.ACTIVATIONS, 1, 4, 1)])


def test_slow_host():
    rng = random.Random(2)
    _read(70, [(Memory.ACTIVATIONS, 1, 3, 9), (Memory.PROFILE, 0, 8, 9)],
          gap=lambda: rng.choice([0, 1, 5]))
