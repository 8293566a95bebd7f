# amaranth: UnusedElaboratable=no
"""Frames for the host are what the ground floor says a frame is."""

import random

import pytest

from tests.bench import checksum, recorder, simulate, stream_get, stream_put
from xnorloom.hw.link.framer import Framer
from xnorloom.hw.spec.config import PRESETS
from xnorloom.hw.spec.link import Opcode, frame

CONFIG = PRESETS["tiny"]


@pytest.mark.parametrize("host", ["ready", "slow"])
@pytest.mark.parametrize("source", ["ready", "slow"])
def test_frames(host, source):
    sender = Framer(CONFIG)
    rng = random.Random(host + source)
    frames = [(rng.choice([Opcode.RESULT, Opcode.DATA, Opcode.DONE]),
               [rng.choice([0, 0xFFFFFFFF, rng.getrandbits(32)]) for _ in range(length)])
              for length in (1, 0, 2, 17, 1, 0, 64)]
    words = [word for opcode, payload in frames
             for word in frame(opcode, payload, CONFIG.fingerprint)]
    gaps = {"ready": lambda: 0, "slow": lambda: rng.choice([0, 0, 1, 4])}
    taken = []

    async def request(ctx):
        for opcode, payload in frames:
            ctx.set(sender.request, 1)
            ctx.set(sender.opcode, opcode)
            ctx.set(sender.length, len(payload))
            await ctx.tick().until(sender.idle)
            ctx.set(sender.request, 0)
            # It must have been remembered.
            ctx.set(sender.opcode, 0x55)
            ctx.set(sender.length, 3)
            await stream_put(ctx, sender.i, payload, gap=gaps[source])
            while not ctx.get(sender.idle):
                await ctx.tick()

    async def receive(ctx):
        taken.extend(await stream_get(ctx, sender.o, len(words), gap=gaps[host], limit=20))

    watch, sent = recorder(sender.sent)
    simulate(sender, request, receive, processes=(
        watch, checksum(sender.checksum, late=source == "slow")))
    ends = {sum(len(payload) + 4 for _opcode, payload in frames[:k + 1]) - 1
            for k in range(len(frames))}
    assert [(taken_word["word"], taken_word["last"]) for taken_word in taken] == [
        (word, index in ends) for index, word in enumerate(words)]
    assert len(sent) == len(frames)
    if host == source == "ready":
        ends, cycle = [], -1
        for _opcode, payload in frames:
            cycle += len(payload) + 5
            ends.append((cycle,))
        assert sent == ends
