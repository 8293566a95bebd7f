"""The sequencer: runs layers back to back and keeps the counters of each."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.choice import choose
from ..common.layout import layer_layout
from ..spec.cycles import FETCH_CYCLES
from ..spec.memory import PROFILE_COUNTERS, PROFILE_LAYERS

__all__ = ["Profiler", "Sequencer"]


class Sequencer(wiring.Component):
    """Starts a layer when its descriptor is there and the layer before has written its last word.

    Members
    -------
    run : In(1), first : In(16), count : In(16)
        Begin a run of ``count`` layers from layer ``first`` of the program on; stable until
        ``done``.
    i : In(stream.Signature(layer_layout)), more : Out(1)
        Layers in order; some have not been taken yet.
    layer : Out(layer_layout), index : Out(16)
        The layer that runs; stable from ``start`` to the next ``start``.
    start : Out(1)
        First cycle of a layer.
    layer_done : In(1)
        Last cycle of a layer.
    active, waiting : Out(1)
        A run is on; it waits for a descriptor.
    layers : Out(16), cycles : Out(32)
        Layers taken in, and cycles of, the last run.
    done : Out(1)
        Last cycle of the run.
    """

    def __init__(self, config):
        super().__init__({
            "run": In(1), "first": In(16), "count": In(16),
            "i": In(stream.Signature(layer_layout(config))), "more": Out(1),
            "layer": Out(layer_layout(config)), "index": Out(16),
            "start": Out(1), "layer_done": In(1), "active": Out(1), "waiting": Out(1),
            "layers": Out(16), "cycles": Out(32), "done": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        busy, between = Signal(), Signal()
        m.d.comb += [
            between.eq(self.active & ~busy & ~self.start),
            self.more.eq(self.active & (self.layers != self.count)),
            self.waiting.eq(between & self.more), self.done.eq(between & ~self.more),
            self.i.ready.eq(self.waiting),
        ]
        m.d.sync += self.start.eq(self.i.valid & self.i.ready)
        with m.If(self.active):
            m.d.sync += self.cycles.eq(self.cycles + 1)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [self.layer.eq(self.i.payload), self.index.eq(self.first + self.layers),
                         self.layers.eq(self.layers + 1)]
        with m.If(self.start):
            m.d.sync += busy.eq(1)
        with m.If(busy & self.layer_done):
            m.d.sync += busy.eq(0)
        with m.If(self.done):
            m.d.sync += self.active.eq(0)
        with m.If(self.run):
            m.d.sync += [self.active.eq(1), self.layers.eq(0), self.cycles.eq(0)]
        return m


class Profiler(wiring.Component):
    """Counts per layer and stores the counts in the profile memory while the next layer starts up.

    No step of the next layer comes before the counts are stored: they are stored where they stand,
    one per cycle, and cleared. Only the wait for a descriptor begins at once and needs a place of
    its own.

    Members
    -------
    start, done : In(1)
        First and last cycle of a layer; ``start`` comes at least 2 cycles after ``done``.
    index : In(16)
        The layer.
    events : In(4)
        ``busy``, ``stalled_on_drain``, ``stalled_on_output``, ``stalled_on_input``.
    write : Out(1), address : Out(range(8 * PROFILE_LAYERS)), data : Out(32)
        Write port of the profile memory.
    """

    start: In(1)
    done: In(1)
    index: In(16)
    events: In(len(PROFILE_COUNTERS) - 1)
    write: Out(1)
    address: Out(range(8 * PROFILE_LAYERS))
    data: Out(32)

    def elaborate(self, platform):
        m = Module()
        counters = [Signal(32, name=name) for name in PROFILE_COUNTERS[:-1]]
        waited, waited_before = Signal(range(FETCH_CYCLES + 1)), Signal(range(FETCH_CYCLES + 1))
        running = Signal()
        # One bit for the counter that is stored.
        turn, layer = Signal(len(PROFILE_COUNTERS)), Signal(range(PROFILE_LAYERS))
        place = choose((turn[k], k) for k in range(len(PROFILE_COUNTERS)))
        m.d.comb += [
            self.write.eq(turn.any()), self.address.eq(Cat(place, layer)),
            self.data.eq(choose(zip(turn, [*counters, waited_before], strict=True))),
        ]
        m.d.sync += turn.eq(turn << 1)
        with m.If(self.start):
            m.d.sync += running.eq(1)
        with m.If(self.done):
            m.d.sync += [running.eq(0), turn.eq(1), layer.eq(self.index)]

        for k, (counter, event) in enumerate(zip(counters, Cat(1, self.events[:-1]), strict=True)):
            with m.If((self.start | running) & event):
                m.d.sync += counter.eq(counter + 1)
            with m.If(turn[k]):
                m.d.sync += counter.eq(0)
        # The end of a raw layer comes from the far end of the link: a cycle to cross the chip, in
        # which the wait for the next layer may already have begun.
        ended = Signal()
        m.d.sync += ended.eq(self.done)
        with m.If(self.events[-1]):
            m.d.sync += waited.eq(waited + 1)
        with m.If(ended):
            m.d.sync += [waited.eq(self.events[-1]), waited_before.eq(waited)]
        return m
