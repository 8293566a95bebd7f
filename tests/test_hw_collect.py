# amaranth: UnusedElaboratable=no
"""The collector brings the codes of all columns of a row together."""

import random

import pytest

from tests.bench import play
from xnorloom.hw.output.collect import TileCollector
from xnorloom.hw.spec.config import MachineConfig


@pytest.mark.parametrize("rows, cols, units, code_bits", [
    (1, 1, 1, 1), (2, 3, 1, 2), (3, 2, 3, 4), (8, 4, 2, 3), (5, 5, 1, 4), (6, 1, 2, 1)])
def test_rows(rows, cols, units, code_bits):
    config = MachineConfig(rows=rows, cols=cols, lanes=cols, units=units, code_bits=code_bits)
    block = TileCollector(config)
    rng = random.Random(rows * cols)
    drain = config.drain_cycles
    # Codes of unit 0 begin here; those of unit u come u * drain cycles earlier.
    begins, time = [], rows + 2
    for _tile in range(6):
        begins.append(time)
        time += rows + rng.randrange(4)
    codes, rows_seen, ready = {}, {}, []
    for begin in begins:
        for unit in range(units):
            for row in range(drain):
                at = begin - unit * drain + row
                together = [rng.getrandbits(code_bits) for _ in range(cols)]
                for col, code in enumerate(together):
                    codes[at + col, col, unit] = code
                rows_seen[at + cols - 1, unit] = sum(
                    code << col * code_bits for col, code in enumerate(together))
        ready.append(begin + drain + cols - 1)
    length = time + rows + cols + 2
    cycles = []
    for cycle in range(length):
        inputs = [(block.start, int(cycle == 0))]
        for col in range(cols):
            for unit in range(units):
                here = (cycle, col, unit)
                port, code = block.codes[col][unit], codes.get(here, rng.getrandbits(code_bits))
                inputs += [(port.valid, int(here in codes)), (port.payload, code)]
        cycles.append(inputs)
    seen = play(block, cycles, [block.ready, *(row.valid for row in block.rows),
                                *(row.payload for row in block.rows)])
    assert [cycle for cycle, values in enumerate(seen) if values[0]] == ready
    for cycle, values in enumerate(seen):
        for unit in range(units):
            assert values[1 + unit] == ((cycle, unit) in rows_seen), (cycle, unit)
            if values[1 + unit]:
                assert values[1 + units + unit] == rows_seen[cycle, unit], (cycle, unit)


def test_a_new_layer_forgets_rows_of_an_aborted_one():
    config = MachineConfig(rows=4, cols=1, lanes=1)
    block = TileCollector(config)
    valid = [0, 1, 1, 0, 0, 1, 1, 1, 1, 0, 0]
    cycles = [[(block.start, int(cycle == 3)), (block.codes[0][0].valid, value)]
              for cycle, value in enumerate(valid)]
    seen = [ready for ready, in play(block, cycles, [block.ready])]
    assert [cycle for cycle, ready in enumerate(seen) if ready] == [9]
