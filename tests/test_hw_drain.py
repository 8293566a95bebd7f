# amaranth: UnusedElaboratable=no
"""The drain of a column segment loses no count, however close the passes."""

import random

import pytest

from tests.bench import simulate
from xnorloom.hw.array.drain import DrainControl


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 7, 8, 32])
def test_counts_leave_in_order(rows):
    drain = DrainControl(rows)
    rng = random.Random(rows)
    # The top row completes its count of a pass in these cycles, every row below one cycle later.
    tops, time = [], 3
    for gap in [rows, rows, rows + 1, *(rows + rng.randrange(3) for _ in range(20))]:
        tops.append(time)
        time += gap
    completed = {(top + rows - 1 - row, row): (number, row)
                 for number, top in enumerate(tops) for row in range(rows)}
    results, seen = [None] * rows, []

    async def column(ctx):
        for cycle in range(time + 2 * rows + 3):
            ctx.set(drain.loaded, (cycle - 1, 0) in completed)
            _clk, _rst, shift, valid = await ctx.tick().sample(drain.shift, drain.valid)
            if valid:
                seen.append((cycle, results[0]))
            above = [*results[1:], None]
            for row in range(rows):
                if (cycle, row) in completed:
                    results[row] = completed[cycle, row]
                elif shift >> row & 1:
                    results[row] = above[row]

    simulate(drain, column)
    assert seen == [(top + rows + row, (number, row))
                    for number, top in enumerate(tops) for row in range(rows)]
