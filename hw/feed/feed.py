"""The feed: steps become addresses, stall where something behind them is late, and read the
banks."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..array.element import Flags
from ..common.delay import Delay
from ..common.guard import reaches
from ..common.layout import PairLayout, TapLayout, feed_layout, term_layout
from ..memory.activations import ReadSignature
from ..memory.bank import read_signature
from ..memory.probe import ProbeSignature
from ..spec.latency import FIRST_ISSUE_CYCLES, first_issue_cycles
from .address import Addresses, Issue
from .classes import BorderClasses
from .gate import StepGate
from .nest import LoopNest, Step
from .terms import TermWalker
from .walker import FeedWalker, Position

__all__ = ["Feed"]


class Feed(wiring.Component):
    """From a layer to bank addresses and element flags.

    Cycle 0 of a layer is the first one in which it is offered. Its first step stands at the gate in
    cycle F = ``first_issue_cycles`` = max(7, rows + 1), and every further step in the cycle after
    the one before has issued: neither terms, tables nor positions delay a step that is not the
    first. When a step issues that stands at the gate is up to :class:`~hw.feed.gate.StepGate`
    alone. ``read`` and ``flags`` follow a step's issue by 3 cycles, ``weight`` by 4, ``classes``
    the issue of a tile's first step by 1. The layer is taken in the cycle after its last step has
    issued.

    Parameters
    ----------
    config : MachineConfig
        Machine.

    Members
    -------
    layer : In(stream.Signature(feed_layout))
        Layers.
    raw_done : In(1)
        A raw tile has left.
    terms, taps, pairs : In(read_signature)
        Look-ups in the tables.
    read : Out(ReadSignature)
        Activation banks.
    flags : Out(Flags)
        Flags of the step whose activations are read; same cycle as ``read``.
    weight : Out
        Weight bank of column 0: ``valid`` and ``address``, one cycle after ``read``.
    classes : Out(stream.Signature(ArrayLayout(4, rows), always_ready=True))
        Of every tile, in the order of tiles: border class of every row, 4 * line class + column
        class; of a virtual pixel, and in a layer in pairs, it means nothing. On a machine with
        border classes only.
    probe : In(ProbeSignature)
        Host read of one activation entry.
    busy, stalled_on_drain, stalled_on_input, stalled_on_output : Out(1)
        A step issues, or why none does.
    fault_tables, fault_activations, fault_weights : Out(1)
        A step left a memory, one of the three tables for one.
    """

    def __init__(self, config):
        self.config = config
        classes = stream.Signature(data.ArrayLayout(4, config.rows), always_ready=True)
        super().__init__({
            "layer": In(stream.Signature(feed_layout(config))), "raw_done": In(1),
            "terms": In(read_signature(term_layout(config), config.term_depth)),
            "taps": In(read_signature(TapLayout, config.tap_depth)),
            "pairs": In(read_signature(PairLayout, config.pair_depth)),
            "read": Out(ReadSignature(config)), "flags": Out(Flags),
            "weight": Out(wiring.Signature({"valid": Out(1),
                                            "address": Out(range(config.weight_depth))})),
            **({"classes": Out(classes)} if config.border_classes else {}),
            "probe": In(ProbeSignature(config)),
            "busy": Out(1), "stalled_on_drain": Out(1), "stalled_on_input": Out(1),
            "stalled_on_output": Out(1),
            "fault_tables": Out(1), "fault_activations": Out(1), "fault_weights": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config, layer = self.config, self.layer.payload
        m.submodules.gate = gate = StepGate(config)
        m.submodules.walker = walker = FeedWalker(config)
        m.submodules.addresses = addresses = Addresses(config)
        begin, running = Signal(), Signal()
        waiting, arriving = self._steps(m, begin, gate)
        m.d.comb += [
            begin.eq(self.layer.valid & ~running),
            gate.layer.eq(layer), gate.begin.eq(begin), gate.raw_done.eq(self.raw_done),
            gate.pass_last.eq(waiting.pass_last), gate.tile_last.eq(waiting.step.tile_last),
            gate.sweep_last.eq(waiting.step.tile_last & waiting.step.ends_sweep),
            # A tile is shown with its first step at the gate, whether that issues or not.
            walker.layer.eq(layer), walker.begin.eq(begin), walker.advance.eq(arriving.new_tile),
            walker.restart.eq(arriving.ends_sweep),
            addresses.valid.eq(gate.issue), addresses.i.eq(waiting),
            addresses.origin.eq(walker.origin),
            self.busy.eq(gate.issue), self.stalled_on_drain.eq(gate.stalled_on_drain),
            self.stalled_on_input.eq(gate.stalled_on_input),
            self.stalled_on_output.eq(gate.stalled_on_output),
            self.fault_activations.eq(addresses.fault_activations),
            self.fault_weights.eq(addresses.fault_weights),
        ]
        m.d.sync += [running.eq(self.layer.valid & ~self.layer.ready),
                     self.layer.ready.eq(gate.issue & waiting.step.layer_last)]
        self._positions(m, gate.issue & waiting.step.new_tile, walker, addresses)
        wiring.connect(m, wiring.flipped(self.probe), addresses.probe)
        wiring.connect(m, addresses.read, wiring.flipped(self.read))
        wiring.connect(m, addresses.weight, wiring.flipped(self.weight))
        m.d.comb += self.flags.eq(addresses.flags)
        return m

    def _steps(self, m, begin, gate):
        """Terms, nest, look-ups and the waiting step, which advance together.

        Returns
        -------
        Issue, Step
            The step at the gate; the one that will be there from the next cycle on, whose
            ``new_tile`` only then may be set.
        """
        config = self.config
        m.submodules.terms = terms = TermWalker(config)
        m.submodules.nest = nest = LoopNest(config)
        m.submodules.begin = later = Delay(1, first_issue_cycles(config) - FIRST_ISSUE_CYCLES)
        looked_up, valid = Signal(Step(config)), Signal()
        waiting, arriving, advance = Signal(Issue(config)), Signal(Step(config)), Signal()
        wiring.connect(m, terms.o, nest.i)
        wiring.connect(m, wiring.flipped(self.terms), terms.terms)
        step = nest.o.payload
        m.d.comb += [
            later.i.eq(begin), terms.begin.eq(later.o), terms.layer.eq(self.layer.payload),
            advance.eq(~gate.valid | gate.issue), nest.o.ready.eq(advance),
            self.taps.en.eq(advance), self.taps.addr.eq(step.tap_index),
            self.pairs.en.eq(advance), self.pairs.addr.eq(step.pair_index),
            self.fault_tables.eq(
                terms.fault | (terms.o.valid & terms.o.payload.far_tables)
                | (nest.o.valid & (reaches(step.tap_index, config.tap_depth)
                                   | reaches(step.pair_index, config.pair_depth)))),
            arriving.eq(looked_up),
            arriving.new_tile.eq(looked_up.new_tile & advance),
        ]
        gate_valid = Signal()
        m.d.comb += gate.valid.eq(gate_valid)
        with m.If(advance):
            m.d.sync += [
                looked_up.eq(step), looked_up.new_tile.eq(step.new_tile & nest.o.valid),
                valid.eq(nest.o.valid),
                waiting.step.eq(looked_up), waiting.tap.eq(self.taps.data),
                waiting.pair.eq(self.pairs.data),
                waiting.pass_last.eq(self.pairs.data.drain & looked_up.pair_last),
                gate_valid.eq(valid),
            ]
        return waiting, arriving

    def _positions(self, m, tile_issues, walker, addresses):
        """A tile may be shown while the last step of the one before still needs its rows."""
        rows = [Signal(Position(self.config), name=f"position_{r}")
                for r in range(self.config.rows)]
        m.d.sync += [later.eq(at) for later, at in zip(rows, walker.positions, strict=True)]
        m.d.comb += [to.eq(at) for to, at in zip(addresses.positions, rows, strict=True)]
        if self.config.border_classes:
            m.submodules.borders = classes = BorderClasses(self.config)
            wiring.connect(m, walker.raster, classes.raster)
            m.d.sync += self.classes.valid.eq(tile_issues)
            m.d.comb += [classes.layer.eq(self.layer.payload),
                         self.classes.payload.eq(classes.classes)]
