"""Rotation of rows and banks by log-shift stages, for any number of rows."""

from functools import reduce
from operator import or_

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Rotator", "rotated"]


def rotated(m, items, amount, *, name, up=False):
    """Rotates a list of values by ``amount`` places, which must be below their number.

    Result r is item ``(r + amount) mod n``, or item ``(r - amount) mod n`` if ``up``. Costs one
    multiplexer per item and bit of ``amount``; no power of two is needed, because rotations
    compose.
    """
    for stage in range((len(items) - 1).bit_length()):
        items = _turned(m, items, amount[stage], -(1 << stage) if up else 1 << stage,
                        name=f"{name}_{stage}")
    return items


def _turned(m, items, turn, step, *, name):
    turned = [Signal.like(item, name=f"{name}_{r}") for r, item in enumerate(items)]
    m.d.comb += [new.eq(Mux(turn, items[(r + step) % len(items)], items[r]))
                 for r, new in enumerate(turned)]
    return turned


class Rotator(wiring.Component):
    """Brings bank ``(r + rotation) mod rows`` to row r.

    The words of the banks are registered first, once for every value of the low two bits of
    ``rotation``, and all but one of these registers are reset: a choice among four words is then a
    single or, which is half the logic of two stages, and a reset costs none. What is left of
    ``rotation`` turns the rows in further stages. Latency is two cycles; throughput is one word per
    row and cycle.

    Parameters
    ----------
    rows : int
        Rows, and banks.
    width : int
        Bits of a word.

    Members
    -------
    banks : In(width).array(rows)
        Words of the banks.
    rotation : In(range(rows))
        Bank of row 0.
    rows : Out(width).array(rows)
        Words of the rows.
    """

    def __init__(self, rows, width):
        self.count = rows
        super().__init__({
            "banks": In(width).array(rows), "rotation": In(range(max(rows, 2))),
            "rows": Out(width).array(rows),
        })

    def elaborate(self, platform):
        m = Module()
        near = self.rotation[:2]
        later = Signal.like(self.rotation)
        m.d.sync += later.eq(self.rotation)
        copies = [[Signal.like(word, name=f"bank_{b}_{turn}")
                   for turn in range(min(self.count, 4))]
                  for b, word in enumerate(self.banks)]
        for word, registers in zip(self.banks, copies, strict=True):
            m.d.sync += [register.eq(Mux(near == turn, word, 0))
                         for turn, register in enumerate(registers)]
        turned = [reduce(or_, (copies[(r + turn) % self.count][turn]
                               for turn in range(min(self.count, 4))))
                  for r in range(self.count)]
        for stage in range(2, (self.count - 1).bit_length()):
            turned = _turned(m, turned, later[stage], 1 << stage, name=f"turned_{stage}")
        m.d.sync += [row.eq(word) for row, word in zip(self.rows, turned, strict=True)]
        return m
