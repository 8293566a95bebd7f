"""The sequencer: runs layers back to back."""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.layout import layer_layout

__all__ = ["Sequencer"]


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
