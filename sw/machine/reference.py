"""The integer reference: a machine in numpy that understands the link words themselves."""

import numpy as np

from xnorloom.hw.spec.config import FORMAT_VERSION
from xnorloom.hw.spec.cycles import predict_run
from xnorloom.hw.spec.descriptor import DESCRIPTOR, descriptor_limits, first_violation
from xnorloom.hw.spec.link import HEADER_WORDS, LENGTH_BITS, MAGIC, ErrorCode, Opcode
from xnorloom.hw.spec.memory import PROFILE_COUNTERS, PROFILE_LAYERS, Memory, banks
from xnorloom.hw.spec.registers import (
    DEFAULT_WATCHDOG_CYCLES,
    IDENTITY,
    REGISTERS,
    Interrupt,
    RegisterAddress,
)

from .execute import AddressFault, LayerRun
from .frames import build_frame, crc32_words

__all__ = ["ReferenceMachine"]

_FROM_HOST = (Opcode.IMAGE, Opcode.WRITE, Opcode.RUN, Opcode.READ)
_WRITABLE = {register.address for register in REGISTERS if register.writable}

class _Fault(Exception):
    def __init__(self, code, word):
        self.code, self.word = code, int(word)
        super().__init__(code, word)


class ReferenceMachine:
    """A transport to an integer model of the machine.

    It keeps memories and registers as the gateware does and executes layers from the memories
    alone. Its counters come from the cycle model.

    Parameters
    ----------
    config : MachineConfig

    Attributes
    ----------
    memories : dict
        ``Memory -> uint32 array (banks, depth, entry words)``.
    """

    def __init__(self, config):
        self.config = config
        self._shapes = banks(config)
        self.memories = {
            memory: np.zeros((bank.count, bank.depth, bank.entry_words), dtype=np.uint32)
            for memory, bank in self._shapes.items()}
        self._masks = {memory: _entry_mask(bank) for memory, bank in self._shapes.items()}
        self._registers = {
            RegisterAddress.IDENTITY: IDENTITY, RegisterAddress.VERSION: FORMAT_VERSION,
            RegisterAddress.FINGERPRINT: config.fingerprint,
            RegisterAddress.WATCHDOG: DEFAULT_WATCHDOG_CYCLES}
        self._registers[RegisterAddress.CYCLES] = self._registers[RegisterAddress.LAYERS] = 0
        self._registers[RegisterAddress.INTERRUPT_ENABLE] = 0
        self._reset()

    def _reset(self):
        self._loaded = False
        for address in (RegisterAddress.ERROR_CODE, RegisterAddress.ERROR_WORD,
                        RegisterAddress.INTERRUPT):
            self._registers[address] = 0

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def close(self):
        """Does nothing: the machine is an object."""

    def read_register(self, address):
        """Value of a register; an address that holds none reads 0."""
        if address == RegisterAddress.STATUS:
            error = self._registers[RegisterAddress.ERROR_CODE] != ErrorCode.NONE
            return error << 1 | self._loaded << 2
        return self._registers.get(address, 0)

    def write_register(self, address, value):
        """Writes a register; one that is not writable stays as it is."""
        if address == RegisterAddress.CONTROL:
            if value & 1:
                self._reset()
        elif address == RegisterAddress.INTERRUPT:
            self._registers[address] &= ~value
        elif address == RegisterAddress.INTERRUPT_ENABLE:
            self._registers[address] = value & int(~Interrupt(0))
        elif address in _WRITABLE:
            self._registers[RegisterAddress(address)] = value & 0xFFFFFFFF

    def exchange(self, words, expect=None):
        """Takes link words and returns the machine's; see :class:`sw.machine.transport.Transport`.

        An exchange that ends inside a frame is a link that fell silent: the watchdog's fault.
        """
        words = np.asarray(words, dtype=np.uint32)
        answers = []
        try:
            if self._registers[RegisterAddress.ERROR_CODE] == ErrorCode.NONE:
                while len(words):
                    words = words[self._take_frame(words, answers):]
        except _Fault as fault:
            self._registers[RegisterAddress.ERROR_CODE] = int(fault.code)
            self._registers[RegisterAddress.ERROR_WORD] = fault.word
            self._registers[RegisterAddress.INTERRUPT] |= Interrupt.ERROR
            self._loaded = False
        return np.concatenate(answers) if answers else np.zeros(0, dtype=np.uint32)

    def _take_frame(self, words, answers):
        """Checks and obeys the frame that `words` begin with; returns its length."""
        opcode = self._check_header(words)
        length = int(words[2])
        if length >> LENGTH_BITS:
            raise _Fault(ErrorCode.LENGTH, 2)
        end = HEADER_WORDS + length
        if opcode in (Opcode.IMAGE, Opcode.WRITE):
            self._store_sections(words[:end], length)
        elif length != (1 if opcode is Opcode.RUN else 2):
            raise _Fault(ErrorCode.LENGTH, 2)
        if opcode is Opcode.READ:
            self._check_section(words, HEADER_WORDS, end, "readable")
        if len(words) <= end:
            raise _Fault(ErrorCode.LINK_TIMEOUT, len(words))
        if int(words[end]) != crc32_words(words[:end]):
            raise _Fault(ErrorCode.CHECKSUM, end)
        if opcode is Opcode.IMAGE:
            self._loaded = True
        elif opcode is Opcode.RUN:
            self._run(int(words[3]) & 0xFFFF, int(words[3]) >> 16, answers)
        elif opcode is Opcode.READ:
            memory, bank, start, count = self._check_section(words, HEADER_WORDS, end, "readable")
            self._send(answers, Opcode.DATA,
                       self.memories[memory][bank, start:start + count].ravel())
        return end + 1

    def _check_header(self, words):
        head = int(words[0])
        if head & 0xFFFF != MAGIC:
            raise _Fault(ErrorCode.MAGIC, 0)
        if head >> 16 & 0xFF != FORMAT_VERSION:
            raise _Fault(ErrorCode.VERSION, 0)
        if head >> 24 not in _FROM_HOST:
            raise _Fault(ErrorCode.OPCODE, 0)
        if len(words) > 1 and int(words[1]) != self.config.fingerprint:
            raise _Fault(ErrorCode.FINGERPRINT, 1)
        if len(words) < HEADER_WORDS:
            raise _Fault(ErrorCode.LINK_TIMEOUT, len(words))
        return Opcode(head >> 24)

    def _check_section(self, words, position, end, access):
        """The two words of a section header, checked as far as they have come.

        Returns
        -------
        tuple of Memory, int, int, int
            Memory, bank, start, count.
        """
        if position >= len(words):
            raise _Fault(ErrorCode.LINK_TIMEOUT, len(words))
        number, bank = int(words[position]) & 0xFF, int(words[position]) >> 8
        if number not in list(Memory):
            raise _Fault(ErrorCode.SECTION, position)
        memory = Memory(number)
        shape = self._shapes[memory]
        if bank >= shape.count or not getattr(shape, access):
            raise _Fault(ErrorCode.SECTION, position)
        if position + 1 >= end:
            raise _Fault(ErrorCode.LENGTH, position)
        if position + 1 >= len(words):
            raise _Fault(ErrorCode.LINK_TIMEOUT, len(words))
        start, count = int(words[position + 1]) & 0xFFFF, int(words[position + 1]) >> 16
        if start + count > shape.depth:
            raise _Fault(ErrorCode.SECTION, position + 1)
        return memory, bank, start, count

    def _store_sections(self, words, length):
        position, end = HEADER_WORDS, HEADER_WORDS + length
        while position < end:
            memory, bank, start, count = self._check_section(words, position, end, "writable")
            size = self._shapes[memory].entry_words
            position += 2
            if count and position == end:
                raise _Fault(ErrorCode.LENGTH, position - 1)
            arrived = min(count, (len(words) - position) // size)
            entries = words[position:position + arrived * size].reshape(arrived, size)
            self.memories[memory][bank, start:start + arrived] = entries & self._masks[memory]
            position += count * size
            if position > end and len(words) == end:
                raise _Fault(ErrorCode.LENGTH, end - 1)
            if arrived < count:
                raise _Fault(ErrorCode.LINK_TIMEOUT, len(words))

    def _send(self, answers, opcode, payload):
        answers.append(build_frame(opcode, payload, self.config.fingerprint))

    def _run(self, first, count, answers):
        if not self._loaded:
            raise _Fault(ErrorCode.NOT_LOADED, HEADER_WORDS + 1)
        self._registers[RegisterAddress.CYCLES] = self._registers[RegisterAddress.LAYERS] = 0
        executed = []
        coming = self._fetch(first) if count else None
        for number in range(first, first + count):
            descriptor = coming
            # A descriptor is fetched, and checked, before the layer before it runs.
            coming = self._fetch(number + 1) if number + 1 < first + count else None
            try:
                run = LayerRun(self.config, self.memories, descriptor)
                results = run.execute()
            except AddressFault as fault:
                raise _Fault(ErrorCode.ADDRESS, int(fault.memory) | number << 8) from None
            if results is not None:
                for tile in results.reshape(-1, self.config.rows * self.config.cols):
                    self._send(answers, Opcode.RESULT, (tile & 0xFFFFFFFF).astype(np.uint32))
            executed.append((run.layer, [[(term, term["pair_entries"]) for term in terms]
                                         for terms in run.lists]))
            self._registers[RegisterAddress.LAYERS] = len(executed)
        self._profile(first, executed)
        self._registers[RegisterAddress.INTERRUPT] |= Interrupt.DONE
        self._send(answers, Opcode.DONE, [len(executed)])

    def _fetch(self, number):
        # Words behind the last field are not fetched.
        start, used = number * len(DESCRIPTOR), DESCRIPTOR.used
        words = self.memories[Memory.PROGRAM][0, start:start + used, 0]
        # Words are checked in turn, so an earlier violation comes before the memory's end.
        limits = descriptor_limits(self.config)
        valid = DESCRIPTOR.pack(**{name: low for name, (low, _high) in limits.items()})
        whole = np.concatenate([words, np.array(valid[len(words):], dtype=np.uint32)])
        violation = first_violation(self.config, whole)
        if violation is not None and violation[0] < len(words):
            raise _Fault(ErrorCode.DESCRIPTOR, start + violation[0])
        if len(words) < used:
            raise _Fault(ErrorCode.DESCRIPTOR, max(start, self.config.program_depth))
        return DESCRIPTOR.unpack(whole)

    def _profile(self, first, executed):
        predicted = predict_run(self.config, executed)
        self._registers[RegisterAddress.CYCLES] = predicted.total
        for number, layer in enumerate(predicted.layers, first):
            start = 8 * (number % PROFILE_LAYERS)
            self.memories[Memory.PROFILE][0, start:start + len(PROFILE_COUNTERS), 0] = [
                getattr(layer, name) for name in PROFILE_COUNTERS]


def _entry_mask(bank):
    """Bits of an entry that exist, as link words."""
    mask = (1 << bank.width) - 1
    return np.array([mask >> 32 * word & 0xFFFFFFFF for word in range(bank.entry_words)],
                    dtype=np.uint32)
