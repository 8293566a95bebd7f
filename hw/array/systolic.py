"""The systolic array: skewed operands in, drained counts out."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .element import Flags, ProcessingElement

__all__ = ["CountSignature", "DrainControl", "SystolicArray"]


class CountSignature(wiring.Signature):
    """Counts that leave one segment of a column, one per cycle, bottom row first.

    Members
    -------
    start : Out(1)
        The first count of a pass.
    valid : Out(1)
        A count is present; ``drain_cycles`` cycles in a row from ``start``.
    count : Out(count_bits)
        Mismatches.
    """

    def __init__(self, config):
        super().__init__({"start": Out(1), "valid": Out(1), "count": Out(config.count_bits)})


class DrainControl(wiring.Component):
    """Shifts the counts of one column segment down to its unit, under the next pass.

    The rows of a segment finish from the top down, one cycle apart; so may their next counts. Row q
    (0 at the bottom) therefore shifts for exactly as many cycles as there are rows above it and is
    free for its own next count when the wave of the next pass arrives, ``rows`` cycles later at the
    earliest.

    Parameters
    ----------
    rows : int
        Rows of the segment.

    Members
    -------
    loaded : In(1)
        The bottom row has finished.
    shift : Out(rows)
        Row takes over the count above it.
    valid : Out(1)
        The bottom row shows a count of this pass.
    """

    def __init__(self, rows):
        self.rows = rows
        super().__init__({"loaded": In(1), "shift": Out(rows), "valid": Out(1)})

    def elaborate(self, platform):
        m = Module()
        rows = self.rows
        # waiting[q]: row q still owes a shift; the ones move down and run out at the bottom.
        waiting = Signal(rows)
        below_top = (1 << (rows - 1)) - 1
        with m.If(self.loaded):
            m.d.sync += waiting.eq(below_top >> 1)
        with m.Else():
            m.d.sync += waiting.eq(waiting >> 1)
        m.d.comb += self.shift.eq(waiting | Cat(self.loaded for _ in range(rows - 1)))
        presented = Signal(rows)
        m.d.sync += presented.eq((presented << 1) | self.loaded)
        m.d.comb += self.valid.eq(self.loaded | presented[:rows - 1].any())
        return m


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
    counts : Out(CountSignature).array(cols, units)
        Drained counts; unit u serves rows ``u * drain_cycles`` upwards.
    """

    def __init__(self, config, *, popcount="plain"):
        self.config = config
        self.popcount = popcount
        super().__init__({
            "activations": In(config.lanes).array(config.rows),
            "flags": In(Flags),
            "weights": In(config.lanes).array(config.cols),
            "counts": Out(CountSignature(config)).array(config.cols, config.units),
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
            self._drain(m, c, [elements[r, c] for r in range(rows)])
        return m

    def _skew(self, m, row, cycles):
        word, flags = self.activations[row], self.flags
        for stage in range(cycles):
            next_word = Signal(self.config.lanes, name=f"skew_{row}_{stage}")
            next_flags = Signal(Flags, name=f"skew_flags_{row}_{stage}")
            m.d.sync += [next_word.eq(word), next_flags.eq(flags)]
            word, flags = next_word, next_flags
        return word, flags

    def _drain(self, m, column, elements):
        segment_rows = self.config.drain_cycles
        for unit in range(self.config.units):
            segment = elements[unit * segment_rows:(unit + 1) * segment_rows]
            m.submodules[f"drain_{column}_{unit}"] = drain = DrainControl(segment_rows)
            m.d.comb += drain.loaded.eq(segment[0].loaded)
            for q, element in enumerate(segment):
                m.d.comb += element.shift.eq(drain.shift[q])
                if q + 1 < segment_rows:
                    m.d.comb += element.above.eq(segment[q + 1].result)
            counts = self.counts[column][unit]
            m.d.comb += [
                counts.start.eq(drain.loaded),
                counts.valid.eq(drain.valid),
                counts.count.eq(segment[0].result),
            ]
