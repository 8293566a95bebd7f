"""The sequencer: runs layers back to back."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.layout import column_layout, feed_layout, layer_layout, output_layout

__all__ = ["Sequencer"]

RECORDS = {"feed": feed_layout, "column": column_layout, "output": output_layout}
"""Whom a layer is handed to, and what each knows of it."""


class Sequencer(wiring.Component):
    """Hands a layer to feed, columns and output when its descriptor is there and the layer before
    has written its last word. A layer ends with the last of the three to take its record.

    Members
    -------
    run : In(1), first : In(16), count : In(16)
        Begin a run of ``count`` layers from layer ``first`` of the program on; stable until
        ``done``.
    i : In(stream.Signature(layer_layout)), more : Out(1)
        Layers in order; some have not been taken yet.
    feed, column, output : Out(stream.Signature(...))
        The layer that runs, as each of them knows it; all are offered in the same cycle.
    index : Out(16)
        The layer that runs, or ran last.
    start, layer_done : Out(1)
        First and last cycle of a layer.
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
            **{name: Out(stream.Signature(layout(config))) for name, layout in RECORDS.items()},
            "index": Out(16), "start": Out(1), "layer_done": Out(1),
            "active": Out(1), "waiting": Out(1),
            "layers": Out(16), "cycles": Out(32), "done": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        layer, between, taken = Signal.like(self.i.payload), Signal(), Signal()
        records = [getattr(self, name) for name in RECORDS]
        busy = Cat(record.valid for record in records).any()
        m.d.comb += [
            between.eq(self.active & ~busy), taken.eq(self.i.valid & self.i.ready),
            self.more.eq(self.active & (self.layers != self.count)),
            self.waiting.eq(between & self.more), self.done.eq(between & ~self.more),
            self.i.ready.eq(self.waiting),
            self.layer_done.eq(busy & ~Cat(record.valid & ~record.ready
                                           for record in records).any()),
        ]
        for record in records:
            m.d.comb += [field.eq(layer[name]) for name, field in _fields(record.payload)]
            with m.If(record.ready):
                m.d.sync += record.valid.eq(0)
            with m.If(taken):
                m.d.sync += record.valid.eq(1)
        m.d.sync += self.start.eq(taken)
        with m.If(self.active):
            m.d.sync += self.cycles.eq(self.cycles + 1)
        with m.If(taken):
            m.d.sync += [layer.eq(self.i.payload), self.index.eq(self.first + self.layers),
                         self.layers.eq(self.layers + 1)]
        with m.If(self.done):
            m.d.sync += self.active.eq(0)
        with m.If(self.run):
            m.d.sync += [self.active.eq(1), self.layers.eq(0), self.cycles.eq(0)]
        return m


def _fields(view):
    return [(name, view[name]) for name, _field in view.shape()]
