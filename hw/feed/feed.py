"""The feed: steps become addresses, stall where a drain or the output is late, and read the
banks."""

from amaranth.hdl import Cat, Module, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..array.element import Flags
from ..column.passes import PassEnd
from ..common.guard import reaches
from ..common.layout import PairLayout, TapLayout, layer_layout
from ..memory.activations import ReadSignature
from ..memory.bank import read_signature
from ..memory.probe import ProbeSignature
from ..spec.cycles import first_issue_cycles
from .gate import StepGate
from .nest import LoopNest, Step
from .rotator import rotated
from .walker import FeedWalker

__all__ = ["Feed", "Issue"]


class Issue(data.StructLayout):
    """A step with its table entries, on its way into the rigid pipeline."""

    def __init__(self, config):
        super().__init__({"step": Step(config), "tap": TapLayout, "pair": PairLayout})


class Feed(wiring.Component):
    """From a layer's loops to bank addresses and element flags.

    The first step of a layer issues ``first_issue_cycles`` after ``start``; its activation
    addresses follow 3 cycles later, its weight address 4 cycles later, one step per cycle.

    Parameters
    ----------
    config : MachineConfig
        Machine.

    Members
    -------
    layer : In(layer_layout)
        The layer; stable from ``start`` to its last step.
    start : In(1)
        Begin the layer.
    raw_done : In(1)
        A raw tile has left.
    taps, pairs : In(read_signature)
        Look-ups in the tap and pair tables.
    read : Out(ReadSignature)
        Activation banks.
    flags : Out(Flags), ends : Out(PassEnd)
        Flags of the step whose activations are read, and what ends with it; same cycle as
        ``read``.
    weight : Out
        Weight bank of column 0: ``valid`` and address, one cycle after ``read``.
    probe : In(ProbeSignature)
        Host read of one activation entry.
    busy, stalled_on_drain, stalled_on_output : Out(1)
        A step issues, or why none does.
    fault_tables, fault_activations, fault_weights : Out(1)
        A step left a memory.
    """

    def __init__(self, config):
        self.config = config
        weight_range = range(config.weight_depth)
        self.rotation_range = range(max(config.rows, 2))
        super().__init__({
            "layer": In(layer_layout(config)), "start": In(1), "raw_done": In(1),
            "taps": In(read_signature(TapLayout, config.tap_depth)),
            "pairs": In(read_signature(PairLayout, config.pair_depth)),
            "read": Out(ReadSignature(config)),
            "flags": Out(Flags), "ends": Out(PassEnd),
            "weight": Out(wiring.Signature({"valid": Out(1), "address": Out(weight_range)})),
            "probe": In(ProbeSignature(config)),
            "busy": Out(1), "stalled_on_drain": Out(1), "stalled_on_output": Out(1),
            "fault_tables": Out(1), "fault_activations": Out(1), "fault_weights": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.gate = gate = StepGate(self.config)
        m.submodules.walker = walker = FeedWalker(self.config)
        waiting = self._lookup(m, gate)
        step = waiting.step
        m.d.comb += [
            gate.layer.eq(self.layer), gate.start.eq(self.start), gate.raw_done.eq(self.raw_done),
            gate.drain.eq(waiting.pair.drain & step.pair_last), gate.tile_last.eq(step.tile_last),
            self.busy.eq(gate.issue), self.stalled_on_drain.eq(gate.stalled_on_drain),
            self.stalled_on_output.eq(gate.stalled_on_output),
            walker.layer.eq(self.layer), walker.start.eq(self.start),
            walker.advance.eq(gate.issue & step.new_tile),
        ]
        self._address(m, gate.issue, waiting, walker.positions)
        return m

    def _lookup(self, m, gate):
        """Nest, table lookup and the waiting step, all of which advance together."""
        m.submodules.nest = nest = LoopNest(self.config)
        start = self.start
        # The nest needs 3 cycles to show its first step to the gate, the walker needs rows + 1.
        for cycle in range(first_issue_cycles(self.config) - 4):
            later = Signal(name=f"start_{cycle}")
            m.d.sync += later.eq(start)
            start = later
        looked_up, valid = Signal(Step(self.config)), Signal()
        waiting = Signal(Issue(self.config))
        advance = Signal()
        m.d.comb += [
            nest.layer.eq(self.layer), nest.start.eq(start), nest.o.ready.eq(advance),
            advance.eq(~gate.valid | gate.issue),
            self.taps.en.eq(advance), self.taps.addr.eq(nest.o.payload.tap_index),
            self.pairs.en.eq(advance), self.pairs.addr.eq(nest.o.payload.pair_index),
            self.fault_tables.eq(nest.o.valid
                                 & (reaches(nest.o.payload.tap_index, self.config.tap_depth)
                                    | reaches(nest.o.payload.pair_index,
                                              self.config.pair_depth))),
        ]
        gate_valid = Signal()
        m.d.comb += gate.valid.eq(gate_valid)
        with m.If(advance):
            m.d.sync += [
                looked_up.eq(nest.o.payload), valid.eq(nest.o.valid),
                waiting.step.eq(looked_up), waiting.tap.eq(self.taps.data),
                waiting.pair.eq(self.pairs.data),
                gate_valid.eq(valid),
            ]
        return waiting

    def _address(self, m, issue, waiting, positions):
        """The rigid pipeline: sums, then borders, then one address per bank."""
        config, layer, step = self.config, self.layer, waiting.step
        rows, depth = config.rows, config.activation_depth
        # Legal sums stay within a depth of the memory on either side; a step beyond is a fault
        # anyway. Padding lies nowhere near its tile, but on the same plane.
        place = signed(depth.bit_length() + 2)
        valid, flags, ends, tap = Signal(), Signal(Flags), Signal(PassEnd), Signal(TapLayout)
        base, wrapped = Signal(place), Signal(place)
        far_tile, far_plane = Signal(), Signal()
        inner = Signal(range(4 * depth))
        weight = Signal(config.weight_depth.bit_length() + 2)
        tile = Signal(signed(18))
        high = tile[depth.bit_length():]
        plane, offset = waiting.pair.activation_offset, waiting.pair.weight_offset
        m.d.comb += tile.eq(step.tile_address + waiting.tap.offset)
        m.d.sync += [
            valid.eq(issue), tap.eq(waiting.tap),
            base.eq(tile), wrapped.eq(tile + layer.tile_words),
            far_tile.eq(reaches(step.tile_address, depth)
                        | (high.any() & ~high.all())), far_plane.eq(reaches(plane, depth)),
            inner.eq(plane + step.word),
            weight.eq(step.weight + offset),
            flags.valid.eq(issue),
            flags.clear.eq(waiting.pair.clear & step.pair_first),
            flags.double.eq(waiting.pair.double & step.pair_first),
            flags.last.eq(issue & waiting.pair.drain & step.pair_last),
            ends.tile.eq(step.tile_last), ends.sweep.eq(step.sweep_last),
            self.fault_weights.eq(valid & reaches(weight, config.weight_depth)),
        ]
        far_weight = Signal()
        m.d.sync += far_weight.eq(issue & (reaches(offset, config.weight_depth)
                                           | reaches(step.weight, config.weight_depth)))
        with m.If(far_weight):
            m.d.sync += self.fault_weights.eq(1)

        valid_sum, flags_sum, ends_sum = Signal(), Signal(Flags), Signal(PassEnd)
        far_tile_sum, far_plane_sum = Signal(), Signal()
        here, next_slot, pad = Signal(place), Signal(place), Signal(place)
        inside, rotation = Signal(rows), Signal(self.rotation_range)
        m.d.sync += [
            valid_sum.eq(valid), flags_sum.eq(flags), ends_sum.eq(ends),
            rotation.eq(tap.rotation), far_tile_sum.eq(far_tile), far_plane_sum.eq(far_plane),
            here.eq(base + inner), next_slot.eq(wrapped + inner), pad.eq(layer.pad_base + inner),
        ]
        for r, at in enumerate(positions):
            m.d.sync += inside[r].eq(at.alive & (at.above >= tap.above) & (at.below >= tap.below)
                                     & (at.left >= tap.left) & (at.right >= tap.right))
        with m.If(self.probe.valid):
            m.d.sync += [here.eq(self.probe.address), next_slot.eq(self.probe.address),
                         inside.eq(~0), rotation.eq(self.probe.bank)]

        m.d.sync += [self.read.valid.eq(valid_sum), self.flags.eq(flags_sum),
                     self.ends.eq(ends_sum), self.read.rotation.eq(rotation)]
        inside_bank = rotated(m, list(inside), rotation, name="inside", up=True)
        from_next, from_here = Signal(rows), Signal(rows)
        for bank in range(rows):
            wraps = rotation > bank if bank < rows - 1 else 0
            m.d.comb += [from_next[bank].eq(inside_bank[bank] & wraps),
                         from_here[bank].eq(inside_bank[bank] & ~from_next[bank])]
            with m.If(from_next[bank]):
                m.d.sync += self.read.address[bank].eq(next_slot)
            with m.Elif(from_here[bank]):
                m.d.sync += self.read.address[bank].eq(here)
            with m.Else():
                m.d.sync += self.read.address[bank].eq(pad)
        outside = [used.any() & reaches(address, depth) for used, address in (
            (from_here, here), (from_next, next_slot), (~inside, pad))]
        m.d.sync += self.fault_activations.eq(
            valid_sum & (Cat(*outside).any() | far_plane_sum | (far_tile_sum & inside.any())))
        self._weight(m, valid, weight)

    def _weight(self, m, valid, weight):
        """Weights leave their banks as late as activations leave the rotator."""
        for stage in range(2):
            later = Signal.like(weight, name=f"weight_{stage}")
            later_valid = Signal(name=f"fetch_{stage}")
            m.d.sync += [later.eq(weight), later_valid.eq(valid)]
            weight, valid = later, later_valid
        m.d.sync += [self.weight.valid.eq(valid), self.weight.address.eq(weight)]
