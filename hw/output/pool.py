"""Pooling: the codes of a window become one, their maximum or their sum."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..common.layout import output_layout
from ..memory.bank import Bank
from ..spec.descriptor import POOLS
from .collect import code_width, columns, map_width
from .windows import Visit

__all__ = ["CODES_LATE", "Pool"]

CODES_LATE = 2
"""Cycles from a visit until the codes of its pixel are looked at."""


class _Held(data.Struct):
    """Where a visit has what its window holds: one of the three, or none if there is nothing yet.

    ``read``: it was read; ``near``, ``far``: it is the result of the visit one, two cycles before.
    """

    read: 1
    near: 1
    far: 1


class Pool(wiring.Component):
    """Meets every visited window with the codes of the pixel.

    The window is read from the line memory, met with the codes, and written back three cycles after
    the visit. A visit of the same window one or two cycles after takes the result instead of what
    it has read, so that any window can be visited in any cycle. Without pooling, the codes are
    handed on as they are.

    Parameters
    ----------
    config : MachineConfig
        Machine; ``pool_depth`` is not 0.

    Members
    -------
    layer : In(output_layout)
        The layer.
    visit : In(Visit), alive : In(1)
        A window; the pixel that visits it lies on the map, and is not a virtual one that adds
        nothing.
    codes : In(cols * code_width)
        Codes of the pixel, ``CODES_LATE`` cycles after the visit.
    pooled : Out(cols * map_width)
        Codes of the window, ``POOL_LATENCY`` cycles after the visit.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "layer": In(output_layout(config)), "visit": In(Visit(config)), "alive": In(1),
            "codes": In(config.cols * code_width(config)),
            "pooled": Out(config.cols * map_width(config)),
        })

    def elaborate(self, platform):
        m = Module()
        config, layer = self.config, self.layer
        m.submodules.lines = lines = Bank(len(self.pooled), config.pool_depth)
        # Stages: the entry's number is there, it is read, its codes are there.
        stages = [Signal(Visit(config), name=f"visit_{stage}") for stage in range(3)]
        m.d.sync += [later.eq(now) for now, later in zip([self.visit, *stages], stages)]
        alive = [Signal(name=f"alive_{stage}") for stage in range(2)]
        m.d.sync += [later.eq(now) for now, later in zip([self.alive, *alive], alive)]
        m.d.comb += [lines.read.en.eq(1), lines.read.addr.eq(stages[0].entry)]
        writes = Signal()
        m.d.sync += writes.eq(stages[1].valid & alive[1])
        held = self._held(m, stages, alive, writes)

        code, addend, compared = Signal(len(self.codes)), Signal(len(self.codes)), Signal()
        m.d.sync += [
            code.eq(self.codes), addend.eq(self.codes),
            compared.eq((layer.pool == POOLS["none"]) | ((layer.pool == POOLS["max"]) & alive[1])),
        ]
        # Without a sum, or a pixel on the map, the entry stays what it is.
        with m.If(~alive[1] | (layer.pool != POOLS["sum"])):
            m.d.sync += addend.eq(0)
        entry, farther, nearer = Signal.like(self.pooled), Signal.like(self.pooled), Signal()
        m.d.sync += [entry.eq(lines.read.data), farther.eq(self.pooled), nearer.eq(held.near)]
        # What is not wanted is reset, and so the choice is an OR.
        with m.If(~held.read):
            m.d.sync += entry.eq(0)
        with m.If(~held.far):
            m.d.sync += farther.eq(0)
        known, result = Signal.like(self.pooled), Signal.like(self.pooled)
        m.d.comb += known.eq(entry | farther | Mux(nearer, self.pooled, 0))
        m.d.comb += result.eq(Cat(
            Mux(compared & (new > old), new, old + added)[:map_width(config)]
            for new, old, added in zip(*(columns(config, row) for row in (code, known, addend)))))
        m.d.comb += [lines.write.en.eq(writes), lines.write.addr.eq(stages[2].entry),
                     lines.write.data.eq(result)]
        m.d.sync += self.pooled.eq(result)
        return m

    def _held(self, m, stages, alive, writes):
        """Finds where the window of a visit is, a cycle before that is needed.

        Returns
        -------
        View of _Held
            Of the visit whose entry is being read.
        """
        held, fresh, same = Signal(_Held), Signal(), Signal(2)
        m.d.comb += [
            fresh.eq((self.layer.pool == POOLS["none"]) | (stages[0].first & alive[0])),
            same[0].eq((stages[0].entry == stages[1].entry) & stages[1].valid & alive[1]),
            same[1].eq((stages[0].entry == stages[2].entry) & writes),
        ]
        m.d.sync += [held.read.eq(~fresh & ~same.any()), held.near.eq(~fresh & same[0]),
                     held.far.eq(~fresh & (same == 2))]
        return held
