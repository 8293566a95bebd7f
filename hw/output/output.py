"""The output: what comes out of the columns goes into the activation banks, or to the host."""

from amaranth.hdl import Module, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.delay import Delay
from ..common.layout import output_layout
from ..memory.activations import WriteSignature
from ..spec.descriptor import POOLS
from ..spec.latency import PLACE_LATENCY, POOL_LATENCY, WINDOW_LATENCY
from .collect import TileCollector, code_width, columns, pixels_of
from .pairs import PairQueue
from .pixels import PixelWalker
from .place import PlaceWalker
from .planes import PlaneTable
from .pool import CODES_LATE, Pool
from .raw import RawEmitter
from .rows import RowQueue
from .tiles import TileCounter
from .windows import WindowWalker
from .writer import Writer

__all__ = ["OUTPUT_BEGIN_CYCLES", "Output"]

OUTPUT_BEGIN_CYCLES = 18
"""Cycles from a layer's begin to its first code at the earliest: the table of planes is filled."""


class _Flags(data.Struct):
    """What is known of a pixel when it is begun; see :class:`hw.output.writer.OutputPixel`.

    ``valid``: there is one; ``taken``: it has a place on the output map; ``sweep_end``: it ends the
    sweep.
    """

    valid: 1
    taken: 1
    written: 1
    turn_end: 1
    sweep_end: 1
    col_last: 1


