"""The rescaler: a multiplied accumulator, and what was added to it, becomes a code."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..spec.descriptor import MAX_MAP_BITS, RESCALE_DOWN
from .scale import bits_above

__all__ = ["Rescaler"]


class Rescaler(wiring.Component):
    """``code = clip(sum >> RESCALE_DOWN, 0, largest)``.

    Latency is one cycle; throughput is one sum per cycle.

    Parameters
    ----------
    config : MachineConfig
        Machine.

    Members
    -------
    largest : In(MAX_MAP_BITS)
        Largest code, a power of two less one.
    valid : In(1), low : In(acc_bits), above : In(bits_above)
        A sum of product and addend, and its high part with the sign: two ports, as one of two
        registers would have another name in every column.
    code : Out(stream.Signature(MAX_MAP_BITS, always_ready=True))
        Codes; 0 where there is none.
    """

    def __init__(self, config):
        super().__init__({
            "largest": In(MAX_MAP_BITS), "valid": In(1), "low": In(config.acc_bits),
            "above": In(bits_above(config)),
            "code": Out(stream.Signature(MAX_MAP_BITS, always_ready=True)),
        })

    def elaborate(self, platform):
        m = Module()
        total, over = Cat(self.low, self.above), Signal()
        value = total[RESCALE_DOWN:RESCALE_DOWN + MAX_MAP_BITS]
        m.d.comb += over.eq(total[RESCALE_DOWN + MAX_MAP_BITS:-1].any()
                            | (value & ~self.largest).any())
        m.d.sync += [self.code.valid.eq(self.valid),
                     self.code.payload.eq(Mux(over, self.largest, value))]
        with m.If(~self.valid | total[-1]):
            m.d.sync += self.code.payload.eq(0)
        return m
