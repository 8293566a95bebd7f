"""Rotation of rows and banks by log-shift stages, for any number of rows."""

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
    count = len(items)
    for stage in range((count - 1).bit_length()):
        step = -(1 << stage) if up else 1 << stage
        turned = [Signal.like(item, name=f"{name}_{stage}_{r}") for r, item in enumerate(items)]
        for r in range(count):
            m.d.comb += turned[r].eq(Mux(amount[stage], items[(r + step) % count], items[r]))
        items = turned
    return items


class Rotator(wiring.Component):
    """Brings bank ``(r + rotation) mod rows`` to row r.

    Latency is one cycle; throughput is one word per row and cycle.

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
        turned = rotated(m, list(self.banks), self.rotation, name="turned")
        m.d.sync += [self.rows[r].eq(turned[r]) for r in range(self.count)]
        return m
