# amaranth: UnusedElaboratable=no
"""Descriptors are fetched one layer ahead, and every field is held against its limits."""

import random

import pytest

from tests.bench import play, recorder, simulate, stream_get
from xnorloom.hw.control.fetch import DescriptorFetch
from xnorloom.hw.spec.config import PRESETS, MachineConfig
from xnorloom.hw.spec.cycles import FETCH_CYCLES
from xnorloom.hw.spec.descriptor import DESCRIPTOR, descriptor_limits

WORDS, USED = len(DESCRIPTOR), DESCRIPTOR.used
CONFIG = MachineConfig(rows=3, cols=2, lanes=10, units=3, activation_depth=100, weight_depth=90,
                       scale_depth=80, parameter_depth=60, term_depth=30, tap_depth=50,
                       pair_depth=40, program_depth=9 * WORDS + 5, code_bits=2)


def _random_fields(rng, config):
    return {name: rng.choice([low, high, rng.randint(low, high)])
            for name, (low, high) in descriptor_limits(config).items()}


def _program(block, words):
    """Program memory behind the block's read port; other addresses hold rubbish."""
    async def process(ctx):
        async for _clk, _rst, read, address in ctx.tick().sample(block.read.en, block.read.addr):
            if read:
                ctx.set(block.read.data, words[address] if address < len(words) else 0xFFFFFFFF)
    return process


@pytest.mark.parametrize("config", [
    CONFIG, PRESETS["tiny"], PRESETS["wide"], MachineConfig(rows=4, cols=1, lanes=3, units=2)])
@pytest.mark.parametrize("first, count", [(0, 9), (4, 3), (8, 1)])
def test_layers(config, first, count):
    block = DescriptorFetch(config)
    rng = random.Random(first)
    layers = [_random_fields(rng, config) for _ in range(9)]
    words = [word for layer in layers for word in DESCRIPTOR.pack(**layer)]
    taken = []

    async def bench(ctx):
        ctx.set(block.first, first)
        ctx.set(block.start, 1)
        await ctx.tick()
        ctx.set(block.start, 0)
        ctx.set(block.more, 1)
        for number in range(count):
            # The first tick after start or after the transfer has passed already.
            await ctx.tick().repeat(FETCH_CYCLES - 2)
            assert not ctx.get(block.o.valid), number
            await ctx.tick()
            assert ctx.get(block.o.valid), number
            taken.extend(await stream_get(ctx, block.o, 1, gap=lambda: rng.randrange(3)))
            ctx.set(block.more, number + 1 < count)
        for _ in range(2 * FETCH_CYCLES):
            assert not ctx.get(block.o.valid) and not ctx.get(block.read.en)
            await ctx.tick()

    watch, faults = recorder(block.fault)
    simulate(block, bench, processes=(_program(block, words), watch))
    assert not faults
    if config.units % 2:
        for layer in layers:
            del layer["pixel_pairs"]
    for layer, expected in zip(taken, layers[first:], strict=False):
        assert {name: layer[name] for name, _field in layer.shape()} == expected


def test_every_field_has_its_limits():
    """Just outside its limits, each field is a fault of its word; at its limits it is none."""
    block = DescriptorFetch(CONFIG)
    rng = random.Random(0)
    low_fields = {name: low for name, (low, _high) in descriptor_limits(CONFIG).items()}
    cases, tried = [], 0
    for name, (low, high) in descriptor_limits(CONFIG).items():
        index, _ = DESCRIPTOR.place(name)
        for value in (low, high, low - 1, high + 1, DESCRIPTOR.fields[name].range[1]):
            if 0 <= value <= DESCRIPTOR.fields[name].range[1]:
                cases.append((name, index, value, not low <= value <= high))
                tried += cases[-1][-1]
    assert tried > len(DESCRIPTOR.fields)
    results = []

    async def bench(ctx):
        for name, index, value, _wrong in cases:
            layer = rng.randrange(9)
            words = DESCRIPTOR.pack(**{**low_fields, name: value})
            ctx.set(block.o.ready, 1)
            ctx.set(block.first, layer)
            ctx.set(block.more, 0)
            ctx.set(block.start, 1)
            await ctx.tick()
            ctx.set(block.start, 0)
            found = []
            for cycle in range(USED + 3):
                ctx.set(block.more, cycle < USED)
                _clk, _rst, read, address, fault, where = await ctx.tick().sample(
                    block.read.en, block.read.addr, block.fault, block.fault_address)
                if fault:
                    found.append(where)
                if read:
                    assert address == layer * WORDS + cycle
                    ctx.set(block.read.data, words[cycle])
            results.append((name, value, found == [layer * WORDS + index] if found else None))

    simulate(block, bench)
    for (name, _index, value, wrong), result in zip(cases, results):
        assert result == (name, value, True if wrong else None)


@pytest.mark.parametrize("first, fault", [(9, 9 * WORDS + 5), (10, 10 * WORDS), (8, None)])
def test_the_end_of_the_program(first, fault):
    block = DescriptorFetch(CONFIG)
    words = DESCRIPTOR.pack(**{name: low for name, (low, _high)
                               in descriptor_limits(CONFIG).items()})
    cycles = [[(block.first, first), (block.start, 1), (block.o.ready, 1)]]
    cycles.append([(block.start, 0), (block.more, 1)])
    cycles += [[(block.read.data, word)] for word in words[:USED]] + [[]]
    seen = play(block, cycles, [block.fault, block.fault_address])
    faults = [where for strobe, where in seen if strobe]
    assert faults[:1] == ([fault] if fault is not None else [])


def test_nothing_to_fetch():
    block = DescriptorFetch(CONFIG)
    cycles = [[(block.first, 3), (block.more, 0), (block.start, 1)], [(block.start, 0)]]
    assert not any(any(values) for values in play(
        block, cycles + [[]] * 30, [block.read.en, block.o.valid, block.fault]))
