"""The CRC of the host link, one word per cycle."""

import zlib

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Checksum"]

_ONES = 0xFFFFFFFF


def _image(bit):
    """What a register with only ``bit`` set becomes under 32 zero bits; zlib is the definition."""
    return ~zlib.crc32(bytes(4), ~(1 << bit) & _ONES) & _ONES


class Checksum(wiring.Component):
    """CRC-32 (ISO-HDLC) over words taken as little-endian bytes, as :func:`hw.spec.link.crc32`.

    A CRC as wide as its data depends on the exclusive-or of state and data alone; forming that
    first takes half the logic of the two matrices that a generic CRC has. Link frames go one way at
    a time, so one checksum serves both ends.

    Members
    -------
    start : In(1)
        The word is the first of a frame.
    valid : In(1), data : In(32)
        A word.
    pending : Out(1)
        The word of the cycle before is not yet in ``crc``.
    crc : Out(32)
        CRC of all words but a pending one.
    """

    start: In(1)
    valid: In(1)
    data: In(32)
    pending: Out(1)
    crc: Out(32)

    def elaborate(self, platform):
        m = Module()
        state, mixed = Signal(32, init=_ONES), Signal(32)
        # A word waits a cycle, as the way to here is long.
        start, data = Signal(), Signal(32)
        m.d.sync += [start.eq(self.start), self.pending.eq(self.valid), data.eq(self.data)]
        m.d.comb += [
            mixed.eq(Mux(start, _ONES, state) ^ data),
            self.crc.eq(~state),
        ]
        images = [_image(bit) for bit in range(32)]
        with m.If(self.pending):
            for k in range(32):
                m.d.sync += state[k].eq(
                    Cat(mixed[bit] for bit in range(32) if images[bit] >> k & 1).xor())
        return m
