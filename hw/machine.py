"""The machine: host link, sequencer and datapath behind one register file."""

from amaranth.hdl import Cat, Const, Module, Mux, ResetInserter, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .common.choice import choose
from .control.fault import FirstFault, Watchdog
from .control.fetch import DescriptorFetch
from .control.registers import RegisterFile, RegisterSignature
from .control.sequencer import Profiler, Sequencer
from .datapath import FAULT_MEMORIES, Datapath
from .link.checksum import Checksum
from .link.readback import Readback
from .link.receive import RECEIVER_ERRORS, FrameReceiver
from .link.send import FrameSender
from .memory.bank import Bank
from .spec.link import ErrorCode, Opcode
from .spec.memory import PROFILE_LAYERS, Memory

__all__ = ["PORTS", "Loom"]

PORTS = {
    "i__payload": (In(32), "word from the host"),
    "i__valid": (In(1), "a word is offered"),
    "i__ready": (Out(1), "the word is taken at the next edge"),
    "o__payload": (Out(32), "word to the host"),
    "o__valid": (Out(1), "a word is offered"),
    "o__ready": (In(1), "the word is taken at the next edge"),
    "registers__address": (In(4), "register, by word"),
    "registers__write": (In(1), "registers__write_data is stored at the next edge"),
    "registers__write_data": (In(32), "word to store"),
    "registers__read_data": (Out(32), "word at registers__address, in the same cycle"),
    "busy": (Out(1), "a frame is coming in, a request is carried out, or an answer leaves"),
    "error": (Out(1), "there was a fault; words are swallowed until a soft reset"),
}
"""Ports of the machine besides ``clk`` and ``rst``: direction and width, and what they mean."""


