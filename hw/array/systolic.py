"""The systolic array: skewed operands in, drained counts out."""

from itertools import pairwise

from amaranth.hdl import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.delay import Delay
from .drain import Count, DrainControl
from .element import Flags, ProcessingElement

__all__ = ["SystolicArray"]


class SystolicArray(wiring.Component):
    """``rows`` x ``cols`` processing elements with operand skew and draining.

    Row r (0 at the bottom, nearest the units) sees an operand ``rows - 1 - r`` cycles after the top
    row, column c sees it c cycles after column 0. Activations are skewed in here; weights must come
    in skewed already, column c by c cycles, because their banks are addressed systolically.

    Parameters
    ----------
    config : MachineConfig
        Machine.
    popcount : str
        Strategy of :class:`hw.array.popcount.MismatchCount`.

    Members
    -------
    activations : In(lanes).array(rows)
        One word per row, all of the same step.
    flags : In(Flags)
        Flags of that step.
    weights : In(lanes).array(cols)
        One word per column; column c belongs to the step of c cycles ago.
    counts : Out(stream.Signature(Count, always_ready=True)).array(cols, units)
        Drained counts; unit u serves rows ``u * drain_cycles`` upwards.
    """

    def __init__(self, config, *, popcount="plain"):
        self.config = config
        self.popcount = popcount
        super().__init__({
            "activations": In(config.lanes).array(config.rows),
            "flags": In(Flags),
            "weights": In(config.lanes).array(config.cols),
            "counts": Out(stream.Signature(Count(config), always_ready=True)
                          ).array(config.cols, config.units),
        })

    def elaborate(self, platform):
        m = Module()
        rows, cols = self.config.rows, self.config.cols
        elements = {}
        for r in range(rows):
            for c in range(cols):
                element = ProcessingElement(self.config, popcount=self.popcount)
                m.submodules[f"element_{r}_{c}"] = elements[r, c] = element
        for r in range(rows):
            word, flags = self._skew(m, r, rows - 1 - r)
            for c in range(cols):
                m.d.comb += [elements[r, c].activation_i.eq(word), elements[r, c].flags_i.eq(flags)]
                word, flags = elements[r, c].activation_o, elements[r, c].flags_o
        for c in range(cols):
            weight = self.weights[c]
            for r in reversed(range(rows)):
                m.d.comb += elements[r, c].weight_i.eq(weight)
                weight = elements[r, c].weight_o
        for u in range(self.config.units):
            bottom, top = u * self.config.drain_cycles, (u + 1) * self.config.drain_cycles
            self._drain(m, u, [[elements[r, c] for r in range(bottom, top)] for c in range(cols)])
        return m

    def _skew(self, m, row, cycles):
        operand = data.StructLayout({"word": self.config.lanes, "flags": Flags})
        m.submodules[f"skew_{row}"] = skew = Delay(operand, cycles)
        m.d.comb += [skew.i.word.eq(self.activations[row]), skew.i.flags.eq(self.flags)]
        return skew.o.word, skew.o.flags

    def _drain(self, m, unit, segments):
        """All columns drain alike, one cycle apart, so what column 0 is told is handed on."""
        rows = self.config.drain_cycles
        m.submodules[f"drain_{unit}"] = control = DrainControl(rows)
        m.d.comb += control.loaded.eq(segments[0][0].loaded)
        told = {"first": segments[0][0].loaded, "valid": control.valid, "shift": control.shift}
        for column, segment in enumerate(segments):
            before, told = told, {name: Signal.like(value, name=f"{name}_{unit}_{column}")
                                  for name, value in told.items()}
            domain = m.d.sync if column else m.d.comb
            domain += [told[name].eq(value) for name, value in before.items()]
            for q, element in enumerate(segment):
                m.d.comb += element.shift.eq(told["shift"][q])
            for element, above in pairwise(segment):
                m.d.comb += element.above.eq(above.result)
            counts = self.counts[column][unit]
            m.d.comb += [
                counts.payload.first.eq(told["first"]), counts.valid.eq(told["valid"]),
                counts.payload.count.eq(segment[0].result),
            ]
