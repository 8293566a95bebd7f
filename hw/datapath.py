"""From a layer to its results: feed, banks, rotator, array, units and writer."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .array.element import Flags, element_latency
from .array.systolic import SystolicArray
from .column.passes import PassEnd, PassSequencer, PassToken
from .column.unit import ColumnUnit
from .common.layout import assign_word, layer_layout
from .feed.feed import Feed
from .feed.rotator import Rotator
from .link.receive import StoreSignature
from .memory.bank import Bank
from .memory.probe import ProbeSignature
from .output.collect import TileCollector
from .output.raw import RawEmitter
from .output.tiles import TileCounter
from .output.writer import Writer
from .spec.descriptor import PAIR, TAP
from .spec.memory import Memory

__all__ = ["FAULT_MEMORIES", "Datapath"]

FAULT_MEMORIES = (Memory.TAPS, Memory.ACTIVATIONS, Memory.WEIGHTS, Memory.SCALES, Memory.BIASES,
                  Memory.THRESHOLDS)
"""Memories a step can leave; a fault in the pair table counts as one in the taps."""

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
    width : int
        Bits of a stored entry.

    Members
    -------
    store : In(StoreSignature)
        Entries for the memories, while no layer runs.
    layer : In(layer_layout), start : In(1), done : Out(1)
        The layer, its first and its last cycle.
    events : Out(3)
        ``busy``, ``stalled_on_drain``, ``stalled_on_output``.
    raw_request : Out(1), raw : Out(stream.Signature(32))
        A tile of accumulators for the host.
    probe : In(ProbeSignature), probed : Out(lanes)
        Host read of an activation entry, and row 0.
    faults : Out(6)
        One bit per memory of :data:`FAULT_MEMORIES`.
    """

    def __init__(self, config, *, popcount, width):
        self.config = config
        self.popcount = popcount
        super().__init__({
            "store": In(StoreSignature(width)),
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
        m.submodules.feed = feed = Feed(config)
        m.submodules.array = array = SystolicArray(config, popcount=self.popcount)
        m.submodules.writer = writer = Writer(config)
        m.submodules.raw = raw = RawEmitter(config)
        m.submodules.collector = collector = TileCollector(config)
        m.submodules.tiles = tiles = TileCounter(config)
        for block in (feed, writer, tiles):
            m.d.comb += block.layer.eq(self.layer)
        for block in (feed, writer, tiles, raw, collector):
            m.d.comb += block.start.eq(self.start)
        for block in (writer, raw):
            m.d.comb += [block.tile.last_col.eq(tiles.tile.last_col),
                         block.tile.last.eq(tiles.tile.last)]
        wiring.connect(m, wiring.flipped(self.probe), feed.probe)
        wiring.connect(m, raw.o, wiring.flipped(self.raw))
        m.d.comb += [
            raw.raw.eq(self.layer.raw),
            tiles.step.eq(writer.tile_done | raw.tile_done),
            self.raw_request.eq(raw.request),
            self.events[0].eq(feed.busy), self.events[1].eq(feed.stalled_on_drain),
            self.events[2].eq(feed.stalled_on_output),
            self.done.eq(raw.done | writer.done),
        ]

        # That a raw tile has left comes from the far end of the link: a cycle to cross the chip.
        m.d.sync += feed.raw_done.eq(raw.tile_done)
        self._tables(m, feed)
        self._activations(m, feed, array, writer)
        self._weights(m, feed, array)
        sequencers = self._columns(m, feed, array, raw, collector)
        m.d.comb += writer.ready.eq(collector.ready)
        for u in range(config.units):
            m.d.comb += [writer.row_valid[u].eq(collector.row_valid[u]),
                         writer.row[u].eq(collector.row[u])]
        faults = {
            Memory.TAPS: feed.fault_tables,
            Memory.ACTIVATIONS: feed.fault_activations | writer.fault,
            Memory.WEIGHTS: feed.fault_weights,
            Memory.SCALES: sequencers[0].fault_scales,
            Memory.BIASES: sequencers[0].fault_biases,
            Memory.THRESHOLDS: sequencers[0].fault_thresholds,
        }
        m.d.comb += [self.faults[k].eq(faults[memory]) for k, memory in enumerate(FAULT_MEMORIES)]
        return m

    def _stored(self, memory, bank=None):
        hit = self.store.strobe & (self.store.memory == memory)
        return hit if bank is None else hit & (self.store.bank == bank)

    def _tables(self, m, feed):
        config = self.config
        for memory, record, depth, address, entry in (
                (Memory.TAPS, TAP, config.tap_depth, feed.tap_address, feed.tap),
                (Memory.PAIRS, PAIR, config.pair_depth, feed.pair_address, feed.pair)):
            bank = Bank(32 * len(record), depth)
            m.submodules[memory.name.lower()] = bank
            m.d.comb += [
                bank.write.eq(self._stored(memory)),
                bank.write_address.eq(self.store.address), bank.write_data.eq(self.store.entry),
                bank.read.eq(feed.lookup), bank.read_address.eq(address),
            ]
            for index in range(len(record)):
                m.d.comb += assign_word(record, entry, index,
                                        bank.read_data.word_select(index, 32))

    def _activations(self, m, feed, array, writer):
        """Banks and rotator; the loader shares the writer's port."""
        config, store = self.config, self.store
        m.submodules.rotator = rotator = Rotator(config.rows, config.lanes)
        loading = self._stored(Memory.ACTIVATIONS)
        address = Signal(range(config.activation_depth), name="write_address")
        word = Signal(config.lanes, name="write_word")
        m.d.sync += [address.eq(Mux(loading, store.address, writer.write.address)),
                     word.eq(Mux(loading, store.entry, writer.write.data))]
        for b in range(config.rows):
            bank = Bank(config.lanes, config.activation_depth, granules=config.granules)
            m.submodules[f"activations_{b}"] = bank
            granules = Signal(config.granules, name=f"granules_{b}")
            m.d.sync += granules.eq(0)
            with m.If(Mux(loading, store.bank == b, writer.write.banks[b])):
                m.d.sync += granules.eq(Mux(loading, ~0, writer.write.granules))
            m.d.comb += [
                bank.write.eq(granules), bank.write_address.eq(address),
                bank.write_data.eq(word),
                bank.read.eq(1), bank.read_address.eq(feed.read.address[b]),
                rotator.banks[b].eq(bank.read_data),
            ]
        m.d.sync += rotator.rotation.eq(feed.read.rotation)
        flags = feed.flags
        for stage in range(FLAG_STAGES):
            later = Signal(Flags, name=f"flags_{stage}")
            m.d.sync += later.eq(flags)
            flags = later
        m.d.comb += [array.flags.eq(flags), self.probed.eq(rotator.rows[0])]
        # The top unit delivers first, so its rows take the first pixels of a tile.
        for pixel in range(config.rows):
            unit, row = divmod(pixel, config.drain_cycles)
            bottom = (config.units - 1 - unit) * config.drain_cycles
            m.d.comb += array.activations[bottom + row].eq(rotator.rows[pixel])

    def _weights(self, m, feed, array):
        """Weight banks, addressed systolically: column c reads c cycles after column 0."""
        config, store = self.config, self.store
        address = feed.weight.address
        for c in range(config.cols):
            bank = Bank(config.lanes, config.weight_depth)
            m.submodules[f"weights_{c}"] = bank
            fetched = Signal(config.lanes, name=f"weight_{c}")
            m.d.sync += fetched.eq(bank.read_data)
            m.d.comb += [
                bank.write.eq(self._stored(Memory.WEIGHTS, c)),
                bank.write_address.eq(store.address), bank.write_data.eq(store.entry),
                bank.read.eq(1), bank.read_address.eq(address),
                array.weights[c].eq(fetched),
            ]
            later = Signal.like(address, name=f"weight_address_{c}")
            m.d.sync += later.eq(address)
            address = later

    def _columns(self, m, feed, array, raw, collector):
        """Units of every column; pass tokens go from column to column."""
        config, store = self.config, self.store
        # What ends with a step, from the feed to the drain of each row.
        ends = [feed.ends]
        for stage in range(FLAG_STAGES + config.rows - 1 + element_latency(config)):
            ends.append(Signal(PassEnd, name=f"ends_{stage}"))
            m.d.sync += ends[-1].eq(ends[-2])
        sequencers = []
        for u in range(config.units):
            sequencer = PassSequencer(config)
            m.submodules[f"passes_{u}"] = sequencer
            sequencers.append(sequencer)
            m.d.comb += [sequencer.layer.eq(self.layer), sequencer.start.eq(self.start),
                         sequencer.drained.eq(array.counts[0][u].start),
                         sequencer.ends.eq(ends[-1 - u * config.drain_cycles])]
            token = sequencer.token
            for c in range(config.cols):
                unit = ColumnUnit(config)
                m.submodules[f"unit_{c}_{u}"] = unit
                wiring.connect(m, array.counts[c][u], unit.counts)
                m.d.comb += [
                    unit.load.scales.eq(self._stored(Memory.SCALES, c)),
                    unit.load.biases.eq(self._stored(Memory.BIASES, c)),
                    unit.load.thresholds.eq(self._stored(Memory.THRESHOLDS, c)),
                    unit.load.address.eq(store.address), unit.load.data.eq(store.entry),
                    unit.raw.eq(self.layer.raw), unit.code_bits.eq(self.layer.code_bits),
                    unit.start.eq(self.start), unit.token.eq(token),
                    collector.valid[c][u].eq(unit.code_valid),
                    collector.code[c][u].eq(unit.code),
                    raw.acc[c][u].eq(unit.raw_acc), unit.pop.eq(raw.pop[c][u]),
                ]
                if u == 0 and c == config.cols - 1:
                    m.d.comb += raw.arrived.eq(unit.acc_valid)
                later = Signal(PassToken(config), name=f"token_{c}_{u}")
                m.d.sync += later.eq(token)
                token = later
        return sequencers
