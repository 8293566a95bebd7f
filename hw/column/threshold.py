"""The threshold unit: an accumulator becomes a code by binary search in a staircase."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..spec.cycles import SEARCH_CYCLES

__all__ = ["ThresholdUnit"]


class ThresholdUnit(wiring.Component):
    """Searches the thresholds of a channel for one accumulator per row.

    The thresholds of a channel are a heap: node 1 is the root, node n has children 2n and 2n + 1,
    and the search goes to 2n + 1 if the accumulator reaches the threshold. After ``code_bits``
    levels the bits below the leading one are the number of thresholds at or below the accumulator:
    the code.

    Accumulators circulate in a ring of ``max(drain_cycles, SEARCH_CYCLES)`` places, one level per
    turn, so one comparator and one memory port serve all rows; a tile takes ``code_bits`` turns.
    In a raw layer the ring is a queue instead, from which the host link takes accumulators.

    Parameters
    ----------
    config : MachineConfig
        Machine.

    Members
    -------
    raw : In(1), code_bits : In(3)
        How the layer leaves; stable while the layer runs.
    start : In(1)
        A layer begins: the ring is empty.
    valid : In(1), acc : In(signed(acc_bits)), block : In(range(threshold_depth))
        Accumulators of a finished tile in successive cycles, and where their thresholds start;
        that stays until the next tile.
    read : Out(1), address : Out(range(threshold_depth)), threshold : In(signed(acc_bits))
        Read port of the threshold bank, one cycle.
    code_valid : Out(1), code : Out(code_bits)
        Codes in the order of the accumulators.
    pop : In(1), raw_acc : Out(signed(acc_bits))
        Oldest accumulator of a raw tile; ``pop`` brings the next one to the front.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "raw": In(1), "code_bits": In(3), "start": In(1),
            "valid": In(1), "acc": In(signed(config.acc_bits)),
            "block": In(range(config.threshold_depth)),
            "read": Out(1), "address": Out(range(config.threshold_depth)),
            "threshold": In(signed(config.acc_bits)),
            "code_valid": Out(1), "code": Out(config.code_bits),
            "pop": In(1), "raw_acc": Out(signed(config.acc_bits)),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        places = max(config.drain_cycles, SEARCH_CYCLES)
        entry = data.StructLayout({
            "valid": 1, "node": config.code_bits + 1, "acc": signed(config.acc_bits)})
        ring = [Signal(entry, name=f"ring_{place}") for place in range(places)]
        turning = Signal()
        m.d.comb += turning.eq(~self.raw | self.valid | self.pop)

        m.d.comb += [
            self.read.eq(~self.raw),
            self.address.eq(self.block | Mux(self.valid, 1, ring[places - 1].node)),
            self.raw_acc.eq(ring[config.drain_cycles - 1].acc),
        ]

        threshold = Signal.like(self.threshold)
        m.d.sync += threshold.eq(self.threshold)
        compared = Signal(entry)
        reached = Signal()
        finished = Signal()
        # The threshold of an entry is ready when the entry has moved two places on.
        at_compare = ring[1]
        m.d.comb += [
            reached.eq(at_compare.acc >= threshold),
            compared.acc.eq(at_compare.acc),
            compared.node.eq(Cat(reached, at_compare.node)),
            compared.valid.eq(at_compare.valid & ~finished),
        ]
        # The leading one tells the level; it is there before the comparison.
        with m.Switch(self.code_bits):
            for bits in range(1, config.code_bits + 1):
                with m.Case(bits):
                    m.d.comb += finished.eq(at_compare.node[bits - 1] & ~self.raw)
        m.d.sync += self.code_valid.eq(at_compare.valid & finished & ~self.start)
        for bits in range(1, config.code_bits + 1):
            with m.If(self.code_bits == bits):
                m.d.sync += self.code.eq(compared.node[:bits])

        with m.If(self.start):
            m.d.sync += [place.valid.eq(0) for place in ring]
        with m.Elif(turning):
            with m.If(self.valid):
                m.d.sync += [ring[0].valid.eq(1), ring[0].node.eq(1), ring[0].acc.eq(self.acc)]
            with m.Else():
                m.d.sync += ring[0].eq(ring[places - 1])
            m.d.sync += ring[1].eq(ring[0])
            m.d.sync += ring[2].eq(compared)
            m.d.sync += [ring[place].eq(ring[place - 1]) for place in range(3, places)]
        return m
