# amaranth: UnusedElaboratable=no
"""The sequencer runs layers back to back; the profiler keeps the counters of each."""

import random

import pytest

from tests.bench import recorder, simulate
from xnorloom.hw.control.profile import Profiler
from xnorloom.hw.control.sequencer import Sequencer
from xnorloom.hw.spec.config import PRESETS
from xnorloom.hw.spec.cycles import FETCH_CYCLES
from xnorloom.hw.spec.memory import PROFILE_COUNTERS, PROFILE_LAYERS

CONFIG = PRESETS["tiny"]


@pytest.mark.parametrize("seed", range(3))
def test_runs(seed):
    """Three records are offered at once and taken one by one; with the last a layer ends."""
    block = Sequencer(CONFIG)
    rng = random.Random(seed)
    runs = [[(rng.choice([0, 0, 1, 6]), [rng.randint(1, 9) for _ in range(3)],
              rng.randrange(1, 100)) for _ in range(count)] for count in (3, 0, 1, 5)]
    records = (block.feed, block.column, block.output)

    async def bench(ctx):
        async def cycle(**expected):
            _clk, _rst, *seen = await ctx.tick().sample(
                block.start, block.waiting, block.active, block.done, block.layer_done,
                block.i.ready)
            expected = {"start": 0, "waiting": 0, "active": 1, "done": 0, "layer_done": 0,
                        **expected}
            assert dict(zip(expected, seen)) == expected
            assert seen[5] == expected["waiting"]

        for number, layers in enumerate(runs):
            ctx.set(block.run, 1)
            ctx.set(block.first, 7 * number)
            ctx.set(block.count, len(layers))
            await cycle(active=0)
            ctx.set(block.run, 0)
            total = 0
            for index, (wait, durations, tiles) in enumerate(layers):
                assert ctx.get(block.layers) == index and ctx.get(block.more)
                for _ in range(wait):
                    await cycle(waiting=1)
                ctx.set(block.i.valid, 1)
                ctx.set(block.i.payload, {"pixel_tiles": tiles, "passes": tiles + 1})
                await cycle(waiting=1)
                assert ctx.get(block.more) == (index + 1 < len(layers))
                # The next one may be there at once, but is not looked at before its time.
                ctx.set(block.i.valid, index + 1 < len(layers) and layers[index + 1][0] == 0)
                ctx.set(block.i.payload, {"pixel_tiles": 999})
                for passed in range(max(durations)):
                    for record, duration in zip(records, durations, strict=True):
                        assert ctx.get(record.valid) == (passed < duration)
                        assert ctx.get(record.payload.pixel_tiles) == tiles
                        ctx.set(record.ready, passed == duration - 1)
                    assert ctx.get(block.column.payload.passes) == tiles + 1
                    assert ctx.get(block.index) == 7 * number + index
                    await cycle(start=passed == 0, layer_done=passed == max(durations) - 1)
                for record in records:
                    ctx.set(record.ready, 0)
                total += wait + 1 + max(durations)
            assert ctx.get(block.cycles) == total
            assert ctx.get(block.layers) == len(layers)
            await cycle(done=1)
            for _ in range(number):
                await cycle(active=0)
            assert ctx.get(block.layers) == len(layers)

    simulate(block, bench)


def test_profile():
    block = Profiler()
    rng = random.Random(0)
    # A layer starts at least 2 cycles after the last one ended, and waits no longer than a fetch.
    layers = [(index, rng.choice([1, 1, 2, FETCH_CYCLES]), rng.randint(7, 40))
              for index in [0, 1, 2, 63, 64, 65, 200, 65535]]
    expected = []

    async def bench(ctx):
        for index, wait, duration in layers:
            counts = dict.fromkeys(PROFILE_COUNTERS, 0)
            counts["cycles"], counts["stalled_on_input"] = duration, wait
            ctx.set(block.done, 0)
            ctx.set(block.events, 0b1000)
            await ctx.tick().repeat(wait)
            ctx.set(block.index, index)
            for cycle in range(duration):
                event = rng.choice(["busy", "stalled_on_drain", "stalled_on_output", None])
                # The first step comes 4 cycles after the start at the earliest.
                event = event if cycle >= 4 else None
                if event:
                    counts[event] += 1
                ctx.set(block.events, 1 << PROFILE_COUNTERS.index(event) - 1 if event else 0)
                ctx.set(block.start, cycle == 0)
                ctx.set(block.done, cycle == duration - 1)
                await ctx.tick()
            expected.extend((8 * (index % PROFILE_LAYERS) + place, counts[name])
                            for place, name in enumerate(PROFILE_COUNTERS))
        ctx.set(block.done, 0)
        ctx.set(block.events, 0)
        await ctx.tick().repeat(10)

    watch, seen = recorder(block.write, block.address, block.data)
    simulate(block, bench, processes=(watch,))
    assert [(address, value) for _cycle, address, value in seen] == expected
