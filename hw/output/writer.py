"""The writer: turns of pixels go into the activation banks, laid out for the layer that reads
them."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..common.choice import choose
from ..common.guard import Guard
from ..common.layout import output_layout
from ..common.turns import last_turn
from ..memory.activations import WriteSignature
from .collect import columns, map_width
from .place import OutputPlace

__all__ = ["OutputPixel", "SecondPixel", "Writer"]


class OutputPixel(data.StructLayout):
    """One pixel on its way into the banks.

    ``planes``, and its ``place``; ``written``: it is one of the map; ``turn_end``: it is the last
    one of its turn; ``col_last``: its column tile is the last one; ``last``: it ends the layer.
    """

    def __init__(self, config):
        super().__init__({
            "planes": config.cols * map_width(config), "place": OutputPlace(config),
            "granules": config.granules, "written": 1, "turn_end": 1, "col_last": 1, "last": 1})


class SecondPixel(data.StructLayout):
    """The second pixel of a pair, of which all that is not told here is that of the first; see
    :class:`OutputPixel`. Where there is no pair it is not ``written``."""

    def __init__(self, config):
        pixel = OutputPixel(config)
        super().__init__({name: pixel[name].shape for name in ("planes", "place", "written")})


class _Held(data.StructLayout):
    """The pixel of a turn that goes into one bank. An address that lies outside keeps doing so, in
    one bit."""

    def __init__(self, config):
        super().__init__({"planes": config.cols * map_width(config),
                          "address": range(2 * config.activation_depth)})


class Writer(wiring.Component):
    """Assembles turns, and writes one plane of all pixels of a turn per cycle.

    Pixels come one by one, or two by two for different banks, so each goes into the register of its
    bank, and nothing has to cross when all are written. A turn is written while the next one is
    assembled: plane p, ``p + 3`` cycles after the pixel that ended it. The first column tile of a
    word clears the rest of it, so lanes without a channel always hold 0.

    Parameters
    ----------
    config : MachineConfig
        Machine.

    Members
    -------
    layer : In(output_layout), begin : In(1)
        The layer, and its first cycle.
    valid : In(1), pixel : In(OutputPixel)
        Pixels in order. Those of a turn that are written go to different banks. One that ends a
        turn comes at least ``map_bits`` cycles after the one before.
    second : In(SecondPixel)
        With two pixels a cycle: the one behind it.
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
            **({"second": In(SecondPixel(config))} if config.pixels_per_cycle == 2 else {}),
        })

    def elaborate(self, platform):
        m = Module()
        config, layer, pixel = self.config, self.layer, self.pixel
        coming = [Signal(_Held(config), name=f"coming_{b}") for b in range(config.rows)]
        turn = [Signal(_Held(config), name=f"turn_{b}") for b in range(config.rows)]
        written = Signal(config.rows)
        whole, turn_written = Signal(), Signal(config.rows)
        inside = (config.activation_depth - 1).bit_length()
        with m.If(whole | self.begin):
            m.d.sync += written.eq(0)
        for b, held in enumerate(coming):
            for each in (pixel, *([self.second] if config.pixels_per_cycle == 2 else [])):
                with m.If(self.valid & (each.place.bank == b) & each.written):
                    m.d.sync += [
                        written[b].eq(1), held.planes.eq(each.planes),
                        held.address.eq(Cat(each.place.address[:inside],
                                            each.place.address[inside:].any())),
                    ]
        known = Signal(data.StructLayout({"granules": config.granules, "col_last": 1, "last": 1}))
        shown = Signal.like(known)
        m.d.sync += [whole.eq(self.valid & pixel.turn_end), known.granules.eq(pixel.granules),
                     known.col_last.eq(pixel.col_last), known.last.eq(pixel.last)]
        with m.If(whole):
            m.d.sync += [now.eq(new) for now, new in zip(turn, coming)]
            m.d.sync += [shown.eq(known), turn_written.eq(written)]

        active, turn_end, plane = Signal(), Signal(), Signal(map_width(config))
        offset = Signal(range(2 * config.activation_depth))
        last_plane = last_turn(m, "plane", layer.map_bits, begin=whole, end=active)
        m.d.comb += turn_end.eq(active & last_plane)
        m.d.sync += [plane.eq(plane << 1), offset.eq(offset + layer.out_plane_words)]
        with m.If(turn_end | self.begin):
            m.d.sync += active.eq(0)
        with m.If(whole):
            m.d.sync += [active.eq(1), plane.eq(1), offset.eq(0)]
        self._write(m, turn, shown, turn_written, active, plane, offset)
        m.d.sync += self.done.eq(turn_end & shown.last)
        return m

    def _write(self, m, turn, shown, written, active, plane, offset):
        """One plane of the turn, and the addresses of its words."""
        config, layer, write, depth = (
            self.config, self.layer, self.write, self.config.activation_depth)
        moved = Signal.like(offset)
        m.d.sync += [moved.eq(offset), write.granules.eq(shown.granules),
                     write.clear.eq(shown.granules[0]), write.banks.eq(0)]
        with m.If(active):
            m.d.sync += write.banks.eq(written)
        absent = Signal(config.cols)
        m.d.comb += absent.eq(Cat(shown.col_last & (layer.last_cols <= c)
                                  for c in range(config.cols)))
        faults = Signal(config.rows)
        for b, held in enumerate(turn):
            address = Signal.like(held.address, name=f"address_{b}")
            word = Signal(range(4 * depth), name=f"word_{b}")
            m.submodules[f"guard_{b}"] = guard = Guard(len(word), depth)
            m.d.sync += address.eq(held.address)
            m.d.comb += [
                word.eq(address + moved), guard.i.eq(word), guard.valid.eq(write.banks[b]),
                faults[b].eq(guard.fault), write.address[b].eq(guard.o),
            ]
            for c, planes in enumerate(columns(config, held.planes)):
                m.d.sync += write.data[b][c].eq(choose(zip(plane, planes)))
                with m.If(absent[c]):
                    m.d.sync += write.data[b][c].eq(0)
        m.d.comb += self.fault.eq(faults.any())
