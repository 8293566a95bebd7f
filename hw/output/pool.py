"""Pooling: the codes of a window become one, their maximum or their sum."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ..common.delay import Delay
from ..common.layout import output_layout
from ..common.turns import last_turn
from ..memory.bank import Bank
from ..spec.descriptor import POOLS
from .collect import Row, code_width, map_width
from .windows import Visit, WindowWalker

__all__ = ["POOL_LATENCY", "Pool"]

POOL_LATENCY = 4
"""Cycles from ``event`` to ``codes``."""


class Pool(wiring.Component):
    """Takes pixels in order, ``pool_cycles`` cycles each, and one cycle each where the layer has no
    pooling.

    A pixel is begun the cycle after it came, or after the one before has ended. In every cycle of
    it one open window that contains it is read from the line memory, met with the pixel's codes,
    and written back three cycles later: the next pixel may meet the same window, which is why
    ``pool_cycles`` must be at least 3.

    Parameters
    ----------
    config : MachineConfig
        Machine; ``pool_depth`` is not 0.

    Members
    -------
    layer : In(output_layout), begin : In(1)
        The layer, and its first cycle.
    row : In(stream.Signature(Row, always_ready=True))
        Codes of a pixel; the next tile may come when all pixels of the one before have been begun.
    alive, line_end, sweep_end : In(1)
        The pixel under way lies on the map; ends its line, the sweep.
    step : Out(1)
        The pixel under way has its last cycle.
    event : Out(1), pixel_out : Out(1)
        The pixel under way has its first cycle; it completes a window, or, without pooling, is
        alive.
    codes : Out(Row)
        Codes of that window, or pixel, ``POOL_LATENCY`` cycles later.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "layer": In(output_layout(config)), "begin": In(1),
            "row": In(stream.Signature(Row(config, code_width(config)), always_ready=True)),
            "alive": In(1), "line_end": In(1), "sweep_end": In(1),
            "step": Out(1), "event": Out(1), "pixel_out": Out(1),
            "codes": Out(Row(config, map_width(config))),
        })

    def elaborate(self, platform):
        m = Module()
        layer = self.layer
        m.submodules.windows = windows = WindowWalker(self.config)
        visit = windows.visit
        active, pooled, first, turn_end = Signal(), Signal(), Signal(), Signal()
        waiting = Signal(range(self.config.rows + 2))
        m.d.comb += [
            active.eq(waiting != 0), pooled.eq(layer.pool != POOLS["none"]),
            turn_end.eq(last_turn(m, "cycle", layer.pool_cycles, begin=self.begin | self.step,
                                  end=active)),
            self.step.eq(active & (turn_end | ~pooled)), self.event.eq(active & first),
            self.pixel_out.eq(Mux(pooled, visit.valid & visit.complete, self.alive)),
            windows.layer.eq(layer), windows.begin.eq(self.begin), windows.active.eq(active),
            windows.step.eq(self.step), windows.line_end.eq(self.line_end),
            windows.sweep_end.eq(self.sweep_end),
        ]
        with m.If(self.row.valid != self.step):
            m.d.sync += waiting.eq(Mux(self.row.valid, waiting + 1, waiting - 1))
        with m.If(active):
            m.d.sync += first.eq(self.step)
        with m.If(self.begin):
            m.d.sync += [waiting.eq(0), first.eq(1)]
        self._combine(m, self._codes(m), visit, pooled)
        return m

    def _codes(self, m):
        """Codes of the pixel under way, two cycles late: rows come faster than they are taken."""
        config = self.config
        # A tile, and the pixels of the one before that are still on their way to the memory.
        depth = 1 << ceil_log2(config.rows + 4)
        width = config.cols * code_width(config)
        m.submodules.rows = rows = memory.Memory(
            shape=width, depth=depth, init=[], attrs={"ram_style": "distributed"})
        write, read = rows.write_port(), rows.read_port(domain="comb")
        m.submodules.stepped = stepped = Delay(1, 2)
        m.d.comb += [write.en.eq(self.row.valid), write.data.eq(self.row.payload.as_value()),
                     stepped.i.eq(self.step)]
        m.d.sync += [write.addr.eq(write.addr + self.row.valid),
                     read.addr.eq(read.addr + stepped.o)]
        with m.If(self.begin):
            m.d.sync += [write.addr.eq(0), read.addr.eq(0)]
        codes = Signal(Row(config, code_width(config)))
        m.d.comb += codes.eq(read.data)
        return codes

    def _combine(self, m, codes, visit, pooled):
        config, layer = self.config, self.layer
        shape = Row(config, map_width(config))
        m.submodules.lines = lines = Bank(config.cols * map_width(config), config.pool_depth)
        # Stages: the entry's number is there, it is read, its codes are there, it is written.
        m.submodules.visited = visited = Delay(Visit(config), 1)
        m.submodules.present = present = Delay(1, 2)
        stage_1, stage_3 = Signal(Visit(config)), Signal(Visit(config))
        alive = Signal()
        m.d.sync += stage_1.eq(visit)
        m.d.comb += [visited.i.eq(stage_1), present.i.eq(self.alive),
                     lines.read.en.eq(1), lines.read.addr.eq(stage_1.entry)]
        code, entry, addend = Signal(shape), Signal(shape), Signal(shape)
        taken = Signal()
        m.d.sync += [
            stage_3.eq(visited.o), alive.eq(present.o), entry.eq(lines.read.data),
            taken.eq(~pooled | (visited.o.first & present.o)),
        ]
        result = Signal(shape)
        for c in range(config.cols):
            m.d.sync += [code[c].eq(codes[c]), addend[c].eq(codes[c])]
            greater = (layer.pool == POOLS["max"]) & alive & (code[c] > entry[c])
            m.d.comb += result[c].eq(Mux(taken | greater, code[c], entry[c] + addend[c]))
        # Without a sum, or a pixel on the map, the entry stays what it is.
        with m.If(~present.o | (layer.pool != POOLS["sum"])):
            m.d.sync += addend.eq(0)
        m.d.comb += [
            lines.write.en.eq(stage_3.valid & alive), lines.write.addr.eq(stage_3.entry),
            lines.write.data.eq(result.as_value()),
        ]
        m.d.sync += self.codes.eq(result)
