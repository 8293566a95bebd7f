# amaranth: UnusedElaboratable=no
"""The checksum of the link is zlib's, one word per cycle."""

import random
import zlib

from tests.bench import play
from xnorloom.hw.link.checksum import Checksum


def test_frames():
    block = Checksum()
    rng = random.Random(0)
    words = [*(1 << bit for bit in range(32)), 0, 0xFFFFFFFF]
    cycles, expected, shown, whole, pending = [], [], 0, 0, False
    for cycle in range(600):
        valid = cycle < 100 or rng.random() < 0.7
        start = cycle == 0 or rng.random() < 0.1
        word = rng.choice(words) if rng.random() < 0.5 else rng.getrandbits(32)
        cycles.append([(block.valid, int(valid)), (block.start, int(start)), (block.data, word)])
        # A word waits for a cycle before it counts.
        expected.append((shown, pending))
        shown, pending = whole, valid
        if valid:
            whole = zlib.crc32(word.to_bytes(4, "little"), 0 if start else whole)
    seen = play(block, cycles, [block.crc, block.pending])
    assert seen == expected
