"""The scale-and-accumulate unit: one multiplier for a column segment."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..array.drain import Count
from ..spec.cycles import SCALE_LATENCY
from .passes import PassToken

__all__ = ["ScaleUnit"]

class ScaleUnit(wiring.Component):
    """Adds scale times count to one accumulator per row: ``acc[row] += S * m``.

    Accumulators rotate with the drain, whose order never changes, so they need no addresses.
    Latency is :data:`hw.spec.cycles.SCALE_LATENCY` cycles; throughput is one count per cycle.

    Parameters
    ----------
    config : MachineConfig
        Machine.

    Members
    -------
    counts : In(stream.Signature(Count, always_ready=True))
        Drained counts.
    token : In(PassToken)
        The pass that starts; with its first count.
    fetch : Out(1)
        Read scale and bias for the pass that starts.
    scale : In(signed(scale_bits)), bias : In(signed(acc_bits))
        What was read, one cycle after ``fetch`` and until the next.
    valid : Out(1), acc : Out(signed(acc_bits)), block : Out(range(threshold_depth))
        Accumulators of a finished tile, bottom row first, and where their thresholds start; that
        stays until the next tile.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "counts": In(stream.Signature(Count(config), always_ready=True)),
            "token": In(PassToken(config)), "fetch": Out(1),
            "scale": In(signed(config.scale_bits)), "bias": In(signed(config.acc_bits)),
            "valid": Out(1), "acc": Out(signed(config.acc_bits)),
            "block": Out(range(config.threshold_depth)),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        m.d.comb += self.fetch.eq(self.counts.payload.first)

        # What holds for a whole pass travels beside its counts and changes with its first one.
        token = [Signal(PassToken(config), name=f"token_{stage}")
                 for stage in range(SCALE_LATENCY + 1)]
        count, valid, start = (
            [Signal(shape, name=f"{what}_{stage}") for stage in range(SCALE_LATENCY + 1)]
            for what, shape in (("count", config.count_bits), ("valid", 1), ("start", 1)))
        m.d.comb += [token[0].eq(self.token), start[0].eq(self.counts.payload.first),
                     count[0].eq(self.counts.payload.count), valid[0].eq(self.counts.valid)]
        for stage in range(SCALE_LATENCY):
            m.d.sync += [count[stage + 1].eq(count[stage]), valid[stage + 1].eq(valid[stage]),
                         start[stage + 1].eq(start[stage])]
            with m.If(start[stage]):
                m.d.sync += token[stage + 1].eq(token[stage])

        scale, bias = Signal.like(self.scale), [Signal.like(self.bias, name=f"bias_{stage}")
                                                for stage in range(2)]
        m.d.sync += [scale.eq(self.scale), bias[0].eq(self.bias), bias[1].eq(bias[0])]
        product = Signal(signed(config.scale_bits + config.count_bits + 1))
        m.d.sync += product.eq(scale * count[2])

        rows = config.drain_cycles
        ring = [Signal(signed(config.acc_bits), name=f"ring_{r}") for r in range(rows)]
        with m.If(valid[3]):
            m.d.sync += ring[0].eq(Mux(token[3].first, bias[1], ring[rows - 1]) + product)
            m.d.sync += [ring[r + 1].eq(ring[r]) for r in range(rows - 1)]
        with m.If(start[3] & token[3].final):
            m.d.sync += self.block.eq(token[3].block)
        m.d.comb += [self.valid.eq(valid[4] & token[4].final), self.acc.eq(ring[0])]
        return m
