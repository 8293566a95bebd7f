"""Counts the tiles of a layer as they leave."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..common.layout import output_layout
from ..common.turns import last_turn

__all__ = ["TileCounter"]


class TileCounter(wiring.Component):
    """Pixel tiles inside, column tiles outside.

    Parameters
    ----------
    config : MachineConfig
        Machine.

    Members
    -------
    layer : In(output_layout), begin : In(1)
        The layer, and its first cycle.
    step : In(1)
        A tile leaves.
    sweep_last, col_last : Out(1)
        The tile that leaves next is the last one of its sweep; its column tile is the last one.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "layer": In(output_layout(config)), "begin": In(1), "step": In(1),
            "sweep_last": Out(1), "col_last": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        sweep_last = last_turn(m, "pixel", self.layer.pixel_tiles, begin=self.begin, end=self.step)
        col_last = last_turn(m, "col", self.layer.col_tiles, begin=self.begin,
                             end=self.step & sweep_last)
        m.d.comb += [self.sweep_last.eq(sweep_last), self.col_last.eq(col_last)]
        return m
