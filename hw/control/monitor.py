"""What stands still: a frame that stops, a run without progress, an answer nobody takes."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["RunMonitor", "Watchdog"]


class Watchdog(wiring.Component):
    """Barks when something that is on makes no progress for ``limit`` cycles.

    Members
    -------
    limit : In(32)
        Cycles.
    on, progress : In(1)
        Something is under way; it moved.
    bark : Out(1)
        It hangs.
    """

    limit: In(32)
    on: In(1)
    progress: In(1)
    bark: Out(1)

    def elaborate(self, platform):
        m = Module()
        quiet = Signal(32)
        m.d.comb += self.bark.eq(self.on & ~self.progress & (quiet >= self.limit))
        with m.If(~self.on | self.progress):
            m.d.sync += quiet.eq(0)
        with m.Else():
            m.d.sync += quiet.eq(quiet + 1)
        return m


class RunMonitor(wiring.Component):
    """One watchdog for the host and for the machine: never both are waited for at once. An idle
    machine is not watched.

    Members
    -------
    limit : In(32)
        Cycles without progress after which something is given up.
    receiving, received : In(1)
        Inside a frame the machine waits for the host; a word is offered.
    working, worked : In(1)
        A run or an answer is under way; it moved.
    link_timeout, hung : Out(1)
        The host, or the machine, made no progress for that long.
    """

    limit: In(32)
    receiving: In(1)
    received: In(1)
    working: In(1)
    worked: In(1)
    link_timeout: Out(1)
    hung: Out(1)

    def elaborate(self, platform):
        m = Module()
        m.submodules.watchdog = watchdog = Watchdog()
        # What moves is far apart: it is looked at a cycle later.
        receiving, received, working, worked = (Signal(name=name) for name in (
            "was_receiving", "was_received", "was_working", "was_worked"))
        m.d.sync += [receiving.eq(self.receiving), received.eq(self.received),
                     working.eq(self.working), worked.eq(self.worked)]
        m.d.comb += [
            watchdog.limit.eq(self.limit), watchdog.on.eq(receiving | working),
            watchdog.progress.eq(Mux(receiving, received, worked)),
            self.link_timeout.eq(watchdog.bark & receiving),
            self.hung.eq(watchdog.bark & ~receiving),
        ]
        return m
