"""From a layer to its results: feed, operands, array, columns and output, wired up."""

from amaranth.hdl import Cat, Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .array.systolic import SystolicArray
from .column.columns import Columns
from .common.layout import (
    PairLayout,
    TapLayout,
    column_layout,
    feed_layout,
    output_layout,
    term_layout,
)
from .control.fault import FAULT_MEMORIES
from .feed.feed import Feed
from .feed.operands import Operands
from .memory.probe import ProbeSignature
from .memory.store import Entry, Store
from .memory.table import RecordTable
from .output.output import Output
from .spec.descriptor import PAIR, TAP, TERM
from .spec.memory import Memory

__all__ = ["Datapath"]

TABLES = {Memory.TERMS: TERM, Memory.TAPS: TAP, Memory.PAIRS: PAIR}
"""Tables that the feed looks up."""

MEMORIES = (*TABLES, Memory.ACTIVATIONS, Memory.WEIGHTS, Memory.SCALES, Memory.PARAMETERS)
"""Memories that lie in here."""


class Datapath(wiring.Component):
    """Runs one layer after another, and holds all its memories.

    Parameters
    ----------
    config : MachineConfig
        Machine.
    popcount : str
        Strategy of :class:`hw.array.popcount.MismatchCount`.

    Members
    -------
    store : In(stream.Signature(Entry, always_ready=True))
        Entries from the host, while no layer runs.
    feed, column, output : In(stream.Signature(...))
        A layer's records, offered at once, each taken when its block has done with it.
    events : Out(4)
        ``busy``, ``stalled_on_drain``, ``stalled_on_output``, ``stalled_on_input``.
    raw_request : Out(1), raw : Out(stream.Signature(32))
        A tile of accumulators for the host.
    probe : In(ProbeSignature), probed : Out(lanes)
        Host read of an activation entry, and row 0.
    faults : Out(5)
        One bit per memory of :data:`hw.control.fault.FAULT_MEMORIES`.
    """

    def __init__(self, config, *, popcount="plain"):
        self.config = config
        self.popcount = popcount
        super().__init__({
            "store": In(stream.Signature(Entry(config), always_ready=True)),
            "feed": In(stream.Signature(feed_layout(config))),
            "column": In(stream.Signature(column_layout(config))),
            "output": In(stream.Signature(output_layout(config))),
            "events": Out(4),
            "raw_request": Out(1), "raw": Out(stream.Signature(32)),
            "probe": In(ProbeSignature(config)),
            "probed": Out(config.lanes),
            "faults": Out(len(FAULT_MEMORIES)),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        m.submodules.store = store = Store(config, MEMORIES)
        m.submodules.feed = feed = Feed(config)
        m.submodules.operands = operands = Operands(config)
        m.submodules.array = array = SystolicArray(config, popcount=self.popcount)
        m.submodules.columns = columns = Columns(config)
        m.submodules.output = output = Output(config)
        wiring.connect(m, wiring.flipped(self.store), store.i)
        wiring.connect(m, wiring.flipped(self.feed), feed.layer)
        wiring.connect(m, wiring.flipped(self.column), columns.layer)
        wiring.connect(m, wiring.flipped(self.output), output.layer)
        wiring.connect(m, wiring.flipped(self.probe), feed.probe)
        self._tables(m, store, feed)
        self._array(m, store, feed, operands, array)
        self._results(m, store, feed, array, columns, output)
        wiring.connect(m, output.write, operands.write)
        faults = {
            Memory.TAPS: feed.fault_tables,
            Memory.ACTIVATIONS: feed.fault_activations | output.fault,
            Memory.WEIGHTS: feed.fault_weights,
            Memory.SCALES: columns.fault_scales,
            Memory.PARAMETERS: columns.fault_parameters,
        }
        m.d.comb += [
            self.faults.eq(Cat(faults[memory] for memory in FAULT_MEMORIES)),
            self.events.eq(Cat(feed.busy, feed.stalled_on_drain, feed.stalled_on_output,
                               feed.stalled_on_input)),
            self.probed.eq(operands.probed),
        ]
        return m

    def _tables(self, m, store, feed):
        layouts = {Memory.TERMS: term_layout(self.config), Memory.TAPS: TapLayout,
                   Memory.PAIRS: PairLayout}
        for memory, record in TABLES.items():
            name = memory.name.lower()
            depth = getattr(self.config, f"{name[:-1]}_depth")
            m.submodules[name] = table = RecordTable(record, layouts[memory], depth)
            wiring.connect(m, getattr(store, name)[0], table.store)
            wiring.connect(m, table.read, getattr(feed, name))

    def _array(self, m, store, feed, operands, array):
        for name in ("activations", "weights"):
            for bank, port in zip(getattr(operands, name), getattr(store, name), strict=True):
                wiring.connect(m, bank, port)
        wiring.connect(m, feed.read, operands.read)
        m.d.comb += [operands.flags.eq(feed.flags), operands.address.eq(feed.weight.address),
                     array.flags.eq(operands.row_flags)]
        m.d.comb += [array.activations[r].eq(word) for r, word in enumerate(operands.rows)]
        m.d.comb += [array.weights[c].eq(word) for c, word in enumerate(operands.cols)]

    def _results(self, m, store, feed, array, columns, output):
        config = self.config
        if config.border_classes:
            wiring.connect(m, feed.classes, columns.classes)
        for name in ("scales", "parameters"):
            for bank, port in zip(getattr(columns, name), getattr(store, name), strict=True):
                wiring.connect(m, bank, port)
        for c in range(config.cols):
            for u in range(config.units):
                wiring.connect(m, array.counts[c][u], columns.counts[c][u])
                wiring.connect(m, columns.codes[c][u], output.codes[c][u])
                m.d.comb += [output.acc[c][u].eq(columns.acc[c][u]),
                             columns.pop[c][u].eq(output.pop[c][u])]
        m.d.comb += output.arrived.eq(columns.arrived)
        wiring.connect(m, output.raw, wiring.flipped(self.raw))
        m.d.comb += [self.raw_request.eq(output.raw_request), feed.raw_done.eq(output.raw_done)]
