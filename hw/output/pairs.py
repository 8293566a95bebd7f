"""Keeps the pixels of tiles whose halves come side by side, and gives them away one by one or two
by two."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ..common.delay import Delay
from ..common.guard import reaches
from ..common.turns import last_turn
from .collect import code_width
from .rows import pace, queue_members

__all__ = ["PairQueue"]


class _Place(data.StructLayout):
    """Where a pixel is kept. ``address``: that of its codes, and but for the lowest bit that of the
    second one's of a pair; ``half``, ``second_half``: whether the pixel, and the second one of a
    pair, belongs to the second half of its tile."""

    def __init__(self, depth):
        super().__init__({"address": range(depth), "half": 1, "second_half": 1})


class PairQueue(wiring.Component):
    """The :class:`~hw.output.rows.RowQueue` of a machine with two pixels a cycle.

    The halves of a tile come by ways of their own. In a layer in pairs the first half of a tile may
    come with the second half of the one before, rows 2q and 2q + 1 are taken together, and what is
    said of a pixel holds for both of them. In any other layer pixels come and go as in a
    ``RowQueue``.

    Parameters
    ----------
    config : MachineConfig
        Machine.
    late : int
        Cycles from ``step`` until the next pixel's codes are shown.

    Members
    -------
    layer, begin, end, active, first, step, turn_end
        See :class:`~hw.output.rows.RowQueue`.
    row, second_row : In(stream.Signature(cols * code_width, always_ready=True))
        Codes of a pixel of the first half of a tile, of the second half. In pairs a tile comes
        ``max(rows / 2, map_bits)`` cycles behind the one before at the earliest.
    codes, second : Out(cols * code_width)
        Codes of the pixel, and of the second one of a pair, ``late`` cycles late.
    """

    def __init__(self, config, late):
        self.config = config
        self.late = late
        width = config.cols * code_width(config)
        super().__init__({**queue_members(config), "second": Out(width),
                          "second_row": In(stream.Signature(width, always_ready=True))})

    def elaborate(self, platform):
        m = Module()
        pairs, layer = self.layer.pixel_pairs, self.layer
        # Codes that have come and are not yet shown: in pairs two come in each cycle of lateness.
        depth = 1 << ceil_log2(self.config.rows + 2 + 2 * self.late)
        place, afresh = self._place(m, depth)
        # What can be taken of either half: pixels, or pairs, each with its second pixel.
        addresses, waits = [], []
        for half, row in enumerate((self.row, self.second_row)):
            address, first = self._address(m, half, row.valid, depth)
            waiting = Signal(range(self.config.rows + 4), name=f"waiting_{half}")
            comes, goes = Signal(name=f"comes_{half}"), Signal(name=f"goes_{half}")
            m.d.comb += [comes.eq(row.valid & (~pairs | address[0])),
                         goes.eq(self.step & (place.second_half == half))]
            with m.If(comes != goes):
                m.d.sync += waiting.eq(Mux(comes, waiting + 1, waiting - 1))
            addresses.append(address)
            waits.append(waiting)
            afresh.append(address.eq(first))
        m.d.comb += self.active.eq(Mux(place.second_half, waits[1], waits[0]) != 0)
        pace(m, self, Mux(pairs, layer.turns << 1, layer.turns))
        with m.If(self.end):
            m.d.sync += [waiting.eq(0) for waiting in waits]
        with m.If(self.begin):
            m.d.sync += afresh
        self._keep(m, depth, addresses, place)
        return m

    def _place(self, m, depth):
        """Walks the rows that are taken.

        Returns
        -------
        View of _Place, list of statements
            The place of the pixel, whose ``second_half`` is its own where there are no pairs; what
            a layer begins with.
        """
        rows, pairs = self.config.rows, self.layer.pixel_pairs
        place, half = Signal(_Place(depth)), rows // 2
        # The row that is taken, the second one of a pair.
        row, following, wraps = Signal(range(rows)), Signal(range(2 * rows)), Signal()
        m.d.comb += [
            following.eq(row + Mux(pairs, 2, 1)), wraps.eq(reaches(following, rows)),
            place.second_half.eq(reaches(row, half)),
            # Halves of an odd number of rows have a pair between them.
            place.half.eq(place.second_half & ~((row == half) & pairs & half % 2)),
        ]
        with m.If(self.step):
            m.d.sync += [row.eq(Mux(wraps, following - rows, following)),
                         place.address.eq(place.address + Mux(pairs, 2, 1))]
        return place, [row.eq(pairs), place.address.eq(0)]

    def _address(self, m, half, comes, depth):
        """Where the next pixel of a half is kept: all pixels of a layer are numbered.

        Returns
        -------
        Signal, int
            The address; that of the first one.
        """
        rows = self.config.rows // 2
        address = Signal(range(depth), name=f"address_{half}")
        tile_end = last_turn(m, f"row_{half}", Const(rows), begin=self.begin, end=comes)
        with m.If(comes):
            m.d.sync += address.eq(address + Mux(tile_end, rows + 1, 1))
        return address, half * rows

    def _keep(self, m, depth, addresses, place):
        """A memory for each half, with a port for either pixel of a pair."""
        m.submodules.shown = shown = Delay(_Place(depth), self.late)
        m.d.comb += shown.i.eq(place)
        kept, second = [], []
        for half, (row, address) in enumerate(zip((self.row, self.second_row), addresses)):
            m.submodules[f"half_{half}"] = codes = memory.Memory(
                shape=len(self.codes), depth=depth, init=[], attrs={"ram_style": "distributed"})
            write = codes.write_port()
            reads = [codes.read_port(domain="comb") for _ in range(2)]
            m.d.comb += [write.en.eq(row.valid), write.data.eq(row.payload),
                         write.addr.eq(address), reads[0].addr.eq(shown.o.address),
                         reads[1].addr.eq(Cat(1, shown.o.address[1:]))]
            kept.append(reads[0].data)
            second.append(reads[1].data)
        m.d.comb += [self.codes.eq(Mux(shown.o.half, kept[1], kept[0])),
                     self.second.eq(Mux(shown.o.second_half, second[1], second[0]))]
