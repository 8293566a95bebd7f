# amaranth: UnusedElaboratable=no
"""A queue loses, invents and reorders nothing, and passes a payload per cycle."""

import random
import re

import pytest
from amaranth.lib import data

from tests.bench import play, simulate, stream_get, stream_put
from xnorloom.hw.common.queue import Queue

WORD = data.StructLayout({"word": 8, "last": 1})


@pytest.mark.parametrize("depth", [3, 4, 7])
@pytest.mark.parametrize("put, get", [(0, 0), (0, 3), (3, 0), (2, 2)])
def test_payloads_in_order(depth, put, get):
    queue = Queue(WORD, depth)
    rng = random.Random(depth)
    sent = [WORD.const({"word": rng.getrandbits(8), "last": rng.getrandbits(1)})
            for _ in range(60)]
    taken = []

    async def source(ctx):
        await stream_put(ctx, queue.i, sent, gap=lambda: rng.randint(0, put))

    async def sink(ctx):
        assert ctx.get(queue.empty)
        taken.extend(await stream_get(ctx, queue.o, len(sent), gap=lambda: rng.randint(0, get)))
        assert ctx.get(queue.empty) and not ctx.get(queue.o.valid)

    simulate(queue, source, sink)
    assert taken == sent


@pytest.mark.parametrize("depth", [3, 5])
def test_a_payload_per_cycle_and_no_more_than_its_depth(depth):
    queue = Queue(4, depth)
    flow = [[(queue.i.valid, 1), (queue.o.ready, 1)]] + [[]] * 20
    seen = play(queue, flow, [queue.i.ready, queue.o.valid])
    assert seen == [(1, 0)] * 2 + [(1, 1)] * 19
    queue = Queue(4, depth)
    stuck = [[(queue.i.valid, 1), (queue.o.ready, 0)]] + [[]] * 20
    assert sum(ready for ready, in play(queue, stuck, [queue.i.ready])) == depth


@pytest.mark.parametrize("depth", [0, 2, 3.0])
def test_depth_is_checked(depth):
    message = f"Queue depth must be an integer of at least 3, not {depth!r}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Queue(4, depth)
