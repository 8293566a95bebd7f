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
    config = MachineConfig(rows=rows, cols=cols, lanes=cols, units=units, code_bits=code_bits,
                           rescale=False)
    block = TileCollector(config)
    rng = random.Random(rows * cols)
    drain = config.drain_cycles
    # Codes of unit 0 begin here; those of unit u come u * drain cycles earlier.
    begins, time = [], rows + 2
    for _tile in range(6):
        begins.append(time)
        time += rows + rng.randrange(4)
    codes, expected = {}, {}
    for begin in begins:
        for unit in range(units):
            for row in range(drain):
                at = begin - unit * drain + row
                together = [rng.getrandbits(code_bits) for _ in range(cols)]
                for col, code in enumerate(together):
                    codes[at + col, col, unit] = code
                expected[at + cols - 1] = sum(
                    code << col * code_bits for col, code in enumerate(together))
    cycles = []
    for cycle in range(time + rows + cols + 2):
        inputs = []
        for col in range(cols):
            for unit in range(units):
                here = (cycle, col, unit)
                port, code = block.codes[col][unit], codes.get(here, rng.getrandbits(code_bits))
                inputs += [(port.valid, int(here in codes)), (port.payload, code)]
        cycles.append(inputs)
    seen = play(block, cycles, [block.row.valid, block.row.payload])
    assert {cycle: row for cycle, (valid, row) in enumerate(seen) if valid} == expected
