"""Popcount of mismatches: the one place where its shape is decided."""

from collections import deque

from amaranth.hdl import Cat, Const, Instance, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..common.delay import Delay

__all__ = ["COUNTONES_MODULE", "MismatchCount", "STRATEGIES"]

STRATEGIES = ("plain", "countones")
"""Shapes of the popcount; shapes per FPGA family join here."""

GROUP = 15
"""Lanes counted before the middle register of a popcount of two stages: what fills a number of four
bits."""

COUNTONES_MODULE = """\
module xnorloom_countones #(
    parameter LANES = 1,
    parameter BITS = 1
) (
    input [LANES-1:0] a,
    input [LANES-1:0] b,
    output [BITS-1:0] count
);
    assign count = $countones(a ^ b);
endmodule
"""
"""Verilog behind the ``countones`` strategy: one call where the simulator has a native popcount."""


class MismatchCount(wiring.Component):
    """Counts the lanes in which two words differ.

    Latency is ``stages`` cycles; throughput is one word per cycle. All strategies are equal bit for
    bit and cycle for cycle.

    Parameters
    ----------
    lanes : int
        Bits of a word.
    stages : int
        Register stages: 1 at the output, 2 also after groups of 15 lanes.
    strategy : str
        ``plain``: full adders and sums, left to the synthesis tool. ``countones``: the simulator's
        own popcount; needs :data:`COUNTONES_MODULE` beside the Verilog.

    Members
    -------
    a, b : In(lanes)
        Words.
    count : Out(range(lanes + 1)), carry : Out(1)
        Their sum is the number of mismatches; the adder behind has a carry to spare.

    Raises
    ------
    ValueError
        If the strategy is unknown.
    """

    def __init__(self, lanes, *, stages=1, strategy="plain"):
        if strategy not in STRATEGIES:
            raise ValueError(f"Popcount strategy must be one of {', '.join(STRATEGIES)}, "
                             f"not {strategy!r}")
        self.lanes = lanes
        self.stages = stages
        self.strategy = strategy
        super().__init__({"a": In(lanes), "b": In(lanes), "count": Out(range(lanes + 1)),
                          "carry": Out(1)})

    def elaborate(self, platform):
        m = Module()
        if self.strategy == "countones":
            count = Signal.like(self.count)
            m.submodules.countones = Instance(
                "xnorloom_countones", p_LANES=self.lanes, p_BITS=len(count),
                i_a=self.a, i_b=self.b, o_count=count)
            m.submodules.later = later = Delay(count.shape(), self.stages)
            m.d.comb += [later.i.eq(count), self.count.eq(later.o)]
            return m

        mismatches = Signal(self.lanes)
        m.d.comb += mismatches.eq(self.a ^ self.b)
        groups = -(-self.lanes // (GROUP + 1))
        counted = min(self.lanes, groups * GROUP)
        counts = [_ones(m, mismatches[start:min(start + GROUP, counted)], name=f"group_{start}")
                  for start in range(0, counted, GROUP)]
        carries = Cat(mismatches[counted:], Const(0, groups - (self.lanes - counted)))
        if self.stages == 2:
            counts = [_kept(m, count, name=f"partial_{number}")
                      for number, count in enumerate(counts)]
            carries = _kept(m, carries, name="carries")
        m.d.sync += [self.count.eq(_sum(m, counts, carries[1:])), self.carry.eq(carries[0])]
        return m


def _kept(m, value, *, name):
    register = Signal(len(value), name=name)
    m.d.sync += register.eq(value)
    return register


def _sum(m, counts, carries):
    """Adds numbers in pairs, and a bit with every pair.

    The bit is a carry that comes from a place below: an adder of its own costs one, and a sum
    without its lowest place is none that a synthesis tool would merge with the next into one macro
    cell of full adders, which take two LUTs where a place of a carry chain takes one.
    """
    if len(counts) == 1:
        return counts[0]
    half = len(counts) // 2
    below, above = (_sum(m, counts[:half], carries[1:half]), _sum(m, counts[half:], carries[half:]))
    total = Signal(max(len(below), len(above)) + 2, name=f"sum_of_{len(counts)}")
    m.d.comb += total.eq(Cat(carries[0], below) + Cat(carries[0], above))
    return total[1:]


def _ones(m, bits, *, name):
    """Counts the ones of a few bits by full adders.

    They are spelled out as gates: an exclusive-or before them then becomes part of them, which the
    macro cell that a synthesis tool makes of a sum does not allow. That saves an eighth of an
    element.
    """
    digits, coming = [], deque(bits)
    while coming:
        weight, coming = coming, deque()
        while len(weight) > 1:
            a, b = weight.popleft(), weight.popleft()
            c = weight.popleft() if weight else Const(0)
            place = f"{name}_{len(digits)}_{len(coming)}"
            total, carry = Signal(name=f"{place}_sum"), Signal(name=f"{place}_carry")
            m.d.comb += [total.eq(a ^ b ^ c), carry.eq((a & b) | (c & (a ^ b)))]
            weight.append(total)
            coming.append(carry)
        digits.append(weight.pop())
    return Cat(digits)
