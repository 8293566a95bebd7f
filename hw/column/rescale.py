"""The rescaler: a multiplied accumulator becomes a code."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..spec.descriptor import MAX_MAP_BITS, RESCALE_DOWN
from .scale import product_shape

__all__ = ["Rescaler"]


class Rescaler(wiring.Component):
    """``code = clip((product + addend) >> RESCALE_DOWN, 0, largest)``.

    Latency is two cycles; throughput is one product per cycle.

    Parameters
    ----------
    config : MachineConfig
        Machine.

    Members
    -------
    largest : In(MAX_MAP_BITS)
        Largest code, a power of two less one.
    valid : In(1), product : In(product_shape), addend : In(signed(acc_bits))
        A product and what is added to it.
    code : Out(stream.Signature(MAX_MAP_BITS, always_ready=True))
        Codes; 0 where there is none.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "largest": In(MAX_MAP_BITS), "valid": In(1), "product": In(product_shape(config)),
            "addend": In(signed(config.acc_bits)),
            "code": Out(stream.Signature(MAX_MAP_BITS, always_ready=True)),
        })

    def elaborate(self, platform):
        m = Module()
        width = max(product_shape(self.config).width, self.config.acc_bits) + 1
        total = Signal(signed(max(width, RESCALE_DOWN + MAX_MAP_BITS + 1)))
        valid, over = Signal(), Signal()
        value = total[RESCALE_DOWN:RESCALE_DOWN + MAX_MAP_BITS]
        m.d.comb += over.eq(total[RESCALE_DOWN + MAX_MAP_BITS:-1].any()
                            | (value & ~self.largest).any())
        m.d.sync += [
            total.eq(self.product + self.addend), valid.eq(self.valid),
            self.code.valid.eq(valid), self.code.payload.eq(Mux(over, self.largest, value)),
        ]
        with m.If(~valid | (total < 0)):
            m.d.sync += self.code.payload.eq(0)
        return m