class Loom(wiring.Component):
    """The whole accelerator behind its native link; it knows nothing of any bus.

    Parameters
    ----------
    config : MachineConfig
        Machine.
    popcount : str
        Strategy of :class:`hw.array.popcount.MismatchCount`.

    Members
    -------
    i, o : In, Out(stream.Signature(32))
        Words from and to the host, framed as :mod:`hw.spec.link` says.
    registers : In(RegisterSignature)
        Register file.
    busy : Out(1)
        A frame is coming in, a request is carried out, or an answer leaves.
    error : Out(1)
        There was a fault; all words are swallowed until a soft reset.
    """

    def __init__(self, config, *, popcount="plain"):
        self.config = config
        self.popcount = popcount
        super().__init__({
            "i": In(stream.Signature(32)), "o": Out(stream.Signature(32)),
            "registers": In(RegisterSignature()), "busy": Out(1), "error": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        reset, stop, refused = Signal(), Signal(), Signal()
        m.submodules.registers = registers = RegisterFile(config)
        codes = [*RECEIVER_ERRORS, ErrorCode.LINK_TIMEOUT, ErrorCode.DESCRIPTOR,
                 *(ErrorCode.ADDRESS for _ in FAULT_MEMORIES), ErrorCode.WATCHDOG]
        fault = FirstFault(codes)
        m.submodules.fault = ResetInserter(reset)(fault)
        receiver = FrameReceiver(config)
        m.submodules.receiver = ResetInserter(stop)(receiver)
        sender, readback = FrameSender(config), Readback(config)
        m.submodules.sender = ResetInserter(stop)(sender)
        m.submodules.readback = ResetInserter(stop)(readback)
        fetch, sequencer = DescriptorFetch(config), Sequencer(config)
        m.submodules.fetch = ResetInserter(stop)(fetch)
        m.submodules.sequencer = ResetInserter(stop)(sequencer)
        datapath = Datapath(config, popcount=self.popcount, width=receiver.width)
        m.submodules.datapath = ResetInserter(stop)(datapath)

        # A request has the comparison of a whole checksum behind it; it is acted on a cycle later.
        run, read = Signal(), Signal()
        # The stop reaches every register: it comes a cycle after its cause, and no word meanwhile.
        m.d.sync += [refused.eq(receiver.fault.any()), run.eq(receiver.run), read.eq(receiver.read),
                     stop.eq(reset | fault.halt)]
        wiring.connect(m, wiring.flipped(self.registers), registers.bus)
        wiring.connect(m, receiver.store, datapath.store)
        wiring.connect(m, readback.probe, datapath.probe)
        wiring.connect(m, fetch.o, sequencer.i)
        m.d.comb += [
            reset.eq(registers.soft_reset),
            self.error.eq(fault.halt),
            receiver.i.payload.eq(self.i.payload),
            # Between a fault and the halt no word is taken, nor until the stop is over.
            receiver.i.valid.eq(self.i.valid & ~fault.halt & ~refused & ~stop),
            # A halted machine swallows words, so that a host never hangs on it.
            self.i.ready.eq((receiver.i.ready & ~refused & ~stop) | fault.halt),
            fetch.start.eq(run), fetch.first.eq(receiver.argument[:16]),
            sequencer.run.eq(run), sequencer.first.eq(receiver.argument[:16]),
            sequencer.count.eq(receiver.argument[16:]), fetch.more.eq(sequencer.more),
            datapath.layer.eq(sequencer.layer), datapath.start.eq(sequencer.start),
            sequencer.layer_done.eq(datapath.done),
            readback.start.eq(read), readback.section.eq(receiver.section),
            readback.activations.eq(datapath.probed),
        ]
        m.submodules.checksum = checksum = Checksum()
        m.d.comb += [
            checksum.data.eq(Mux(sender.idle, receiver.i.payload, sender.o.payload)),
            checksum.start.eq(Mux(sender.idle, receiver.first, sender.first)),
            checksum.valid.eq(receiver.checked | sender.checked),
            receiver.crc.eq(checksum.crc), sender.crc.eq(checksum.crc),
            receiver.crc_pending.eq(checksum.pending), sender.crc_pending.eq(checksum.pending),
        ]
        self._memories(m, stop, receiver, fetch, sequencer, datapath, readback)
        answering = self._answers(m, receiver, read, sender, sequencer, datapath, readback)
        watching = self._watch(m, registers, receiver, sender, sequencer, datapath)
        self._faults(m, fault, receiver, fetch, sequencer, datapath, watching)

        m.d.comb += self.busy.eq(~fault.halt & (receiver.open | sequencer.active | answering
                                                | run | read | fault.faults.any()))
        # What ended a run is kept for the host, though the sequencer itself is stopped by a fault.
        with m.If(sequencer.active & ~stop):
            m.d.sync += registers.cycles.eq(sequencer.cycles)
        with m.If((sequencer.waiting | sequencer.done) & ~stop):
            # Between layers, all that were taken are finished.
            m.d.sync += registers.layers.eq(sequencer.layers)
        m.d.comb += [
            registers.status.eq(Cat(self.busy, fault.halt, receiver.loaded)),
            registers.error_code.eq(fault.code), registers.error_word.eq(fault.word),
        ]
        return m

    def _memories(self, m, stop, receiver, fetch, sequencer, datapath, readback):
        """Program and profile memory."""
        m.submodules.program = program = Bank(32, self.config.program_depth)
        store = receiver.store
        m.d.comb += [
            program.write.eq(store.strobe & (store.memory == Memory.PROGRAM)),
            program.write_address.eq(store.address), program.write_data.eq(store.entry),
            program.read.eq(fetch.read), program.read_address.eq(fetch.address),
            fetch.word.eq(program.read_data),
        ]
        profiler = Profiler()
        m.submodules.profiler = ResetInserter(stop)(profiler)
        m.submodules.profile = profile = Bank(32, 8 * PROFILE_LAYERS)
        m.d.comb += [
            profiler.start.eq(sequencer.start), profiler.done.eq(datapath.done),
            profiler.index.eq(sequencer.index),
            profiler.events.eq(Cat(datapath.events, sequencer.waiting)),
            profile.write.eq(profiler.write), profile.write_address.eq(profiler.address),
            profile.write_data.eq(profiler.data),
            profile.read.eq(1), profile.read_address.eq(readback.profile_address),
        ]
        # An output register, as behind all block RAM; a probe takes longer than this anyway.
        m.d.sync += readback.profile.eq(profile.read_data)

    def _answers(self, m, receiver, read, sender, sequencer, datapath, readback):
        """Who may send: a raw tile first, then the end of the run, or a read."""
        config = self.config
        done, reading = Signal(), Signal()
        # What the frame under way brings.
        brings = Signal(data.StructLayout({"result": 1, "done": 1, "data": 1}))
        with m.If(read):
            m.d.sync += reading.eq(1)
        with m.If(sequencer.done):
            m.d.sync += done.eq(1)
        finishing = sender.sent & ~brings.result
        with m.If(finishing):
            m.d.sync += [done.eq(0), reading.eq(0)]
        m.d.comb += [
            sender.request.eq(datapath.raw_request | done | reading),
            sender.opcode.eq(Mux(datapath.raw_request, Opcode.RESULT,
                                 Mux(done, Opcode.DONE, Opcode.DATA))),
            sender.length.eq(Mux(datapath.raw_request, config.rows * config.cols,
                                 Mux(done, 1, readback.length))),
            receiver.finished.eq(finishing),
        ]
        with m.If(sender.idle):
            m.d.sync += [brings.result.eq(datapath.raw_request),
                         brings.done.eq(~datapath.raw_request & done),
                         brings.data.eq(~datapath.raw_request & ~done)]
        m.d.comb += [
            sender.i.payload.eq(choose([
                (brings.result, datapath.raw.payload), (brings.done, sequencer.layers),
                (brings.data, readback.o.payload)])),
            sender.i.valid.eq((brings.result & datapath.raw.valid) | brings.done
                              | (brings.data & readback.o.valid)),
            datapath.raw.ready.eq(brings.result & sender.i.ready),
            readback.o.ready.eq(brings.data & sender.i.ready),
        ]
        wiring.connect(m, sender.o, wiring.flipped(self.o))
        return sender.request | ~sender.idle

    def _watch(self, m, registers, receiver, sender, sequencer, datapath):
        """A frame that stops, and a run that stands still; never both at once."""
        m.submodules.watchdog = watchdog = Watchdog()
        answered = sender.o.valid & sender.o.ready
        receiving, active = Signal(), Signal()
        moved_in, moved_on = Signal(), Signal()
        m.d.sync += [
            receiving.eq(receiver.open & receiver.i.ready), active.eq(sequencer.active),
            moved_in.eq(self.i.valid),
            moved_on.eq(datapath.events[0] | sequencer.start | answered),
        ]
        m.d.comb += [
            watchdog.limit.eq(registers.watchdog),
            watchdog.on.eq(receiving | active),
            watchdog.progress.eq(Mux(receiving, moved_in, moved_on)),
        ]
        return watchdog.bark & receiving, watchdog.bark & ~receiving

    def _faults(self, m, fault, receiver, fetch, sequencer, datapath, watching):
        # Faults come from far off and deep down: they are caught a cycle before they are sorted.
        word, address, index = (Signal.like(value, name=f"caught_{what}") for value, what in (
            (receiver.word, "word"), (fetch.fault_address, "address"),
            (sequencer.index, "index")))
        m.d.sync += [word.eq(receiver.word), address.eq(fetch.fault_address),
                     index.eq(sequencer.index)]
        sources = [(flag, word) for flag in [*receiver.fault, watching[0]]]
        sources.append((fetch.fault, address))
        sources += [(datapath.faults[k], Cat(Const(int(memory), 8), index))
                    for k, memory in enumerate(FAULT_MEMORIES)]
        sources.append((watching[1], index))
        for k, (flag, where) in enumerate(sources):
            m.d.sync += fault.faults[k].eq(flag)
            m.d.comb += fault.words[k].eq(where)