class Output(wiring.Component):
    """Takes the codes, or the accumulators, of all tiles of a layer.

    A layer begins in the first cycle in which it is valid; its first code may come
    ``OUTPUT_BEGIN_CYCLES`` later. Let the last code of the last column come in cycle 0, and
    ``lead`` be 9 on a machine that can pool, and 5 on one that cannot. ``layer.ready`` is high in
    the cycle in which the last word is being written,

    - ``lead + map_bits + max(0, ceil(rows / turns) + (turns - 1) * map_bits - rows)`` without
      pooling: with one turn, ``lead + map_bits``,
    - ``lead + map_bits + (rows - 1) * (pool_cycles - 1)`` with it,

    and in a raw layer in the cycle after the last word was taken, together with ``raw_done``. The
    first word of a raw tile is offered two cycles after ``arrived``.

    Parameters
    ----------
    config : MachineConfig
        Machine.

    Members
    -------
    layer : In(stream.Signature(output_layout))
        The layer; taken at its end.
    codes : In(stream.Signature(code_width, always_ready=True)).array(cols, units)
        See :class:`hw.output.collect.TileCollector`.
    acc : In(signed(acc_bits)).array(cols, units), pop : Out(1).array(cols, units)
        Oldest accumulator of every unit.
    arrived : In(1)
        The last accumulator of a raw tile enters its ring.
    write : Out(WriteSignature)
        Write port of the activation banks.
    raw_request : Out(1), raw : Out(stream.Signature(32))
        A tile of accumulators for the host.
    raw_done : Out(1)
        A raw tile has left in the cycle before.
    fault : Out(1)
        A word lies outside the banks.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "layer": In(stream.Signature(output_layout(config))),
            "codes": In(stream.Signature(code_width(config), always_ready=True)
                        ).array(config.cols, config.units),
            "acc": In(signed(config.acc_bits)).array(config.cols, config.units),
            "pop": Out(1).array(config.cols, config.units),
            "arrived": In(1),
            "write": Out(WriteSignature(config)),
            "raw_request": Out(1), "raw": Out(stream.Signature(32)), "raw_done": Out(1),
            "fault": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config, layer = self.config, self.layer.payload
        m.submodules.collector = collector = TileCollector(config)
        m.submodules.tiles = tiles = TileCounter(config)
        m.submodules.pixels = pixels = PixelWalker(config)
        m.submodules.places = places = PlaceWalker(config)
        m.submodules.table = table = PlaneTable(config)
        m.submodules.writer = writer = Writer(config)
        m.submodules.raw = raw = RawEmitter(config)
        running, begin, raw_last = Signal(), Signal(), Signal()
        m.d.comb += begin.eq(self.layer.valid & ~running)
        with m.If(begin):
            m.d.sync += running.eq(1)
        with m.If(self.layer.ready):
            m.d.sync += running.eq(0)
        for block in (tiles, pixels, places, table, writer):
            m.d.comb += block.layer.eq(layer)
        for block in (tiles, pixels, places, table, writer, raw):
            m.d.comb += block.begin.eq(begin)
        for c, column in enumerate(self.codes):
            for u, codes in enumerate(column):
                wiring.connect(m, wiring.flipped(codes), collector.codes[c][u])
                m.d.comb += [raw.acc[c][u].eq(self.acc[c][u]), self.pop[c][u].eq(raw.pop[c][u])]
        wiring.connect(m, raw.o, wiring.flipped(self.raw))
        wiring.connect(m, writer.write, wiring.flipped(self.write))

        planes, pixel = pixels_of(config, table.planes), writer.pixel
        stepped, flags = self._pixels(m, begin, collector, pixels, tiles, table, writer)
        # That a raw tile has left comes from the far end of the link: a cycle to cross the chip.
        m.d.sync += [self.raw_done.eq(raw.tile_done),
                     raw_last.eq(raw.tile_done & tiles.sweep_last & tiles.col_last)]
        m.d.comb += [
            pixels.sweep_last.eq(tiles.sweep_last),
            tiles.step.eq((pixels.step & pixels.tile_end) | self.raw_done),
            raw.arrived.eq(self.arrived & layer.raw), self.raw_request.eq(raw.request),
            places.step.eq(stepped.valid & stepped.taken),
            places.restart.eq(stepped.valid & stepped.sweep_end),
            writer.valid.eq(flags.valid), pixel.planes.eq(planes[0]),
            pixel.place.eq(places.place), pixel.granules.eq(places.granules),
            pixel.written.eq(flags.written), pixel.turn_end.eq(flags.turn_end),
            pixel.col_last.eq(flags.col_last), pixel.last.eq(flags.sweep_end & flags.col_last),
            self.fault.eq(writer.fault), self.layer.ready.eq(writer.done | raw_last),
        ]
        if config.pixels_per_cycle == 2:
            m.d.comb += [writer.second.planes.eq(planes[1]), writer.second.place.eq(places.second)]
        return m

    def _pixels(self, m, begin, collector, pixels, tiles, table, writer):
        """Pixels, or pooled ones, on their way from the columns to the table of planes.

        Returns
        -------
        View of _Flags, View of _Flags
            What is known of the pixel whose place is being found, and of the one at the table.
        """
        config, layer = self.config, self.layer.payload
        pools = config.pool_depth > 0
        queue = RowQueue if config.pixels_per_cycle == 1 else PairQueue
        m.submodules.rows = rows = queue(
            config, WINDOW_LATENCY + CODES_LATE if pools else PLACE_LATENCY)
        m.submodules.walked = walked = Delay(_Flags, WINDOW_LATENCY if pools else 0)
        m.submodules.stepped = stepped = Delay(_Flags, POOL_LATENCY - PLACE_LATENCY if pools else 0)
        m.submodules.flags = later = Delay(_Flags, PLACE_LATENCY)
        known, (found, *second) = walked.i, pixels_of(config, table.codes)
        for codes in second:
            self._second(m, collector, rows, pixels, codes, writer.second.written)
        wiring.connect(m, collector.row, rows.row)
        m.d.comb += [
            rows.layer.eq(layer), rows.begin.eq(begin),
            rows.end.eq(self.layer.ready), pixels.step.eq(rows.step),
            known.valid.eq(rows.step), known.taken.eq(1), known.written.eq(pixels.alive),
            known.turn_end.eq(rows.turn_end), known.sweep_end.eq(pixels.sweep_end),
            known.col_last.eq(tiles.col_last), stepped.i.eq(walked.o), later.i.eq(stepped.o),
        ]
        if pools:
            with m.If(layer.pool != POOLS["none"]):
                m.d.comb += [known.valid.eq(rows.active & rows.first), known.turn_end.eq(1)]
            self._pool(m, begin, rows, pixels, found, stepped.i)
        else:
            m.d.comb += found.eq(rows.codes)
        return stepped.o, later.o

    def _second(self, m, collector, rows, pixels, found, written):
        """The second pixels of pairs pass by the pool."""
        config, pools = self.config, self.config.pool_depth > 0
        m.submodules.second = codes = Delay(len(rows.second), POOL_LATENCY - CODES_LATE if pools
                                            else 0)
        m.submodules.second_written = alive = Delay(1, WINDOW_LATENCY + POOL_LATENCY if pools
                                                    else PLACE_LATENCY)
        wiring.connect(m, collector.second, rows.second_row)
        m.d.comb += [
            codes.i.eq(rows.second), written.eq(alive.o),
            alive.i.eq(pixels.second & self.layer.payload.pixel_pairs),
            *(code.eq(each) for code, each in zip(columns(config, found), columns(config, codes.o),
                                                  strict=True)),
        ]

    def _pool(self, m, begin, rows, pixels, found, known):
        """Pixels visit windows, and codes meet; what is known of a pixel becomes what is known of
        the window that it completes."""
        config, layer = self.config, self.layer.payload
        m.submodules.windows = windows = WindowWalker(config)
        m.submodules.alive = alive = Delay(1, WINDOW_LATENCY)
        m.submodules.pool = pool = Pool(config)
        m.d.comb += [
            windows.layer.eq(layer), windows.begin.eq(begin), windows.active.eq(rows.active),
            windows.first.eq(rows.first), windows.step.eq(rows.step),
            windows.line_end.eq(pixels.line_end), windows.sweep_end.eq(pixels.sweep_end),
            alive.i.eq(pixels.alive), pool.layer.eq(layer), pool.visit.eq(windows.visit),
            pool.alive.eq(alive.o), pool.codes.eq(rows.codes), found.eq(pool.pooled),
        ]
        with m.If(layer.pool != POOLS["none"]):
            m.d.comb += [known.taken.eq(windows.visit.complete),
                         known.written.eq(windows.visit.complete)]
