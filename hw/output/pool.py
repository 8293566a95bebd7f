"""Pooling: the codes of a window become one, their maximum or their sum."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..common.delay import Delay
from ..common.layout import output_layout
from ..memory.bank import Bank
from ..spec.descriptor import POOLS
from .collect import code_width, columns, map_width
from .windows import Visit

__all__ = ["CODES_LATE", "POOL_LATENCY", "Pool"]

CODES_LATE = 2
"""Cycles from a visit until the codes of its pixel are looked at."""

POOL_LATENCY = 4
"""Cycles from a visit to what has become of its window."""


class Pool(wiring.Component):
    """Meets every visited window with the codes of the pixel.

    The window is read from the line memory, met with the codes, and written back three cycles after
    the visit. What one pixel visits last the next one may visit first, which is why
    ``pool_cycles`` must be at least two more than the windows that a pixel can lie in. Without
    pooling, the codes are handed on as they are.

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
        m.submodules.alive = alive = Delay(1, CODES_LATE)
        m.d.comb += [alive.i.eq(self.alive), lines.read.en.eq(1),
                     lines.read.addr.eq(stages[0].entry)]
        code, addend, entry = Signal(len(self.codes)), Signal(len(self.codes)), Signal.like(
            self.pooled)
        taken, compared, writes = Signal(), Signal(), Signal()
        m.d.sync += [
            code.eq(self.codes), addend.eq(self.codes), entry.eq(lines.read.data),
            taken.eq((layer.pool == POOLS["none"]) | (stages[1].first & alive.o)),
            compared.eq((layer.pool == POOLS["max"]) & alive.o),
            writes.eq(stages[1].valid & alive.o),
        ]
        # Without a sum, or a pixel on the map, the entry stays what it is.
        with m.If(~alive.o | (layer.pool != POOLS["sum"])):
            m.d.sync += addend.eq(0)
        result = Signal.like(self.pooled)
        m.d.comb += result.eq(Cat(
            Mux(taken | (compared & (new > old)), new, old + added)[:map_width(config)]
            for new, old, added in zip(*(columns(config, row) for row in (code, entry, addend)))))
        m.d.comb += [lines.write.en.eq(writes), lines.write.addr.eq(stages[2].entry),
                     lines.write.data.eq(result)]
        m.d.sync += self.pooled.eq(result)
        return m
