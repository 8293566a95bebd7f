"""Loading the parameters of a column tile from the banks into the columns."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..common.delay import Delay
from ..common.guard import Guard
from ..common.layout import column_layout
from ..common.turns import last_turn
from ..spec.descriptor import BORDER_CLASSES
from ..spec.latency import threshold_levels

__all__ = ["LoadToken", "ParameterLoader"]


class LoadToken(data.StructLayout):
    """An entry that every column reads from its parameter bank; handed on, one cycle apart.

    ``en``, ``address``: the entry. ``bias``: it is the last bias of its block. ``levels``,
    ``place``: the level of the threshold pipeline that takes it, if any, and where in it.
    ``phase``: for which half of the memories.
    """

    def __init__(self, config):
        levels = threshold_levels(config)
        # What a bank takes lies apart: side by side, it would be a port of another name in every
        # column, and no two columns the same module.
        super().__init__({"en": 1, "bias": 1, "address": range(config.parameter_depth),
                          "levels": levels, "place": max(levels - 1, 1), "phase": 1})


class ParameterLoader(wiring.Component):
    """Reads the block of a column tile, one entry per cycle.

    The first entry is read ``threshold_levels`` cycles after ``begin`` or ``load``: then the
    accumulators of the sweep before have passed every level that is written.

    Thresholds come as a heap and fill the last ``code_bits`` levels of the pipeline, the root the
    first of these. Multiplier and addend fill the first places of levels 0 and 1.

    Parameters
    ----------
    config : MachineConfig
        Machine.

    Members
    -------
    layer : In(column_layout), begin : In(1)
        The layer, and its first cycle: load the first block.
    load : In(1)
        Load the next block; ``layer.block`` cycles after the one before at the earliest.
    token : Out(LoadToken)
        The entry that column 0 reads.
    fault : Out(1)
        It lies outside the memory.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({"layer": In(column_layout(config)), "begin": In(1), "load": In(1),
                          "token": Out(LoadToken(config)), "fault": Out(1)})

    def elaborate(self, platform):
        m = Module()
        config, layer, token = self.config, self.layer, self.token
        levels = threshold_levels(config)
        m.submodules.later = later = Delay(1, levels - 1)
        m.d.comb += later.i.eq(self.begin | self.load)

        # The heap's node; biases are counted from below, so that the last one is node 0.
        node = Signal(signed(max(levels, 4) + 1))
        address = Signal(range(2 * config.parameter_depth))
        phase = Signal()
        last = last_turn(m, "entry", layer.block, begin=later.o, end=token.en)
        m.submodules.guard_parameters = guard = Guard(len(address), config.parameter_depth)
        m.d.comb += [
            guard.valid.eq(token.en), guard.i.eq(address), self.fault.eq(guard.fault),
            token.address.eq(guard.o), token.phase.eq(phase),
        ]
        with m.If(token.en):
            m.d.sync += [address.eq(address + 1), node.eq(node + 1)]
            with m.If(last):
                m.d.sync += [token.en.eq(0), phase.eq(~phase)]
        with m.If(later.o):
            m.d.sync += [token.en.eq(1), node.eq(Mux(self._bordered(), 1 - BORDER_CLASSES ** 2, 0))]
        with m.If(self.begin):
            m.d.sync += [address.eq(layer.parameter_base), phase.eq(0)]
        self._place(m, node, levels)
        return m

    def _bordered(self):
        return Cat(self.layer[f"border_{side}"]
                   for side in ("top", "bottom", "left", "right")).any()

    def _place(self, m, node, levels):
        """Splits a node into its depth and its place among those of equal depth."""
        token, heap, depth = self.token, node[:levels], Signal(levels)
        above = [heap[bit + 1:].any() for bit in range(levels)]
        m.d.comb += [
            token.bias.eq(token.en & (node == 0)),
            depth.eq(Cat(token.en & (node >= 0) & heap[bit] & ~above[bit]
                         for bit in range(levels))),
            token.place.eq(Cat(heap[bit] & above[bit] for bit in range(levels - 1))),
            token.levels.eq(depth),
        ]
        with m.If(~self.layer.rescale):
            with m.Switch(self.layer.code_bits):
                for bits in range(1, levels):
                    with m.Case(bits):
                        m.d.comb += token.levels.eq(depth << levels - bits)
