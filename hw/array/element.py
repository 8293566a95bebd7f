"""The processing element: mismatches of two passing operands, counted over a pass."""

from amaranth.hdl import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..common.delay import Delay
from .popcount import MismatchCount

__all__ = ["Flags", "ProcessingElement", "element_latency"]


class Flags(data.Struct):
    """What a step does to the counts; travels with the activations."""

    #: The step counts; otherwise it is a bubble.
    valid: 1
    #: Start a new count.
    clear: 1
    #: Double the count first.
    double: 1
    #: The count is complete with this step; never without ``valid``.
    last: 1


def element_latency(config):
    """Cycles from operands at an element's inputs to the completed count at its result."""
    return 2 + config.popcount_stages


class ProcessingElement(wiring.Component):
    """Exclusive-or, popcount, clear-or-accumulate, and a result register beside the count.

    Operands are handed to the neighbours after one cycle. The count of a pass reaches ``result``
    :func:`element_latency` cycles after its last operands, while the next pass already runs: there
    is no bubble between passes. ``result`` is also a stage of the column's drain chain.

    Parameters
    ----------
    config : MachineConfig
        Machine.
    popcount : str
        Strategy of :class:`hw.array.popcount.MismatchCount`.

    Members
    -------
    activation_i, activation_o : lanes bits
        Activations, passed along the row.
    flags_i, flags_o : Flags
        Flags, passed with the activations.
    weight_i, weight_o : lanes bits
        Weights, passed down the column.
    above : In(count_bits)
        Result of the element above.
    shift : In(1)
        Take over ``above``.
    result : Out(count_bits)
        Completed count, or what was shifted in.
    loaded : Out(1)
        A completed count is in ``result`` for the first cycle.
    """

    def __init__(self, config, *, popcount="plain"):
        self.config = config
        self.popcount = popcount
        super().__init__({
            "activation_i": In(config.lanes), "activation_o": Out(config.lanes),
            "flags_i": In(Flags), "flags_o": Out(Flags),
            "weight_i": In(config.lanes), "weight_o": Out(config.lanes),
            "above": In(config.count_bits), "shift": In(1),
            "result": Out(config.count_bits), "loaded": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        m.d.sync += [
            self.activation_o.eq(self.activation_i),
            self.flags_o.eq(self.flags_i),
            self.weight_o.eq(self.weight_i),
        ]

        m.submodules.mismatches = mismatches = MismatchCount(
            config.lanes, stages=config.popcount_stages, strategy=self.popcount)
        m.d.comb += [mismatches.a.eq(self.activation_o), mismatches.b.eq(self.weight_o)]
        m.submodules.flags = later = Delay(Flags, config.popcount_stages)
        m.d.comb += later.i.eq(self.flags_o)
        flags = later.o

        count = Signal(unsigned(config.count_bits))
        carried = Signal.like(count)
        total = Signal.like(count)
        kept = Mux(flags.double, count << 1, count) if config.doubling else count
        m.d.comb += [
            carried.eq(Mux(flags.clear, 0, kept)),
            total.eq((Cat(mismatches.carry, carried)
                      + Cat(mismatches.carry, mismatches.count))[1:]),
        ]
        with m.If(flags.valid):
            m.d.sync += count.eq(total)
        with m.If(flags.last):
            m.d.sync += self.result.eq(total)
        with m.Elif(self.shift):
            m.d.sync += self.result.eq(self.above)
        m.d.sync += self.loaded.eq(flags.last)
        return m
