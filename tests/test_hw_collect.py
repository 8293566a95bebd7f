# amaranth: UnusedElaboratable=no
"""The collector brings the codes of all columns of a row together."""

import random

import pytest

from tests.bench import play
from xnorloom.hw.output.collect import TileCollector
from xnorloom.hw.spec.config import MachineConfig


def _played(config, apart):
    """What the collector shows in every cycle, and the rows of both halves that it should:
    ``cycle -> row``. Tiles come ``apart()`` cycles one behind the other."""
    block = TileCollector(config)
    rows, cols, units, bits = config.rows, config.cols, config.units, config.code_bits
    rng = random.Random(rows * cols)
    drain = config.drain_cycles
    # Codes of unit 0 begin here; those of unit u come u * drain cycles earlier.
    begins, time = [], rows + 2
    for _tile in range(6):
        begins.append(time)
        time += apart()
    codes, expected = {}, ({}, {})
    for begin in begins:
        for unit in range(units):
            for row in range(drain):
                at = begin - unit * drain + row
                together = [rng.getrandbits(bits) for _ in range(cols)]
                for col, code in enumerate(together):
                    assert (at + col, col, unit) not in codes
                    codes[at + col, col, unit] = code
                expected[2 * unit < units][at + cols - 1] = sum(
                    code << col * bits for col, code in enumerate(together))
    cycles = []
    for cycle in range(time + rows + cols + 2):
        inputs = []
        for col in range(cols):
            for unit in range(units):
                here = (cycle, col, unit)
                port, code = block.codes[col][unit], codes.get(here, rng.getrandbits(bits))
                inputs += [(port.valid, int(here in codes)), (port.payload, code)]
        cycles.append(inputs)
    streams = [block.row, *([block.second] if config.pixels_per_cycle == 2 else [])]
    seen = play(block, cycles, [signal for each in streams
                                for signal in (each.valid, each.payload)])
    return seen, expected


@pytest.mark.parametrize("rows, cols, units, code_bits", [
    (1, 1, 1, 1), (2, 3, 1, 2), (3, 2, 3, 4), (5, 5, 1, 4), (9, 1, 3, 1)])
def test_rows(rows, cols, units, code_bits):
    config = MachineConfig(rows=rows, cols=cols, lanes=cols, units=units, code_bits=code_bits,
                           rescale=False)
    rng = random.Random(rows)
    seen, (first, second) = _played(config, lambda: rows + rng.randrange(4))
    assert {cycle: row for cycle, (valid, row) in enumerate(seen) if valid} == first | second


@pytest.mark.parametrize("rows, cols, units, code_bits", [
    (2, 3, 2, 2), (4, 1, 2, 4), (4, 2, 4, 1), (6, 1, 2, 3), (8, 4, 2, 3), (12, 2, 6, 2)])
def test_halves_side_by_side(rows, cols, units, code_bits):
    config = MachineConfig(rows=rows, cols=cols, lanes=cols, units=units, code_bits=code_bits,
                           rescale=False)
    rng = random.Random(rows)
    seen, expected = _played(config, lambda: rows // 2 + rng.choice([0, 0, 1, 3]))
    for half, rows_of in enumerate(expected):
        assert {cycle: values[2 * half + 1] for cycle, values in enumerate(seen)
                if values[2 * half]} == rows_of
    assert expected[0].keys() & expected[1].keys()
