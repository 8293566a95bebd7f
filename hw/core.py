"""The core: host link, control and datapath, all of which a soft reset resets."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .common.queue import Queue
from .control.answers import AnswerArbiter
from .control.fault import LINK_ERRORS, FaultSignature
from .control.fetch import DescriptorFetch
from .control.monitor import RunMonitor
from .control.profile import ProfileMemory
from .control.program import ProgramMemory
from .control.sequencer import Sequencer
from .datapath import Datapath
from .link.checksum import Checksum
from .link.deframer import DEFRAMER_ERRORS, Deframer
from .link.framer import Framer
from .link.readback import Readback
from .link.sections import SECTION_ERRORS, SectionReader
from .link.words import LinkWord
from .spec.link import ErrorCode

__all__ = ["Core"]

OUTPUT_WORDS = 3
"""Words that may wait for the host: what leaves the machine comes out of a register."""


class Core(wiring.Component):
    """Takes frames, does what they ask, and answers.

    Parameters
    ----------
    config : MachineConfig
        Machine.
    popcount : str
        Strategy of :class:`hw.array.popcount.MismatchCount`.

    Members
    -------
    i : In(stream.Signature(32)), o : Out(stream.Signature(LinkWord))
        Words from and to the host, framed as :mod:`hw.spec.link` says.
    watchdog : In(32)
        Cycles without progress after which something is given up.
    loaded : Out(1)
        An image has passed all checks.
    busy : Out(1)
        A frame is coming in, a request is carried out, or an answer leaves.
    cycles : Out(stream.Signature(32, always_ready=True))
    layers : Out(stream.Signature(16, always_ready=True))
        Counters of the run as they change.
    done : Out(1)
        Strobe: a run has ended.
    faults : Out(FaultSignature)
        What is wrong in this cycle.
    """

    def __init__(self, config, *, popcount="plain"):
        self.config = config
        self.popcount = popcount
        super().__init__({
            "i": In(stream.Signature(32)), "o": Out(stream.Signature(LinkWord)),
            "watchdog": In(32), "loaded": Out(1), "busy": Out(1),
            "cycles": Out(stream.Signature(32, always_ready=True)),
            "layers": Out(stream.Signature(16, always_ready=True)),
            "done": Out(1), "faults": Out(FaultSignature()),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        m.submodules.deframer = deframer = Deframer(config)
        m.submodules.sections = sections = SectionReader(config)
        m.submodules.sequencer = sequencer = Sequencer(config)
        m.submodules.datapath = datapath = Datapath(config, popcount=self.popcount)
        m.submodules.readback = readback = Readback(config)
        # A request has the comparison of a whole checksum behind it; it is acted on a cycle later.
        run, read = Signal(), Signal()
        m.d.sync += [run.eq(deframer.run), read.eq(deframer.read)]
        wiring.connect(m, wiring.flipped(self.i), deframer.i)
        wiring.connect(m, deframer.o, sections.i)
        wiring.connect(m, readback.probe, datapath.probe)
        for block in ("feed", "column", "output"):
            wiring.connect(m, getattr(sequencer, block), getattr(datapath, block))
        m.d.comb += [
            sections.opcode.eq(deframer.opcode), self.loaded.eq(deframer.loaded),
            sequencer.run.eq(run), sequencer.first.eq(sections.section.start),
            sequencer.count.eq(sections.section.count),
            readback.start.eq(read), readback.section.eq(sections.section),
            readback.activations.eq(datapath.probed),
            self.done.eq(sequencer.done),
            self.cycles.valid.eq(sequencer.active), self.cycles.payload.eq(sequencer.cycles),
            # Between layers, all that were taken are finished.
            self.layers.valid.eq(sequencer.waiting | sequencer.done),
            self.layers.payload.eq(sequencer.layers),
        ]
        fetch = self._programs(m, sections, run, sequencer, datapath)
        self._profile(m, sequencer, datapath, readback)
        answering = self._answers(m, deframer, read, sequencer, datapath, readback)
        monitor = self._watch(m, deframer, sequencer, datapath, answering)
        self._faults(m, deframer, sections, fetch, sequencer, datapath, monitor)
        m.d.comb += self.busy.eq(deframer.open | sequencer.active | answering | run | read)
        return m

    def _programs(self, m, sections, run, sequencer, datapath):
        """Entries from the host go to whom they concern; descriptors come from there."""
        m.submodules.program = program = ProgramMemory(self.config)
        m.submodules.fetch = fetch = DescriptorFetch(self.config)
        for memories in (program, datapath):
            m.d.comb += [memories.store.valid.eq(sections.o.valid),
                         memories.store.payload.eq(sections.o.payload)]
        wiring.connect(m, program.read, fetch.read)
        wiring.connect(m, fetch.o, sequencer.i)
        m.d.comb += [fetch.start.eq(run), fetch.first.eq(sections.section.start),
                     fetch.more.eq(sequencer.more)]
        return fetch

    def _profile(self, m, sequencer, datapath, readback):
        m.submodules.profile = profile = ProfileMemory()
        m.d.comb += [
            profile.start.eq(sequencer.start), profile.done.eq(sequencer.layer_done),
            profile.index.eq(sequencer.index),
            profile.events.eq(Cat(datapath.events[:3], datapath.events[3] | sequencer.waiting)),
            profile.address.eq(readback.profile_address), readback.profile.eq(profile.data),
        ]

    def _answers(self, m, deframer, read, sequencer, datapath, readback):
        """All that leaves, and the checksum, which serves whichever end of the link is at work.

        Returns
        -------
        Value
            An answer is asked for, or on its way.
        """
        m.submodules.answers = answers = AnswerArbiter(self.config)
        m.submodules.framer = framer = Framer(self.config)
        m.submodules.checksum = checksum = Checksum()
        wiring.connect(m, datapath.raw, answers.raw)
        wiring.connect(m, readback.o, answers.entries)
        wiring.connect(m, answers.o, framer.i)
        m.submodules.queue = queue = Queue(LinkWord, OUTPUT_WORDS)
        wiring.connect(m, framer.o, queue.i)
        wiring.connect(m, queue.o, wiring.flipped(self.o))
        m.d.comb += [
            answers.raw_request.eq(datapath.raw_request), answers.done.eq(sequencer.done),
            answers.layers.eq(sequencer.layers), answers.read.eq(read),
            answers.length.eq(readback.length),
            framer.request.eq(answers.request), framer.opcode.eq(answers.opcode),
            framer.length.eq(answers.length_o), answers.idle.eq(framer.idle),
            answers.sent.eq(framer.sent),
            checksum.data.eq(Mux(framer.idle, deframer.checksum.data, framer.checksum.data)),
            checksum.start.eq(Mux(framer.idle, deframer.checksum.first, framer.checksum.first)),
            checksum.valid.eq(deframer.checksum.checked | framer.checksum.checked),
        ]
        # The end of an answer comes from the far end of the link: a cycle to cross the chip.
        m.d.sync += deframer.finished.eq(answers.finished)
        for end in (deframer.checksum, framer.checksum):
            m.d.comb += [end.crc.eq(checksum.crc), end.pending.eq(checksum.pending)]
        return answers.pending | ~queue.empty

    def _watch(self, m, deframer, sequencer, datapath, answering):
        m.submodules.monitor = monitor = RunMonitor()
        m.d.comb += [
            monitor.limit.eq(self.watchdog),
            monitor.receiving.eq(deframer.open & deframer.i.ready),
            monitor.received.eq(self.i.valid),
            monitor.working.eq(sequencer.active | answering),
            monitor.worked.eq(datapath.events[0] | sequencer.start | (self.o.valid & self.o.ready)),
        ]
        return monitor

    def _faults(self, m, deframer, sections, fetch, sequencer, datapath, monitor):
        found: dict = {ErrorCode.LINK_TIMEOUT: monitor.link_timeout}
        for codes, flags in ((DEFRAMER_ERRORS, deframer.fault), (SECTION_ERRORS, sections.fault)):
            for code, flag in zip(codes, flags, strict=True):
                found[code] = found.get(code, 0) | flag
        m.d.comb += [
            self.faults.link.eq(Cat(found[code] for code in LINK_ERRORS)),
            self.faults.word.eq(deframer.word),
            self.faults.descriptor.eq(fetch.fault), self.faults.address.eq(fetch.fault_address),
            self.faults.memories.eq(datapath.faults),
            self.faults.hung.eq(monitor.hung), self.faults.layer.eq(sequencer.index),
        ]
