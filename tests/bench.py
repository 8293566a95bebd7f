"""Helpers for benches in Amaranth's own simulator."""

import zlib

from amaranth.hdl import ClockDomain, Module
from amaranth.sim import Simulator

__all__ = ["checksum", "play", "recorder", "simulate", "stream_get", "stream_put"]


def simulate(component, *testbenches, processes=()):
    """Runs testbenches on a component with one clock; they must end by themselves."""
    m = Module()
    # A block that is combinational has no clock of its own.
    m.domains.sync = ClockDomain()
    m.submodules.block = component
    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    for process in processes:
        simulator.add_process(process)
    for testbench in testbenches:
        simulator.add_testbench(testbench)
    simulator.run()


def play(component, cycles, outputs):
    """Sets inputs cycle by cycle and returns what the outputs show in each of these cycles.

    Parameters
    ----------
    component : Component
        Block under test.
    cycles : iterable of list of (signal, value)
        What changes at the inputs, one list per cycle.
    outputs : sequence of signals
        What to look at just before the clock edge that ends each cycle.

    Returns
    -------
    list of tuple
        Values of ``outputs``, one tuple per cycle.
    """
    seen = []

    async def bench(ctx):
        for inputs in cycles:
            for signal, value in inputs:
                ctx.set(signal, value)
            _clk, _rst, *values = await ctx.tick().sample(*outputs)
            seen.append(tuple(values))

    simulate(component, bench)
    return seen


def recorder(valid, *signals):
    """A process, and the list that it fills with ``(cycle, value, ...)`` whenever ``valid``."""
    seen = []

    async def process(ctx):
        cycle = 0
        async for _clk, _rst, strobe, *values in ctx.tick().sample(valid, *signals):
            if strobe:
                seen.append((cycle, *values))
            cycle += 1

    return process, seen


async def stream_put(ctx, stream, payloads, *, gap=lambda: 0):
    """Sends payloads, with ``gap()`` idle cycles before each; they hold until they are taken."""
    for payload in payloads:
        for _ in range(gap()):
            await ctx.tick()
        ctx.set(stream.payload, payload)
        ctx.set(stream.valid, 1)
        await ctx.tick().until(stream.ready)
        ctx.set(stream.valid, 0)


async def stream_get(ctx, stream, count, *, gap=lambda: 0, limit=10_000):
    """Takes ``count`` payloads, with ``gap()`` cycles of no readiness before each.

    Fails if a payload changes or goes away before it is taken, or if none comes for ``limit``
    cycles.
    """
    taken, offered = [], None
    for _ in range(count):
        wait = gap()
        for cycle in range(limit):
            ready = cycle >= wait
            ctx.set(stream.ready, ready)
            _clk, _rst, valid, payload = await ctx.tick().sample(stream.valid, stream.payload)
            assert offered is None or (valid and payload == offered), "a payload did not hold"
            offered = payload if valid and not ready else None
            if valid and ready:
                taken.append(payload)
                break
        else:
            raise AssertionError(f"no payload for {limit} cycles, after {len(taken)}")
    ctx.set(stream.ready, 0)
    return taken


def checksum(end, *, late=True):
    """A process that is the checksum beside one end of the link, by zlib; ``late`` by a cycle."""
    async def process(ctx):
        crc = 0
        async for _clk, _rst, checked, first, word in ctx.tick().sample(
                end.checked, end.first, end.data):
            if late:
                ctx.set(end.crc, crc)
                ctx.set(end.pending, checked)
            if checked:
                crc = zlib.crc32(word.to_bytes(4, "little"), 0 if first else crc)
            if not late:
                ctx.set(end.crc, crc)
    return process
