"""Codes become planes, by the table of the layer."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from ..common.layout import output_layout
from ..spec.descriptor import MAX_CODE_BITS
from .collect import columns, map_width, pixels_of

__all__ = ["PlaneTable"]


class PlaneTable(wiring.Component):
    """Looks up the planes of a code of at most 4 bits; the digits above are planes of their own.

    Combinational. A table in LUT RAM, one copy per code, takes an eighth of the multiplexers that
    would choose among the layer's fields; it is filled within 17 cycles from the layer's begin.

    Parameters
    ----------
    config : MachineConfig
        Machine.

    Members
    -------
    layer : In(output_layout), begin : In(1)
        The layer, and its first cycle.
    codes : In(pixels_per_cycle * cols * map_width), planes : Out(the same)
        Codes of a pixel, or of two, and for every one of them the bits of its planes, plane 0
        lowest.
    """

    def __init__(self, config):
        self.config = config
        width = config.pixels_per_cycle * config.cols * map_width(config)
        super().__init__({"layer": In(output_layout(config)), "begin": In(1),
                          "codes": In(width), "planes": Out(width)})

    def elaborate(self, platform):
        m = Module()
        config, layer = self.config, self.layer
        low = min(MAX_CODE_BITS, map_width(config))
        m.submodules.table = table = memory.Memory(
            shape=low, depth=1 << low, init=[], attrs={"ram_style": "distributed"})
        write = table.write_port()
        code = Signal(low)
        with m.If(write.en):
            m.d.sync += code.eq(code + 1)
        with m.If(self.begin):
            m.d.sync += [write.en.eq(1), code.eq(0)]
        with m.Elif(code.all()):
            m.d.sync += write.en.eq(0)
        entries = Cat(layer.planes_low, layer.planes_high)
        m.d.comb += [write.addr.eq(code),
                     write.data.eq(entries.word_select(code, MAX_CODE_BITS))]
        found = []
        for value in (code for pixel in pixels_of(config, self.codes)
                      for code in columns(config, pixel)):
            read = table.read_port(domain="comb")
            m.d.comb += read.addr.eq(value[:low])
            found.append(Cat(read.data, value[low:]))
        m.d.comb += self.planes.eq(Cat(found))
        return m
