"""From a layer to its results: feed, banks, rotator, array, units and writer, wired up."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .array.element import Flags, element_latency
from .array.systolic import SystolicArray
from .column.passes import PassEnd, PassSequencer, PassToken
from .column.unit import ColumnUnit
from .common.delay import Delay
from .common.layout import layer_layout
from .control.fault import FAULT_MEMORIES
from .feed.feed import Feed
from .feed.rotator import Rotator
from .memory.activations import ActivationBanks
from .memory.probe import ProbeSignature
from .memory.store import Entry, Store
from .memory.table import RecordTable
from .memory.weights import WeightBanks
from .output.collect import TileCollector
from .output.raw import RawEmitter
from .output.tiles import TileCounter
from .output.writer import Writer
from .spec.descriptor import PAIR, TAP
from .spec.memory import Memory

__all__ = ["Datapath"]

MEMORIES = (Memory.TAPS, Memory.PAIRS, Memory.ACTIVATIONS, Memory.WEIGHTS, Memory.SCALES,
            Memory.BIASES, Memory.THRESHOLDS)
"""Memories that lie in here."""

FLAG_STAGES = 3
"""Cycles in which activations pass banks, output registers and rotator."""


class Datapath(wiring.Component):
    """Runs one layer after another, each from ``start`` to ``done``, and holds all its memories.

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
    layer : In(layer_layout), start : In(1), done : Out(1)
        The layer, its first and its last cycle.
    events : Out(3)
        ``busy``, ``stalled_on_drain``, ``stalled_on_output``.
    raw_request : Out(1), raw : Out(stream.Signature(32))
        A tile of accumulators for the host.
    probe : In(ProbeSignature), probed : Out(lanes)
        Host read of an activation entry, and row 0.
    faults : Out(6)
        One bit per memory of :data:`hw.control.fault.FAULT_MEMORIES`.
    """

    def __init__(self, config, *, popcount="plain"):
        self.config = config
        self.popcount = popcount
        super().__init__({
            "store": In(stream.Signature(Entry(config), always_ready=True)),
            "layer": In(layer_layout(config)), "start": In(1), "done": Out(1),
            "events": Out(3),
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
        m.submodules.array = array = SystolicArray(config, popcount=self.popcount)
        m.submodules.writer = writer = Writer(config)
        m.submodules.raw = raw = RawEmitter(config)
        m.submodules.collector = collector = TileCollector(config)
        m.submodules.tiles = tiles = TileCounter(config)
        wiring.connect(m, wiring.flipped(self.store), store.i)
        for block in (feed, writer, tiles):
            m.d.comb += block.layer.eq(self.layer)
        for block in (feed, writer, tiles, raw, collector):
            m.d.comb += block.start.eq(self.start)
        for block in (writer, raw):
            m.d.comb += [block.tile.last_col.eq(tiles.tile.last_col),
                         block.tile.last.eq(tiles.tile.last)]
        wiring.connect(m, wiring.flipped(self.probe), feed.probe)
        wiring.connect(m, raw.o, wiring.flipped(self.raw))
        # That a raw tile has left comes from the far end of the link: a cycle to cross the chip.
        m.d.sync += feed.raw_done.eq(raw.tile_done)
        for unit, row in enumerate(collector.rows):
            wiring.connect(m, row, writer.rows[unit])
        m.d.comb += [
            raw.raw.eq(self.layer.raw), writer.ready.eq(collector.ready),
            tiles.step.eq(writer.tile_done | feed.raw_done),
            self.raw_request.eq(raw.request), self.done.eq(raw.done | writer.done),
            self.events.eq(Cat(feed.busy, feed.stalled_on_drain, feed.stalled_on_output)),
        ]
        self._operands(m, store, feed, array, writer)
        passes = self._columns(m, store, feed, array, raw, collector)
        faults = {
            Memory.TAPS: feed.fault_tables,
            Memory.ACTIVATIONS: feed.fault_activations | writer.fault,
            Memory.WEIGHTS: feed.fault_weights,
            Memory.SCALES: passes.fault_scales,
            Memory.BIASES: passes.fault_biases,
            Memory.THRESHOLDS: passes.fault_thresholds,
        }
        m.d.comb += self.faults.eq(Cat(faults[memory] for memory in FAULT_MEMORIES))
        return m

    def _operands(self, m, store, feed, array, writer):
        """Tables, banks and rotator: all that the feed reads, up to the array."""
        config = self.config
        m.submodules.taps = taps = RecordTable(TAP, config.tap_depth)
        m.submodules.pairs = pairs = RecordTable(PAIR, config.pair_depth)
        m.submodules.activations = activations = ActivationBanks(config)
        m.submodules.weights = weights = WeightBanks(config)
        m.submodules.rotator = rotator = Rotator(config.rows, config.lanes)
        m.submodules.flags = flags = Delay(Flags, FLAG_STAGES)
        for table, entries, port in ((taps, store.taps, feed.taps),
                                     (pairs, store.pairs, feed.pairs)):
            wiring.connect(m, entries[0], table.store)
            wiring.connect(m, table.read, port)
        for banks, entries in ((activations, store.activations), (weights, store.weights)):
            for bank, port in zip(banks.store, entries, strict=True):
                wiring.connect(m, bank, port)
        wiring.connect(m, writer.write, activations.write)
        wiring.connect(m, feed.read, activations.read)
        m.d.sync += rotator.rotation.eq(feed.read.rotation)
        m.d.comb += [
            weights.address.eq(feed.weight.address), flags.i.eq(feed.flags),
            array.flags.eq(flags.o), self.probed.eq(rotator.rows[0]),
        ]
        m.d.comb += [rotator.banks[b].eq(word) for b, word in enumerate(activations.words)]
        m.d.comb += [array.weights[c].eq(word) for c, word in enumerate(weights.words)]
        # The top unit delivers first, so its rows take the first pixels of a tile.
        for pixel in range(config.rows):
            unit, row = divmod(pixel, config.drain_cycles)
            bottom = (config.units - 1 - unit) * config.drain_cycles
            m.d.comb += array.activations[bottom + row].eq(rotator.rows[pixel])

    def _columns(self, m, store, feed, array, raw, collector):
        """Units of every column; pass tokens go from column to column.

        Returns
        -------
        PassSequencer
            That of unit 0, which stands for all in case of a fault.
        """
        config, units = self.config, {}
        sequencers = self._sequencers(m, feed, array)
        for u, sequencer in enumerate(sequencers):
            token = sequencer.token
            for c in range(config.cols):
                m.submodules[f"unit_{c}_{u}"] = unit = units[c, u] = ColumnUnit(config)
                wiring.connect(m, array.counts[c][u], unit.counts)
                wiring.connect(m, unit.code, collector.codes[c][u])
                m.d.comb += [
                    unit.raw.eq(self.layer.raw), unit.code_bits.eq(self.layer.code_bits),
                    unit.start.eq(self.start), unit.token.eq(token),
                    raw.acc[c][u].eq(unit.raw_acc), unit.pop.eq(raw.pop[c][u]),
                ]
                later = Signal(PassToken(config), name=f"token_{c}_{u}")
                m.d.sync += later.eq(token)
                token = later
        m.d.comb += raw.arrived.eq(units[config.cols - 1, 0].acc_valid)
        for memory in (Memory.SCALES, Memory.BIASES, Memory.THRESHOLDS):
            name = memory.name.lower()
            for c, port in enumerate(getattr(store, name)):
                wiring.connect(m, port, *(getattr(units[c, u], name) for u in range(config.units)))
        return sequencers[0]

    def _sequencers(self, m, feed, array):
        """The pass sequencers of all units; the upper ones are earlier, by the rows below them."""
        config = self.config
        sequencers = [PassSequencer(config) for _ in range(config.units)]
        slowest = FLAG_STAGES + config.rows - 1 + element_latency(config)
        ends, passed = feed.ends, 0
        for u, sequencer in reversed(list(enumerate(sequencers))):
            cycles = slowest - u * config.drain_cycles
            m.submodules[f"passes_{u}"] = sequencer
            m.submodules[f"ends_{u}"] = later = Delay(PassEnd, cycles - passed)
            m.d.comb += [
                later.i.eq(ends), sequencer.ends.eq(later.o),
                sequencer.layer.eq(self.layer), sequencer.start.eq(self.start),
                sequencer.drained.eq(array.counts[0][u].payload.first),
            ]
            ends, passed = later.o, cycles
        return sequencers
