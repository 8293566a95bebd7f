"""The threshold pipeline: an accumulator becomes a code by binary search in a staircase."""

from amaranth.hdl import Cat, Module, Signal, signed
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

from .loader import LoadToken

__all__ = ["ThresholdPipeline"]


class ThresholdPipeline(wiring.Component):
    """Searches the thresholds of a channel, one level per stage.

    At every level the search goes right if the accumulator reaches the threshold, and the turns it
    took are the digits of the code: the number of thresholds at or below the accumulator. A
    staircase of fewer levels lies in the last ones; the others turn left.

    Latency is ``code_bits`` cycles; throughput is one accumulator per cycle. Memories have two
    halves, for the sweep that runs and the one that is loaded. The first level has two registers
    instead: to take over a value costs less than to choose one.

    Parameters
    ----------
    config : MachineConfig
        Machine.

    Members
    -------
    levels : In(code_bits)
        Levels that search.
    valid : In(1), acc : In(signed(acc_bits)), phase : In(1)
        An accumulator, and the half that holds its thresholds.
    opened : In(1)
        The accumulators from the next cycle on belong to the block loaded last.
    load : In(LoadToken), entry : In(signed(acc_bits))
        A threshold to keep; only its ``levels``, ``place`` and ``phase`` count.
    code : Out(stream.Signature(code_bits, always_ready=True))
        Codes; 0 while no level searches.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "levels": In(config.code_bits),
            "valid": In(1), "acc": In(signed(config.acc_bits)), "phase": In(1), "opened": In(1),
            "load": In(LoadToken(config)), "entry": In(signed(config.acc_bits)),
            "code": Out(stream.Signature(config.code_bits, always_ready=True)),
        })

    def elaborate(self, platform):
        m = Module()
        valid, acc, phase, path = self.valid, self.acc, self.phase, Cat()
        for level in range(self.config.code_bits):
            threshold = self._level(m, level, Cat(path, phase))
            turns = Signal(level + 1, name=f"path_{level}")
            with m.If(self.levels[level]):
                m.d.sync += turns[0].eq(acc >= threshold)
            with m.Else():
                m.d.sync += turns[0].eq(0)
            later = [Signal.like(value, name=f"{name}_{level}")
                     for name, value in (("valid", valid), ("acc", acc), ("phase", phase))]
            m.d.sync += [turns[1:].eq(path), *(new.eq(old) for new, old in
                                               zip(later, (valid, acc, phase)))]
            (valid, acc, phase), path = later, turns
        m.d.comb += [self.code.valid.eq(valid & self.levels[-1]), self.code.payload.eq(path)]
        return m

    def _level(self, m, level, address):
        """The threshold at ``address`` of a level: path so far, and phase."""
        enable = self.load.levels[level]
        if level == 0:
            threshold, following = (Signal.like(self.entry, name=name)
                                    for name in ("root", "root_following"))
            with m.If(enable):
                m.d.sync += following.eq(self.entry)
            with m.If(self.opened):
                m.d.sync += threshold.eq(following)
            return threshold
        m.submodules[f"level_{level}"] = cells = memory.Memory(
            shape=signed(self.config.acc_bits), depth=2 << level, init=[],
            attrs={"ram_style": "distributed"})
        write, read = cells.write_port(), cells.read_port(domain="comb")
        m.d.comb += [
            write.en.eq(enable), write.data.eq(self.entry), read.addr.eq(address),
            write.addr.eq(Cat(self.load.place[:level], self.load.phase)),
        ]
        return read.data
