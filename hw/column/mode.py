"""What all columns know of a layer, decoded once."""

from amaranth.hdl import Cat, Module
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..common.layout import column_layout
from ..spec.descriptor import MAX_MAP_BITS, RESCALE_SHIFTS

__all__ = ["ColumnMode", "ModeDecoder"]


class ColumnMode(data.StructLayout):
    """How accumulators leave.

    ``levels``: levels of the threshold pipeline that search, the last ``code_bits`` of them; none
    in other layers. With ``config.rescale`` also ``rescale``; ``shifts``: one bit per entry of
    :data:`hw.spec.descriptor.RESCALE_SHIFTS`, none in other layers; ``largest``: the largest code.
    """

    def __init__(self, config):
        fields = {"raw": 1, "levels": config.code_bits}
        if config.rescale:
            fields |= {"rescale": 1, "shifts": len(RESCALE_SHIFTS), "largest": MAX_MAP_BITS}
        super().__init__(fields)


class ModeDecoder(wiring.Component):
    """Decodes the layer for all columns; the mode is one cycle late.

    Members
    -------
    layer : In(column_layout)
        The layer.
    mode : Out(ColumnMode)
        Its mode.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({"layer": In(column_layout(config)), "mode": Out(ColumnMode(config))})

    def elaborate(self, platform):
        m = Module()
        layer, mode = self.layer, self.mode
        levels = self.config.code_bits
        codes = ~layer.raw & ~layer.rescale
        m.d.sync += [mode.raw.eq(layer.raw),
                     mode.levels.eq(Cat(codes & (layer.code_bits >= levels - level)
                                        for level in range(levels)))]
        if self.config.rescale:
            m.d.sync += [
                mode.rescale.eq(layer.rescale & ~layer.raw),
                mode.shifts.eq(Cat(layer.rescale & ~layer.raw & (layer.shift == index)
                                   for index in range(len(RESCALE_SHIFTS)))),
                mode.largest.eq(Cat(layer.code_bits > bit for bit in range(MAX_MAP_BITS))),
            ]
        return m
