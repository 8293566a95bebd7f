"""The sequencer: runs layers back to back and keeps the counters of each."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .fetch import LayerRequest
from .layout import layer_layout
from .spec.cycles import FETCH_CYCLES
from .spec.memory import PROFILE_COUNTERS, PROFILE_LAYERS

__all__ = ["Profiler", "Sequencer"]


class Sequencer(wiring.Component):
    """Starts a layer when its descriptor is there and the layer before has written its last word.

    Members
    -------
    run : In(1), count : In(16)
        Begin a run of ``count`` layers.
    i : In(stream.Signature(LayerRequest))
        Layers in order.
    layer : Out(layer_layout), index : Out(16)
        The layer that runs; stable from ``start`` to the next ``start``.
    start : Out(1)
        First cycle of a layer.
    layer_done : In(1)
        Last cycle of a layer.
    active, waiting : Out(1)
        A run is on; it waits for a descriptor.
    layers : Out(16), cycles : Out(32)
        Layers finished in, and cycles of, the last run.
    done : Out(1)
        Last cycle of the run.
    """

    def __init__(self, config):
        super().__init__({
            "run": In(1), "count": In(16), "i": In(stream.Signature(LayerRequest(config))),
            "layer": Out(layer_layout(config)), "index": Out(16),
            "start": Out(1), "layer_done": In(1), "active": Out(1), "waiting": Out(1),
            "layers": Out(16), "cycles": Out(32), "done": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        busy, finished = Signal(), Signal()
        left = Signal.like(self.count)
        m.d.comb += [
            self.waiting.eq(self.active & ~busy & ~self.start & ~finished),
            self.i.ready.eq(self.waiting),
            self.done.eq(self.active & ~busy & ~self.start & finished),
        ]
        m.d.sync += self.start.eq(self.i.valid & self.i.ready)
        with m.If(self.active):
            m.d.sync += self.cycles.eq(self.cycles + 1)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [self.layer.eq(self.i.payload.layer), self.index.eq(self.i.payload.index)]
        with m.If(self.start):
            m.d.sync += busy.eq(1)
        with m.If(busy & self.layer_done):
            m.d.sync += [busy.eq(0), self.layers.eq(self.layers + 1), left.eq(left - 1),
                         finished.eq(left == 1)]
        with m.If(self.done):
            m.d.sync += self.active.eq(0)
        with m.If(self.run):
            m.d.sync += [self.active.eq(1), self.layers.eq(0), self.cycles.eq(0),
                         left.eq(self.count), finished.eq(self.count == 0)]
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
        place = Signal(range(len(PROFILE_COUNTERS) + 1), init=len(PROFILE_COUNTERS))
        layer = Signal(range(PROFILE_LAYERS))
        m.d.comb += [
            self.write.eq(place != len(PROFILE_COUNTERS)),
            self.address.eq(Cat(place[:3], layer)), self.data.eq(waited_before),
        ]
        with m.If(self.write):
            m.d.sync += place.eq(place + 1)
        with m.If(self.start):
            m.d.sync += running.eq(1)
        with m.If(self.done):
            m.d.sync += [running.eq(0), place.eq(0), layer.eq(self.index)]

        for k, (counter, event) in enumerate(zip(counters, Cat(1, self.events[:-1]), strict=True)):
            with m.If((self.start | running) & event):
                m.d.sync += counter.eq(counter + 1)
            with m.If(place == k):
                m.d.comb += self.data.eq(counter)
                m.d.sync += counter.eq(0)
        with m.If(self.events[-1]):
            m.d.sync += waited.eq(waited + 1)
        with m.If(self.done):
            m.d.sync += [waited.eq(0), waited_before.eq(waited)]
        return m
