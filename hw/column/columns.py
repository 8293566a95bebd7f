"""Everything behind the array: units of every column, and what tells them what to do."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..array.drain import Count
from ..common.delay import Delay
from ..common.layout import column_layout
from ..common.queue import Queue
from ..memory.bank import write_signature
from ..spec.latency import ELEMENT_LATENCY, FEED_LATENCY
from .loader import ParameterLoader
from .mode import ModeDecoder
from .passes import CLASS_BITS, PassSequencer
from .unit import ColumnUnit, code_width

__all__ = ["Columns", "tiles_in_flight"]


def tiles_in_flight(config):
    """Most tiles whose first step has been issued and whose first pass has not drained.

    Their last steps are ``rows`` cycles apart; the one that begins and the one whose steps are
    still being issued come on top, and so does one that is just being handed out. In pixel pairs
    there are more; classes get lost then, but mean nothing.
    """
    latency = FEED_LATENCY + ELEMENT_LATENCY + config.popcount_stages + config.rows - 1
    return -(-latency // config.rows) + 3


class Columns(wiring.Component):
    """Accumulates counts, and makes codes or raw accumulators of them, layer by layer.

    All columns do the same, one cycle apart, and so do the units of a column, from the top one to
    unit 0, ``drain_cycles`` apart. A code leaves a constant time after its tile's final count:
    :func:`hw.spec.latency.staircase_latency` cycles, in a layer with ``rescale``
    :func:`hw.spec.latency.rescaled_latency` cycles. A raw accumulator lies in its ring
    ``SCALE_LATENCY`` cycles after its count.

    The layer is let go in the cycle in which the last code of unit 0 of the last column shows; with
    ``rescale``, ``code_bits - 1`` cycles later; in a raw layer, with the last ``arrived``.

    The feed keeps distances between passes that drain at a unit. The first pass of a sweep follows
    the first one of the sweep before after ``layer.block + PARAMETER_CYCLES`` cycles or more, or
    the begin of the layer; a pass follows the last one of a tile with ``rescale`` after
    :func:`hw.spec.latency.rescale_cycles` or more; a pass after a raw tile waits until all
    accumulators have been popped.

    Parameters
    ----------
    config : MachineConfig
        Machine.

    Members
    -------
    scales, parameters : Out(write_signature).array(cols)
        Entries from the host, while no layer runs.
    layer : In(stream.Signature(column_layout))
        The layer; it begins when it becomes valid.
    counts : In(stream.Signature(Count, always_ready=True)).array(cols, units)
        Drained counts.
    classes : In(stream.Signature(data.ArrayLayout(CLASS_BITS, rows), always_ready=True))
        With ``config.border_classes``: border class of every pixel of a tile, first pixel first,
        when the tile's first step is issued.
    codes : Out(stream.Signature(code_width, always_ready=True)).array(cols, units)
        Codes in the order of the counts.
    acc : Out(signed(acc_bits)).array(cols, units), pop : In(1).array(cols, units)
        Oldest accumulator of a raw tile; ``pop`` brings the next one to the front.
    arrived : Out(1)
        The last accumulator of a raw tile is in the ring of unit 0 of the last column, for the
        first cycle.
    fault_scales, fault_parameters : Out(1)
        An entry outside that memory is used.
    """

    def __init__(self, config):
        self.config = config
        members = {
            "scales": Out(write_signature(config.scale_bits + 1, config.scale_depth)
                          ).array(config.cols),
            "parameters": Out(write_signature(config.acc_bits, config.parameter_depth)
                              ).array(config.cols),
            "layer": In(stream.Signature(column_layout(config))),
            "counts": In(stream.Signature(Count(config), always_ready=True)
                         ).array(config.cols, config.units),
            "codes": Out(stream.Signature(code_width(config), always_ready=True)
                         ).array(config.cols, config.units),
            "acc": Out(signed(config.acc_bits)).array(config.cols, config.units),
            "pop": In(1).array(config.cols, config.units), "arrived": Out(1),
            "fault_scales": Out(1), "fault_parameters": Out(1),
        }
        if config.border_classes:
            members["classes"] = In(stream.Signature(
                data.ArrayLayout(CLASS_BITS, config.rows), always_ready=True))
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        config, layer = self.config, self.layer
        running, begin = Signal(), Signal()
        m.submodules.mode = mode = ModeDecoder(config)
        m.d.comb += [begin.eq(layer.valid & ~running), mode.layer.eq(layer.payload)]
        with m.If(begin):
            m.d.sync += running.eq(1)
        with m.If(layer.ready):
            m.d.sync += running.eq(0)

        for u in range(config.units):
            m.submodules[f"passes_{u}"] = passes = PassSequencer(config)
            m.submodules[f"loader_{u}"] = loader = ParameterLoader(config)
            for block in (passes, loader):
                m.d.comb += [block.layer.eq(layer.payload), block.begin.eq(begin)]
            m.d.comb += [passes.drained.eq(self.counts[0][u].payload.first),
                         loader.load.eq(passes.load), loader.bias.eq(passes.bias),
                         loader.bias_entry.eq(passes.bias_entry)]
            if config.border_classes:
                self._classes(m, u, passes)
            if u == 0:
                m.d.comb += [self.fault_scales.eq(passes.fault),
                             self.fault_parameters.eq(loader.fault)]
            unit = self._units(m, u, mode.mode, passes.token, loader.token)
            if u == 0:
                self._end(m, unit, mode.mode)
        return m

    def _classes(self, m, u, passes):
        """The top unit takes the first pixels."""
        drain = self.config.drain_cycles
        m.submodules[f"classes_{u}"] = queue = Queue(
            data.ArrayLayout(CLASS_BITS, drain), tiles_in_flight(self.config))
        first = (self.config.units - 1 - u) * drain
        m.d.comb += [queue.i.valid.eq(self.classes.valid)]
        m.d.comb += [queue.i.payload[row].eq(self.classes.payload[first + row])
                     for row in range(drain)]
        wiring.connect(m, queue.o, passes.classes)

    def _units(self, m, u, mode, token, load):
        """Units of one row, from column to column.

        Returns
        -------
        ColumnUnit
            That of the last column.
        """
        for c in range(self.config.cols):
            m.submodules[f"unit_{c}_{u}"] = unit = ColumnUnit(self.config)
            wiring.connect(m, wiring.flipped(self.counts[c][u]), unit.counts)
            wiring.connect(m, unit.code, wiring.flipped(self.codes[c][u]))
            m.d.comb += [unit.mode.eq(mode), unit.token.eq(token), unit.load.eq(load),
                         unit.pop.eq(self.pop[c][u]), self.acc[c][u].eq(unit.acc)]
            for name in ("scales", "parameters"):
                host, bank = getattr(self, name)[c], getattr(unit, name)
                m.d.comb += [bank.en.eq(host.en), bank.addr.eq(host.addr), bank.data.eq(host.data)]
            token, load = unit.token_o, unit.load_o
        return unit

    def _end(self, m, unit, mode):
        """Lets the layer go."""
        m.submodules.end = end = Delay(1, self.config.code_bits)
        m.d.comb += [
            end.i.eq(unit.ended & unit.last & ~mode.raw), self.arrived.eq(unit.ended & mode.raw),
            self.layer.ready.eq(Mux(mode.raw, self.arrived & unit.last, end.o)),
        ]
