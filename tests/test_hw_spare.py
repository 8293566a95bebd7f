# amaranth: UnusedElaboratable=no
"""A spare place loses, invents and reorders nothing, and costs no cycle."""

import random

import pytest

from tests.bench import play, simulate, stream_get, stream_put
from xnorloom.hw.common.spare import Spare


@pytest.mark.parametrize("put, get", [(0, 0), (0, 3), (3, 0), (2, 2)])
def test_payloads_in_order(put, get):
    spare, rng, taken = Spare(8), random.Random(put), []
    sent = [rng.getrandbits(8) for _ in range(80)]

    async def source(ctx):
        await stream_put(ctx, spare.i, sent, gap=lambda: rng.randint(0, put))

    async def sink(ctx):
        taken.extend(await stream_get(ctx, spare.o, len(sent), gap=lambda: rng.randint(0, get)))
        assert not ctx.get(spare.o.valid)

    simulate(spare, source, sink)
    assert taken == sent


def test_no_cycle_is_lost_and_readiness_does_not_pass_through():
    spare = Spare(4)
    cycles = [[(spare.i.valid, 1), (spare.o.ready, ready)] for ready in (1, 1, 0, 0, 1, 1)]
    seen = play(spare, cycles, [spare.o.valid, spare.i.ready])
    assert seen == [(1, 1), (1, 1), (1, 1), (1, 0), (1, 0), (1, 1)]
