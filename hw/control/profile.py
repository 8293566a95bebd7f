"""The counters of every layer, and where they are kept."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..common.choice import choose
from ..memory.bank import Bank
from ..spec.memory import PROFILE_COUNTERS, PROFILE_LAYERS
from ..spec.record import WORD_BITS

__all__ = ["ProfileMemory", "Profiler"]


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
        waited, waited_before = Signal(32), Signal(32)
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


class ProfileMemory(wiring.Component):
    """Profiler and profile memory; a read takes two cycles, as behind all block RAM.

    Members
    -------
    start, done, index, events
        See :class:`Profiler`.
    address : In(range(8 * PROFILE_LAYERS)), data : Out(32)
        A counter to read, and the one asked for two cycles ago.
    """

    start: In(1)
    done: In(1)
    index: In(16)
    events: In(len(PROFILE_COUNTERS) - 1)
    address: In(range(8 * PROFILE_LAYERS))
    data: Out(WORD_BITS)

    def elaborate(self, platform):
        m = Module()
        m.submodules.profiler = profiler = Profiler()
        m.submodules.bank = bank = Bank(WORD_BITS, 8 * PROFILE_LAYERS)
        m.d.comb += [
            profiler.start.eq(self.start), profiler.done.eq(self.done),
            profiler.index.eq(self.index), profiler.events.eq(self.events),
            bank.write.en.eq(profiler.write), bank.write.addr.eq(profiler.address),
            bank.write.data.eq(profiler.data),
            bank.read.en.eq(1), bank.read.addr.eq(self.address),
        ]
        m.d.sync += self.data.eq(bank.read.data)
        return m
