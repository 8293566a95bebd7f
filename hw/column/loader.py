"""Loading the parameters of a column tile from the banks into the columns."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..common.delay import Delay
from ..common.guard import Guard
from ..common.layout import column_layout
from ..spec.descriptor import BORDER_CLASSES
from .passes import has_borders

__all__ = ["LoadToken", "ParameterLoader"]


class LoadToken(data.StructLayout):
    """An entry that every column reads from its parameter bank; handed on, one cycle apart.

    ``en``, ``address``: the entry. ``bias``: it is a bias or an addend. ``levels``, ``place``: the
    level of the threshold pipeline that takes it otherwise, and where in it. ``phase``: for which
    half of the memories.
    """

    def __init__(self, config):
        levels = config.code_bits
        # What a bank takes lies apart: side by side, it would be a port of another name in every
        # column, and no two columns the same module.
        super().__init__({"en": 1, "bias": 1, "address": range(config.parameter_depth),
                          "levels": levels, "place": max(levels - 1, 1), "phase": 1})


class ParameterLoader(wiring.Component):
    """Reads the thresholds of a column tile, which stand behind its biases, one entry per cycle; a
    bias or an addend that is needed goes first.

    The first entry is read ``code_bits + 1`` cycles after ``begin`` or ``load``: then the
    accumulators of the sweep before have passed every level that is written. Biases may take half
    of the cycles, as a tile with borders follows the one before after twice as many as it needs
    biases: there are more of them in a block than cycles in which the others wait.

    Thresholds come as a heap and fill the last levels of the pipeline, one for each bit of the
    layer's codes, the root the first of these.

    Parameters
    ----------
    config : MachineConfig
        Machine.

    Members
    -------
    layer : In(column_layout), begin : In(1)
        The layer, and its first cycle: load the first block.
    bias : In(1), bias_entry : In(range(2 * parameter_depth))
        Read a bias or an addend.
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
                          "bias": In(1), "bias_entry": In(range(2 * config.parameter_depth)),
                          "token": Out(LoadToken(config)), "fault": Out(1)})

    def elaborate(self, platform):
        m = Module()
        config, layer, token = self.config, self.layer, self.token
        levels = config.code_bits
        m.submodules.later = later = Delay(1, levels)
        m.d.comb += later.i.eq(self.begin | self.load)

        node, loading, reading = Signal(levels, init=1), Signal(), Signal()
        address, phase = Signal(range(2 * config.parameter_depth)), Signal()
        bordered, last = Signal(), Signal()
        m.d.comb += [
            bordered.eq(has_borders(layer)), reading.eq(loading & ~self.bias),
            last.eq(Cat(node[bit] | (layer.code_bits <= bit) for bit in range(levels)).all())]
        m.submodules.guard_parameters = guard = Guard(len(address), config.parameter_depth)
        m.d.comb += [
            guard.valid.eq(token.en), guard.i.eq(Mux(self.bias, self.bias_entry, address)),
            self.fault.eq(guard.fault), token.en.eq(loading | self.bias),
            token.bias.eq(self.bias), token.address.eq(guard.o), token.phase.eq(phase),
        ]
        # From the begin of a block on over the biases, and from threshold to threshold.
        with m.If(later.o | reading):
            m.d.sync += address.eq(address + Mux(later.o & bordered, BORDER_CLASSES ** 2, 1))
        with m.If(reading):
            m.d.sync += node.eq(node + 1)
            with m.If(last):
                m.d.sync += [loading.eq(0), phase.eq(~phase)]
        with m.If(later.o):
            m.d.sync += [loading.eq(~layer.raw & ~layer.rescale), node.eq(1)]
        with m.If(self.begin):
            m.d.sync += [address.eq(layer.parameter_base), phase.eq(0)]
        self._place(m, node, reading, levels)
        return m

    def _place(self, m, node, reading, levels):
        """Splits a node into its depth and its place among those of equal depth."""
        token, depth = self.token, Signal(levels)
        above = [node[bit + 1:].any() for bit in range(levels)]
        m.d.comb += [
            depth.eq(Cat(reading & node[bit] & ~above[bit] for bit in range(levels))),
            token.place.eq(Cat(node[bit] & above[bit] for bit in range(levels - 1))),
            token.levels.eq(depth),
        ]
        with m.Switch(self.layer.code_bits):
            for bits in range(1, levels):
                with m.Case(bits):
                    m.d.comb += token.levels.eq(depth << levels - bits)
