"""The writer: codes become planes in the activation banks, laid out for the layer that reads
them."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.guard import Guard
from ..common.layout import layer_layout
from ..memory.activations import WriteSignature
from .tiles import TileSignature
from .walker import WriteWalker

__all__ = ["Writer"]


class Writer(wiring.Component):
    """Writes one plane of one pixel per cycle: ``cols`` bits into a word of ``lanes``.

    Planes are the outer loop, pixels the inner one. The first column tile of a word clears the
    rest of it, so lanes without a channel always hold 0. A tile takes ``code_bits * rows`` cycles
    from ``ready`` on. Its codes circulate in one ring per unit; in their last turn the codes of
    the next tile may take their places, which is why tiles can follow each other without a second
    buffer.

    Parameters
    ----------
    config : MachineConfig
        Machine.

    Members
    -------
    layer : In(layer_layout), start : In(1)
        The layer, and its begin.
    tile : In(TileSignature)
        The tile that is written.
    rows : In(stream.Signature(cols * code_bits, always_ready=True)).array(units), ready : In(1)
        Codes, see :class:`hw.output.collect.TileCollector`.
    write : Out(WriteSignature)
        Write port of the activation banks.
    tile_done : Out(1)
        Last plane of the last pixel of a tile.
    done : Out(1)
        The last word of the layer is being written.
    fault : Out(1)
        A word lies outside the banks.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "layer": In(layer_layout(config)), "start": In(1), "tile": In(TileSignature()),
            "rows": In(stream.Signature(config.cols * config.code_bits, always_ready=True)
                       ).array(config.units),
            "ready": In(1),
            "write": Out(WriteSignature(config)),
            "tile_done": Out(1), "done": Out(1), "fault": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config, layer = self.config, self.layer
        m.submodules.walker = walker = WriteWalker(config)
        running, active = Signal(), Signal()
        row, row_last = Signal(range(max(config.drain_cycles, 2))), Signal()
        unit, unit_last = Signal(range(max(config.units, 2)), init=config.units - 1), Signal()
        plane, plane_last = Signal(range(max(config.code_bits, 2))), Signal()
        plane_address = Signal(range(2 * config.activation_depth))
        granule, granule_last = Signal(range(max(config.granules, 2))), Signal()
        m.d.comb += [
            active.eq(self.ready | running),
            row_last.eq(row == config.drain_cycles - 1), unit_last.eq(unit == 0),
            plane_last.eq(plane + 1 == layer.code_bits),
            granule_last.eq(granule == config.granules - 1),
            self.tile_done.eq(active & row_last & unit_last & plane_last),
            walker.layer.eq(layer), walker.start.eq(self.start),
            walker.rotate.eq(active), walker.replace.eq(plane_last & self.tile.last_col),
            walker.next_word.eq(plane_last & granule_last),
        ]
        with m.If(active):
            m.d.sync += [running.eq(1), row.eq(row + 1)]
            with m.If(row_last):
                m.d.sync += [row.eq(0), unit.eq(unit - 1)]
                with m.If(unit_last):
                    m.d.sync += [unit.eq(config.units - 1), plane.eq(plane + 1),
                                 plane_address.eq(plane_address + layer.out_plane_words)]
        with m.If(self.tile_done):
            m.d.sync += [running.eq(0), plane.eq(0), plane_address.eq(0), granule.eq(granule + 1)]
            with m.If(granule_last | self.tile.last_col):
                m.d.sync += granule.eq(0)

        codes = self._codes(m, active, unit)
        bits = self._bits(m, codes, plane)
        self._write(m, active & walker.place.valid, walker.place,
                    walker.place.address + plane_address, bits, granule)
        m.d.sync += self.done.eq(self.tile_done & self.tile.last)
        return m

    def _codes(self, m, active, unit):
        """Codes of the pixel in turn: the top unit's rows first, as they arrive first."""
        config = self.config
        width, last = config.cols * config.code_bits, config.drain_cycles - 1
        front = Signal(width)
        for u in range(config.units):
            ring = [Signal(width, name=f"ring_{u}_{r}") for r in range(config.drain_cycles)]
            with m.If(unit == u):
                m.d.comb += front.eq(ring[0])
            row = self.rows[u]
            with m.If(row.valid | (active & (unit == u))):
                m.d.sync += ring[last].eq(Mux(row.valid, row.payload, ring[0]))
                m.d.sync += [ring[r].eq(ring[r + 1]) for r in range(last)]
        return front

    def _bits(self, m, codes, plane):
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
            present = ~self.tile.last_col | (layer.last_cols > c)
            m.d.comb += bits[c].eq(column.bit_select(code, 1) & present)
        return bits

    def _write(self, m, valid, place, address, bits, granule):
        config = self.config
        bank, first = Signal.like(place.bank), Signal()
        stored, active = Signal(config.cols), Signal()
        granules, full_address = Signal(config.granules), Signal(len(address))
        m.d.sync += [
            active.eq(valid), bank.eq(place.bank), full_address.eq(address), stored.eq(bits),
            first.eq(granule == 0),
            granules.eq(Mux(granule == 0, ~0, 1 << granule)),
        ]
        rest = Cat(Mux(first, 0, stored) for _ in range(config.granules - 1))
        m.submodules.guard = guard = Guard(len(full_address), config.activation_depth)
        m.d.comb += [
            guard.valid.eq(active), guard.i.eq(full_address), self.fault.eq(guard.fault),
            self.write.granules.eq(granules),
            self.write.address.eq(guard.o),
            self.write.data.eq(Cat(stored, rest)),
        ]
        m.d.comb += [self.write.banks[b].eq(active & (bank == b)) for b in range(config.rows)]
