"""The writer: tiles of planes go into the activation banks, laid out for the layer that reads
them."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..common.choice import choose
from ..common.guard import Guard
from ..common.layout import output_layout
from ..common.turns import last_turn
from ..memory.activations import WriteSignature
from .collect import Row, map_width
from .place import OutputPlace

__all__ = ["OutputPixel", "Writer"]


class OutputPixel(data.StructLayout):
    """One pixel on its way into the banks.

    ``planes``, and its ``place``; ``written``: it is one of the map; ``full``: it ends its tile;
    ``col_last``: its column tile is the last one; ``last``: it ends the layer.
    """

    def __init__(self, config):
        super().__init__({
            "planes": Row(config, map_width(config)), "place": OutputPlace(config),
            "granules": config.granules, "written": 1, "full": 1, "col_last": 1, "last": 1})


class Writer(wiring.Component):
    """Assembles tiles, and writes one plane of all pixels of a turn per cycle.

    A tile is written while the next one is assembled: plane p of turn t, ``p * turns + t + 2``
    cycles after the pixel that ended it was taken. The first column tile of a word clears the rest
    of it, so lanes without a channel always hold 0.

    Parameters
    ----------
    config : MachineConfig
        Machine.

    Members
    -------
    layer : In(output_layout), begin : In(1)
        The layer, and its first cycle.
    valid : In(1), pixel : In(OutputPixel)
        Pixels in order. One that is ``full`` comes at least ``map_bits * turns`` cycles after the
        one before.
    write : Out(WriteSignature)
        Write port of the activation banks.
    done : Out(1)
        The last word of the layer is being written.
    fault : Out(1)
        A word lies outside the banks.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "layer": In(output_layout(config)), "begin": In(1),
            "valid": In(1), "pixel": In(OutputPixel(config)),
            "write": Out(WriteSignature(config)), "done": Out(1), "fault": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config, layer, pixel = self.config, self.layer, self.pixel
        held = data.StructLayout({
            "planes": Row(config, map_width(config)), "bank": range(max(config.rows, 2)),
            # An address that lies outside keeps doing so, in one bit.
            "address": range(2 * config.activation_depth), "written": 1, "first": 1})
        assembled = [Signal(held, name=f"assembled_{r}") for r in range(config.rows)]
        tile = [Signal(held, name=f"tile_{r}") for r in range(config.rows)]
        full, active, tile_end = Signal(), Signal(), Signal()
        turn_first = Signal(init=1)
        inside = (config.activation_depth - 1).bit_length()
        m.d.comb += full.eq(self.valid & pixel.full)
        turn_end = last_turn(m, "row", layer.turns, begin=self.begin | full, end=self.valid)
        with m.If(self.valid):
            m.d.sync += turn_first.eq(turn_end)
        with m.If(self.begin | full):
            m.d.sync += turn_first.eq(1)
        m.d.comb += [
            assembled[-1].planes.eq(pixel.planes), assembled[-1].bank.eq(pixel.place.bank),
            assembled[-1].address.eq(Cat(pixel.place.address[:inside],
                                         pixel.place.address[inside:].any())),
            assembled[-1].written.eq(pixel.written), assembled[-1].first.eq(turn_first),
        ]
        with m.If(self.valid):
            m.d.sync += [here.eq(behind) for here, behind in zip(assembled, assembled[1:])]
        shown = Signal(data.StructLayout({
            "granules": config.granules, "col_last": 1, "last": 1}))
        with m.If(full):
            m.d.sync += [here.eq(new) for here, new in zip(tile, assembled)]
            # A pooled pixel is a tile of its own, in the last row.
            m.d.sync += [here.written.eq(new.written & (layer.pool == 0))
                         for here, new in zip(tile[:-1], assembled)]
            m.d.sync += [shown.granules.eq(pixel.granules), shown.col_last.eq(pixel.col_last),
                         shown.last.eq(pixel.last)]

        plane = Signal(map_width(config))
        offset = Signal(range(2 * config.activation_depth))
        due = Signal(config.rows)
        last_due = last_turn(m, "turn", layer.turns, begin=full, end=active)
        last_plane = last_turn(m, "plane", layer.map_bits, begin=full, end=active & last_due)
        m.d.comb += tile_end.eq(active & last_due & last_plane)
        m.d.sync += due.eq(due << 1)
        with m.If(last_due):
            m.d.sync += [due.eq(Cat(row.first for row in tile)), plane.eq(plane << 1),
                         offset.eq(offset + layer.out_plane_words)]
        with m.If(tile_end | self.begin):
            m.d.sync += active.eq(0)
        with m.If(full):
            m.d.sync += [active.eq(1), plane.eq(1), offset.eq(0),
                         due.eq(Cat(row.first for row in assembled))]
        self._write(m, tile, shown, active, due, plane, offset)
        m.d.sync += self.done.eq(tile_end & shown.last)
        return m

    def _write(self, m, tile, shown, active, due, plane, offset):
        """Rows that are due cross over to the banks that their pixels lie in."""
        config, layer, write = self.config, self.layer, self.write
        present, depth = Signal(config.cols), config.activation_depth
        bits = [Signal(config.cols, name=f"bits_{r}") for r in range(config.rows)]
        addresses = [Signal.like(row.address, name=f"address_{r}") for r, row in enumerate(tile)]
        moved = Signal.like(offset)
        m.d.sync += [
            present.eq(Cat(~shown.col_last | (layer.last_cols > c) for c in range(config.cols))),
            write.granules.eq(shown.granules), write.clear.eq(shown.granules[0]),
            moved.eq(offset),
        ]
        for row, here, address in zip(tile, bits, addresses):
            m.d.sync += [address.eq(row.address), here.eq(Cat(
                choose((plane[p], planes[p]) for p in range(len(plane)))
                for planes in row.planes))]
        goes = Cat(active & due[r] & row.written for r, row in enumerate(tile))
        faults = Signal(config.rows)
        for b in range(config.rows):
            chosen = Signal(config.rows, name=f"chosen_{b}")
            word = Signal(range(4 * depth), name=f"word_{b}")
            m.submodules[f"guard_{b}"] = guard = Guard(len(word), depth)
            m.d.sync += chosen.eq(Cat(goes[r] & (row.bank == b) for r, row in enumerate(tile)))
            m.d.comb += [
                word.eq(choose(zip(chosen, addresses)) + moved),
                guard.i.eq(word), guard.valid.eq(write.banks[b]), faults[b].eq(guard.fault),
                write.banks[b].eq(chosen.any()), write.address[b].eq(guard.o),
                write.data[b].eq(choose(zip(chosen, bits)) & present),
            ]
        m.d.comb += self.fault.eq(faults.any())
