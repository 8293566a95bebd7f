"""The scale-and-accumulate unit: one multiplier for a column segment."""

from functools import reduce
from operator import or_

from amaranth.hdl import Module, Mux, Signal, signed, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..array.drain import Count
from ..spec.descriptor import MAX_MAP_BITS, RESCALE_DOWN, RESCALE_SHIFTS
from ..spec.latency import SCALE_LATENCY, rescale_delay
from .mode import ColumnMode
from .passes import PassToken

__all__ = ["ScaleUnit", "bits_above", "product_shape"]


def product_shape(config):
    """Shape of scale times count, and of multiplier times accumulator."""
    return signed(config.scale_bits + config.count_bits + 1)


def bits_above(config):
    """Bits that the sum of a product and an addend has above those of an accumulator: then none of
    it is lost."""
    # A product is smaller by half than its width allows.
    width = max(product_shape(config).width, config.acc_bits + 1, RESCALE_DOWN + MAX_MAP_BITS + 1)
    return width - config.acc_bits


class ScaleUnit(wiring.Component):
    """Adds scale times count to one accumulator per row: ``acc[row] += S * m``.

    Accumulators rotate with the drain, whose order never changes, so they need no addresses.
    Latency is :data:`hw.spec.latency.SCALE_LATENCY` cycles; throughput is one count per cycle.
    Where ``token.rescale`` stands in for a count, the accumulator of the tile's final count
    :func:`hw.spec.latency.rescale_delay` cycles before is shifted and multiplied instead, and the
    bias is added.

    Parameters
    ----------
    config : MachineConfig
        Machine.

    Members
    -------
    mode : In(ColumnMode)
        How accumulators leave.
    counts : In(stream.Signature(Count, always_ready=True))
        Drained counts.
    token : In(PassToken)
        The pass that starts, with its first count.
    scale : In(scale_bits + 1)
        Scale of the pass, and above it whether the sum is clamped at zero before the pass is added;
        one cycle after the first count and until that of the next pass. Instead of a count, an
        accumulator has its multiplier there, too.
    bias : In(signed(acc_bits))
        Bias of a count of a tile's first pass, or what is added to the product of an accumulator,
        three cycles later.
    valid : Out(1), acc : Out(signed(acc_bits))
        Accumulators of a finished tile, bottom row first.
    opens : Out(1)
        The next bias is that of a sweep's first count: two cycles before its accumulator.
    phase : Out(1)
        Phase of the accumulator.
    pop : In(1), oldest : Out(signed(acc_bits))
        Oldest accumulator of a raw tile, and bring the next one to the front.
    ended, last : Out(1)
        The last accumulator of a tile has come, or has been multiplied and added to, unless counts
        follow at once; it is the layer's last.
    rescaled : Out(1), above : Out(bits_above)
        With ``config.rescale``: ``acc`` is the low part of a sum of a product of an accumulator,
        ``SCALE_LATENCY`` cycles after ``token.rescale``; what is above it, sign included.
    """

    def __init__(self, config):
        self.config = config
        members = {
            "mode": In(ColumnMode(config)),
            "counts": In(stream.Signature(Count(config), always_ready=True)),
            "token": In(PassToken(config)),
            "scale": In(config.scale_bits + 1), "bias": In(signed(config.acc_bits)),
            "valid": Out(1), "acc": Out(signed(config.acc_bits)), "opens": Out(1),
            "phase": Out(1), "pop": In(1), "oldest": Out(signed(config.acc_bits)),
            "ended": Out(1), "last": Out(1),
        }
        if config.rescale:
            members |= {"rescaled": Out(1), "above": Out(bits_above(config))}
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        config = self.config
        # What holds for a whole pass travels beside its counts and changes with its first one.
        token = [Signal(PassToken(config), name=f"token_{stage}")
                 for stage in range(SCALE_LATENCY + 1)]
        valid, start, rescale = (
            [Signal(name=f"{what}_{stage}") for stage in range(SCALE_LATENCY + 1)]
            for what in ("valid", "start", "rescale"))
        m.d.comb += [token[0].eq(self.token), start[0].eq(self.counts.payload.first),
                     valid[0].eq(self.counts.valid)]
        if config.rescale:
            m.d.comb += rescale[0].eq(self.token.rescale)
        for stage in range(SCALE_LATENCY):
            m.d.sync += [valid[stage + 1].eq(valid[stage]), start[stage + 1].eq(start[stage]),
                         rescale[stage + 1].eq(rescale[stage])]
            with m.If(start[stage]):
                m.d.sync += token[stage + 1].eq(token[stage])

        ring = [Signal(signed(config.acc_bits), name=f"ring_{r}")
                for r in range(config.drain_cycles)]
        product, clamp = self._multiply(m, rescale, ring)
        above = bits_above(config) if config.rescale else 0
        base, biased = Signal(signed(config.acc_bits)), Signal()
        total = Signal(config.acc_bits + above)
        m.d.sync += biased.eq(Mux(start[2], token[2].first, token[3].first) | rescale[2])
        m.d.comb += [base.eq(Mux(biased, self.bias, ring[-1])),
                     total.eq(Mux(clamp & (base < 0), 0, base) + product)]
        with m.If(valid[3] | rescale[3] | self.pop):
            m.d.sync += ring[0].eq(total)
            m.d.sync += [later.eq(earlier) for earlier, later in zip(ring, ring[1:])]
        ended = valid[4] & token[4].final & ~valid[3]
        if config.rescale:
            ended = Mux(self.mode.rescale, rescale[4] & ~rescale[3], ended)
            m.d.sync += self.above.eq(total[config.acc_bits:])
            m.d.comb += self.rescaled.eq(rescale[4])
        m.d.comb += [
            self.valid.eq(valid[4] & token[4].final), self.acc.eq(ring[0]),
            self.oldest.eq(ring[-1]), self.opens.eq(start[2] & token[2].opening),
            self.phase.eq(token[4].phase), self.ended.eq(ended), self.last.eq(token[4].last),
        ]
        return m

    def _multiply(self, m, rescale, ring):
        """The product, and whether the sum is clamped first, both beside ``rescale[3]``."""
        config, mode = self.config, self.mode
        scale, clamp = Signal(signed(config.scale_bits)), [Signal(name=f"clamp_{n}")
                                                           for n in range(2)]
        count = Signal(config.count_bits)
        m.d.sync += [count.eq(self.counts.payload.count),
                     scale.eq(self.scale[:config.scale_bits]),
                     clamp[0].eq(self.scale[-1]), clamp[1].eq(clamp[0])]
        factors = [count]
        if config.rescale:
            # All but one of these are reset: a choice is then a single or.
            with m.If(rescale[0]):
                m.d.sync += count.eq(0)
            taken = ring[rescale_delay(config) - SCALE_LATENCY]
            for index, shift in enumerate(RESCALE_SHIFTS):
                shifted = Signal(signed(config.count_bits + 1), name=f"shifted_{shift}")
                m.d.sync += shifted.eq(Mux(rescale[0] & mode.shifts[index], taken >> shift, 0))
                factors.append(shifted.as_unsigned())
        factor = Signal(unsigned(config.count_bits + 1))
        product = Signal(product_shape(config))
        m.d.sync += [factor.eq(reduce(or_, factors)), product.eq(scale * factor.as_signed())]
        return product, clamp[1]
