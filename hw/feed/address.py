"""Addresses: from an issued step to an entry of every bank."""

from amaranth.hdl import Cat, Module, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..array.element import Flags
from ..common.guard import reaches
from ..common.layout import PairLayout, TapLayout
from ..memory.activations import ReadSignature
from ..memory.probe import ProbeSignature
from .inside import TapBounds
from .nest import Step
from .rotator import rotated
from .walker import Origin, Position

__all__ = ["Addresses", "Issue"]


class Issue(data.StructLayout):
    """A step with its table entries, on its way into the rigid pipeline. ``pass_last``: it ends a
    pass."""

    def __init__(self, config):
        super().__init__({"step": Step(config), "tap": TapLayout, "pair": PairLayout,
                          "pass_last": 1})


class Addresses(wiring.Component):
    """Sums, then borders, then one address per bank: the pipeline that never waits.

    ``read`` and ``flags`` follow a step by 3 cycles, ``weight`` by 4. Throughput is one step per
    cycle.

    Parameters
    ----------
    config : MachineConfig
        Machine.

    Members
    -------
    valid : In(1), i : In(Issue), origin : In(Origin)
        A step that issues, and where row 0 of its tile lies.
    positions : In(Position).array(rows)
        Where the rows lie; one cycle after the step.
    read : Out(ReadSignature), flags : Out(Flags)
        Activation banks, and the step's flags.
    weight : Out
        Weight bank of column 0: ``valid`` and ``address``.
    probe : In(ProbeSignature)
        Host read of one activation entry.
    fault_activations, fault_weights : Out(1)
        A step left a memory; with ``read``, and one cycle before it.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "valid": In(1), "i": In(Issue(config)), "origin": In(Origin(config)),
            "positions": In(Position(config)).array(config.rows),
            "read": Out(ReadSignature(config)), "flags": Out(Flags),
            "weight": Out(wiring.Signature({"valid": Out(1),
                                            "address": Out(range(config.weight_depth))})),
            "probe": In(ProbeSignature(config)),
            "fault_activations": Out(1), "fault_weights": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config, step, pair = self.config, self.i.step, self.i.pair
        depth = config.activation_depth
        # Legal sums stay within a depth of the memory on either side; a step beyond is a fault
        # anyway. Padding lies nowhere near its tile, but on the same plane.
        bits = depth.bit_length()
        place = signed(bits + 2)
        base, wrapped, pad_base = Signal(place), Signal(place), Signal(range(depth))
        inner, tile = Signal(range(4 * depth)), Signal(signed(18))
        valid, flags, rotation = Signal(), Signal(Flags), Signal.like(self.read.rotation)
        far, far_plane, far_pad = Signal(), Signal(), Signal()
        high = tile[bits:]
        m.d.comb += tile.eq(step.tile_address + self.i.tap.offset)
        m.d.sync += [
            valid.eq(self.valid), rotation.eq(self.i.tap.rotation),
            base.eq(tile), wrapped.eq(tile + step.tile_words), pad_base.eq(step.pad_base),
            inner.eq(pair.activation_offset + step.word),
            far.eq(step.far | reaches(step.tile_address, depth) | (high.any() & ~high.all())),
            far_pad.eq(step.far_pad), far_plane.eq(reaches(pair.activation_offset, depth)),
            flags.valid.eq(self.valid),
            flags.clear.eq(pair.clear & step.pair_first),
            flags.double.eq(pair.double & step.pair_first),
            flags.last.eq(self.valid & self.i.pass_last),
        ]
        m.submodules.bounds = bounds = TapBounds(config)
        m.d.comb += [bounds.tap.eq(self.i.tap), bounds.origin.eq(self.origin),
                     *(to.eq(at) for to, at in zip(bounds.positions, self.positions, strict=True))]

        ready = {name: Signal.like(value, name=f"{name}_ready") for name, value in (
            ("valid", valid), ("flags", flags), ("rotation", rotation), ("far", far),
            ("far_plane", far_plane), ("far_pad", far_pad), ("here", base),
            ("next_slot", wrapped), ("pad", base), ("probed", valid))}
        m.d.sync += [
            ready["valid"].eq(valid), ready["flags"].eq(flags), ready["rotation"].eq(rotation),
            ready["far"].eq(far), ready["far_plane"].eq(far_plane), ready["far_pad"].eq(far_pad),
            ready["here"].eq(base + inner), ready["next_slot"].eq(wrapped + inner),
            ready["pad"].eq(pad_base + inner), ready["probed"].eq(self.probe.valid),
        ]
        with m.If(self.probe.valid):
            m.d.sync += [ready["here"].eq(self.probe.address),
                         ready["next_slot"].eq(self.probe.address),
                         ready["rotation"].eq(self.probe.bank)]
        inside = Signal(config.rows)
        m.d.comb += inside.eq(bounds.inside | ready["probed"].replicate(config.rows))
        self._banks(m, inside, ready)
        self._weight(m, valid)
        return m

    def _banks(self, m, inside, ready):
        """What every bank reads: the tile's slot, the slot behind it, or padding."""
        rows, depth, rotation = self.config.rows, self.config.activation_depth, ready["rotation"]
        m.d.sync += [self.read.valid.eq(ready["valid"]), self.flags.eq(ready["flags"]),
                     self.read.rotation.eq(rotation)]
        inside_bank = rotated(m, list(inside), rotation, name="inside", up=True)
        from_next, from_here = Signal(rows), Signal(rows)
        for bank in range(rows):
            wraps = rotation > bank if bank < rows - 1 else 0
            m.d.comb += [from_next[bank].eq(inside_bank[bank] & wraps),
                         from_here[bank].eq(inside_bank[bank] & ~from_next[bank])]
            with m.If(from_next[bank]):
                m.d.sync += self.read.address[bank].eq(ready["next_slot"])
            with m.Elif(from_here[bank]):
                m.d.sync += self.read.address[bank].eq(ready["here"])
            with m.Else():
                m.d.sync += self.read.address[bank].eq(ready["pad"])
        outside = [used.any() & (far | reaches(address, depth)) for used, far, address in (
            (from_here, ready["far"], ready["here"]),
            (from_next, ready["far"], ready["next_slot"]),
            (~inside, ready["far_pad"], ready["pad"]))]
        m.d.sync += self.fault_activations.eq(
            ready["valid"] & (Cat(*outside).any() | ready["far_plane"]))

    def _weight(self, m, valid):
        """Weights leave their banks as late as activations leave the rotator."""
        depth, step, offset = self.config.weight_depth, self.i.step, self.i.pair.weight_offset
        weight, far = Signal(depth.bit_length() + 2), Signal()
        m.d.sync += [
            weight.eq(step.weight + offset),
            far.eq(step.far_weight | reaches(offset, depth) | reaches(step.weight, depth)),
            self.fault_weights.eq(valid & (far | reaches(weight, depth))),
        ]
        for stage in range(2):
            later = Signal.like(weight, name=f"weight_{stage}")
            later_valid = Signal(name=f"fetch_{stage}")
            m.d.sync += [later.eq(weight), later_valid.eq(valid)]
            weight, valid = later, later_valid
        m.d.sync += [self.weight.valid.eq(valid), self.weight.address.eq(weight)]
