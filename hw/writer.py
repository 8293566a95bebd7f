"""The writer: codes become planes in the activation banks, laid out for the layer that reads them."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .layout import LayerLayout
from .walk import WriteWalker

__all__ = ["TileCounter", "WriteSignature", "Writer"]


class WriteSignature(wiring.Signature):
    """Write port of the activation banks.

    Members
    -------
    banks : Out(rows)
        Banks to write.
    granules : Out(granules)
        Parts of the word to write.
    address : Out(range(activation_depth)), data : Out(lanes)
        Word.
    """

    def __init__(self, config):
        super().__init__({
            "banks": Out(config.rows), "granules": Out(config.granules),
            "address": Out(range(config.activation_depth)), "data": Out(config.lanes),
        })


class TileCounter(wiring.Component):
    """Counts the tiles of a layer as they leave.

    Members
    -------
    layer : In(LayerLayout), start : In(1)
        The layer, and its begin.
    step : In(1)
        A tile has left.
    col : Out(16)
        Column tile that leaves.
    col_last, last : Out(1)
        It is the last column tile; it is the last tile of the layer.
    """

    layer: In(LayerLayout)
    start: In(1)
    step: In(1)
    col: Out(16)
    col_last: Out(1)
    last: Out(1)

    def elaborate(self, platform):
        m = Module()
        pixel = Signal(16)
        m.d.comb += [
            self.col_last.eq(self.col + 1 == self.layer.col_tiles),
            self.last.eq(self.col_last & (pixel + 1 == self.layer.pixel_tiles)),
        ]
        with m.If(self.start):
            m.d.sync += [self.col.eq(0), pixel.eq(0)]
        with m.Elif(self.step):
            m.d.sync += self.col.eq(self.col + 1)
            with m.If(self.col_last):
                m.d.sync += [self.col.eq(0), pixel.eq(pixel + 1)]
        return m


class Writer(wiring.Component):
    """Writes one plane of one pixel per cycle: ``cols`` bits into a word of ``lanes``.

    Planes are the outer loop, rows the inner one. The first column tile of a word clears the rest of
    it, so lanes without a channel always hold 0. A tile takes ``code_bits * rows`` cycles; the first
    write happens 2 cycles after ``ready``.

    Parameters
    ----------
    config : MachineConfig
        Machine.

    Members
    -------
    layer : In(LayerLayout), start : In(1)
        The layer, and its begin.
    ready : In(1), tile : In(code_bits).array(rows, cols)
        Codes of a tile.
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
            "layer": In(LayerLayout), "start": In(1),
            "ready": In(1), "tile": In(config.code_bits).array(config.rows, config.cols),
            "write": Out(WriteSignature(config)), "done": Out(1), "fault": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config, layer, rows, cols = self.config, self.layer, self.config.rows, self.config.cols
        m.submodules.walker = walker = WriteWalker(rows)
        m.submodules.tiles = tiles = TileCounter()
        codes = [Signal(cols * config.code_bits, name=f"codes_{r}") for r in range(rows)]
        active = Signal()
        row, plane = Signal(range(max(rows, 2))), Signal(range(max(config.code_bits, 2)))
        plane_address, word, granule = Signal(16), Signal(16), Signal(range(max(config.granules, 2)))
        row_last = row == rows - 1
        tile_end = Signal()
        m.d.comb += [
            walker.layer.eq(layer), walker.start.eq(self.start), walker.rotate.eq(active),
            walker.advance.eq(self.ready & Mux(tile_end, tiles.col_last, tiles.col == 0)),
            tiles.layer.eq(layer), tiles.start.eq(self.start), tiles.step.eq(tile_end),
            tile_end.eq(active & row_last & (plane + 1 == layer.code_bits)),
        ]

        with m.If(active):
            m.d.sync += row.eq(row + 1)
            with m.If(row_last):
                m.d.sync += [row.eq(0), plane.eq(plane + 1),
                             plane_address.eq(plane_address + layer.out_plane_words)]
        with m.If(tile_end):
            m.d.sync += [active.eq(0), granule.eq(granule + 1)]
            with m.If(granule == config.granules - 1):
                m.d.sync += [granule.eq(0), word.eq(word + 1)]
            with m.If(tiles.col_last):
                m.d.sync += [granule.eq(0), word.eq(0)]
        with m.If(self.ready):
            m.d.sync += [codes[r].eq(Cat(*self.tile[r])) for r in range(rows)]
            m.d.sync += [active.eq(1), row.eq(0), plane.eq(0), plane_address.eq(0)]
        with m.Elif(active):
            m.d.sync += [codes[r].eq(codes[(r + 1) % rows]) for r in range(rows)]
        with m.If(self.start):
            m.d.sync += [active.eq(0), granule.eq(0), word.eq(0)]

        bits = self._bits(m, codes[0], plane, tiles)
        self._write(m, active & walker.place.valid, walker.place,
                    walker.place.address + plane_address + word, bits, granule)
        m.d.sync += self.done.eq(tile_end & tiles.last)
        return m

    def _bits(self, m, codes, plane, tiles):
        """The bit of every column on the plane being written; absent columns give 0."""
        config, layer = self.config, self.layer
        table = Cat(layer.planes_low, layer.planes_high)
        column = Signal(16)
        with m.Switch(plane):
            for p in range(config.code_bits):
                with m.Case(p):
                    m.d.comb += column.eq(Cat(table[4 * code + p] for code in range(16)))
        bits = Signal(config.cols)
        for c in range(config.cols):
            code = codes.word_select(c, config.code_bits)
            present = ~tiles.col_last | (layer.last_cols > c)
            m.d.comb += bits[c].eq(column.bit_select(code, 1) & present)
        return bits

    def _write(self, m, valid, place, address, bits, granule):
        config = self.config
        bank, first = Signal.like(place.bank), Signal()
        stored, active = Signal(config.cols), Signal()
        granules, full_address = Signal(config.granules), Signal(20)
        m.d.sync += [
            active.eq(valid), bank.eq(place.bank), full_address.eq(address), stored.eq(bits),
            first.eq(granule == 0),
            granules.eq(Mux(granule == 0, ~0, 1 << granule)),
        ]
        rest = Cat(Mux(first, 0, stored) for _ in range(config.granules - 1))
        m.d.comb += [
            self.write.granules.eq(granules),
            self.write.address.eq(full_address),
            self.write.data.eq(Cat(stored, rest)),
            self.fault.eq(active & (full_address >= config.activation_depth)),
        ]
        m.d.comb += [self.write.banks[b].eq(active & (bank == b)) for b in range(config.rows)]
