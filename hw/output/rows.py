"""Keeps the pixels of a tile, and takes them at the pace of what follows."""

from amaranth.hdl import Module, Mux, ResetInserter, Signal
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ..common.delay import Delay
from ..common.guard import reaches
from ..common.layout import output_layout
from ..common.turns import last_turn
from .collect import code_width

__all__ = ["RowQueue", "pace", "queue_members"]


def queue_members(config):
    """Members of a queue of pixels, see :class:`RowQueue`."""
    row = config.cols * code_width(config)
    return {
        "layer": In(output_layout(config)), "begin": In(1), "end": In(1),
        "row": In(stream.Signature(row, always_ready=True)),
        "active": Out(1), "first": Out(1), "step": Out(1), "turn_end": Out(1), "codes": Out(row)}


def pace(m, queue, share):
    """Adds ``first``, ``step`` and ``turn_end`` to a queue: takes its pixels at the pace of what
    follows.

    Parameters
    ----------
    m : Module
        Where it goes.
    queue : RowQueue
        Or what has its members; ``active`` is found elsewhere.
    share : Value
        What a step adds to the share of its turn, of which a turn has as many as a tile rows.
    """
    rows, layer = queue.config.rows, queue.layer
    with m.If(queue.active):
        m.d.sync += queue.first.eq(queue.step)

    # A turn ends where the multiples of its share pass a multiple of the rows.
    passed = Signal(range(2 * rows))
    m.d.comb += queue.turn_end.eq(reaches(passed, rows))
    with m.If(queue.step):
        m.d.sync += passed.eq(Mux(queue.turn_end, passed - rows, passed) + share)
    writing, ended = Signal(), Signal()
    m.d.comb += ended.eq(queue.step & queue.turn_end)
    written = last_turn(m, "plane", layer.map_bits, begin=queue.begin | ended, end=writing)
    with m.If(written):
        m.d.sync += writing.eq(0)
    with m.If(ended):
        m.d.sync += writing.eq(1)
    free = Signal()
    m.d.comb += [free.eq(~queue.turn_end | ~writing | written),
                 queue.step.eq(queue.active & free)]
    if queue.config.pool_depth:
        cycle_end = last_turn(m, "cycle", layer.pool_cycles, begin=queue.begin | queue.step,
                              end=queue.active)
        with m.If(layer.pool != 0):
            m.d.comb += queue.step.eq(queue.active & cycle_end)
    with m.If(queue.begin):
        m.d.sync += [queue.first.eq(1), passed.eq(share), writing.eq(0)]


class RowQueue(wiring.Component):
    """Pixels come one per cycle; they are taken one per cycle, or every ``pool_cycles`` cycles.

    Without pooling, the last pixel of a turn waits until ``map_bits`` cycles have passed since the
    last pixel of the turn before was taken: as long as that is being written. Row r of a tile
    belongs to turn ``r * turns div rows``.

    Parameters
    ----------
    config : MachineConfig
        Machine.
    late : int
        Cycles from ``step`` until the next pixel's codes are shown.

    Members
    -------
    layer : In(output_layout), begin : In(1)
        The layer, and its first cycle.
    end : In(1)
        The layer's last cycle. With pooling it may come before its last pixel's: what is left of
        that is dropped.
    row : In(stream.Signature(cols * code_width, always_ready=True))
        Codes of a pixel. A tile comes, at the earliest, as the last pixel of the one before is
        taken.
    active : Out(1)
        There is a pixel, from the cycle after it came.
    first, step : Out(1)
        It has its first cycle, its last one.
    turn_end : Out(1)
        It is the last one of its turn.
    codes : Out(cols * code_width)
        Codes of the pixel, ``late`` cycles late.
    """

    def __init__(self, config, late):
        self.config = config
        self.late = late
        super().__init__(queue_members(config))

    def elaborate(self, platform):
        m = Module()
        waiting, following = (Signal(range(self.config.rows + 4), name=name)
                              for name in ("waiting", "following"))
        # Whether there is a pixel is the begin of long paths, so it stands in a register.
        m.d.comb += following.eq(waiting + self.row.valid - self.step)
        m.d.sync += [waiting.eq(following), self.active.eq(following != 0)]
        with m.If(self.end):
            m.d.sync += [waiting.eq(0), self.active.eq(0)]
        pace(m, self, self.layer.turns)
        self._keep(m)
        return m

    def _keep(self, m):
        # A tile, and the pixels of the one before that are not yet shown.
        depth = 1 << ceil_log2(self.config.rows + 2 + self.late)
        m.submodules.rows = rows = memory.Memory(
            shape=len(self.codes), depth=depth, init=[], attrs={"ram_style": "distributed"})
        write, read = rows.write_port(), rows.read_port(domain="comb")
        stepped = Delay(1, self.late)
        m.submodules.stepped = ResetInserter(self.begin)(stepped)
        m.d.comb += [write.en.eq(self.row.valid), write.data.eq(self.row.payload),
                     stepped.i.eq(self.step), self.codes.eq(read.data)]
        m.d.sync += [write.addr.eq(write.addr + self.row.valid),
                     read.addr.eq(read.addr + stepped.o)]
        with m.If(self.begin):
            m.d.sync += [write.addr.eq(0), read.addr.eq(0)]
