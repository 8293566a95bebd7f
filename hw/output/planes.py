"""Codes become planes, by the table of the layer."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from ..common.layout import output_layout
from ..spec.descriptor import MAX_CODE_BITS
from .collect import Row, map_width

__all__ = ["PlaneTable"]


class PlaneTable(wiring.Component):
    """Looks up the planes of a code of at most 4 bits; the digits above are planes of their own.

    Combinational. A table in LUT RAM, one copy per column, takes an eighth of the multiplexers that
    would choose among the layer's fields; it is filled within 17 cycles from the layer's begin.

    Parameters
    ----------
    config : MachineConfig
        Machine.

    Members
    -------
    layer : In(output_layout), begin : In(1)
        The layer, and its first cycle.
    codes : In(Row), planes : Out(Row)
        Codes of a pixel, and bit p of every one of them on plane p.
    """

    def __init__(self, config):
        self.config = config
        row = Row(config, map_width(config))
        super().__init__({"layer": In(output_layout(config)), "begin": In(1),
                          "codes": In(row), "planes": Out(row)})

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
        for value, planes in zip(self.codes, self.planes):
            read = table.read_port(domain="comb")
            m.d.comb += [read.addr.eq(value[:low]), planes.eq(Cat(read.data, value[low:]))]
        return m
