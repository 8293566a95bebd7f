"""The machine's memories, as the host link names them."""

import enum
from dataclasses import dataclass

from .descriptor import PAIR, TAP, TERM
from .record import WORD_BITS

__all__ = ["Bank", "Memory", "banks", "longest_answer"]


class Memory(enum.IntEnum):
    """Number of a memory in a section header."""

    PROGRAM = 0
    TERMS = 1
    TAPS = 2
    PAIRS = 3
    ACTIVATIONS = 4
    WEIGHTS = 5
    SCALES = 6
    PARAMETERS = 7
    PROFILE = 8


@dataclass(frozen=True)
class Bank:
    """Shape of the banks of one memory.

    An entry of ``width`` bits travels as ``entry_words`` link words, low word first; unused high
    bits are 0. ``writable`` and ``readable`` say what the host may do with it.
    """

    memory: Memory
    count: int
    depth: int
    width: int
    writable: bool = True
    readable: bool = False

    @property
    def entry_words(self):
        """Link words per entry."""
        return -(-self.width // WORD_BITS)

    @property
    def bits(self):
        """Bits of all banks together."""
        return self.count * self.depth * self.width


PROFILE_COUNTERS = ("cycles", "busy", "stalled_on_drain", "stalled_on_output", "stalled_on_input")
"""Counters of one layer in the profile memory, in order, each one entry of 32 bits.

``cycles`` runs from the layer's start to its last write; ``busy`` counts issued steps; a step that
waits counts as ``stalled_on_drain`` if the columns still drain, else as ``stalled_on_input`` if the
parameters of its column tile are not there, else as ``stalled_on_output``. ``stalled_on_input``
also counts cycles in which the run waited for this layer's descriptor."""

PROFILE_LAYERS = 128
"""Layers of one run whose counters are kept; entry ``8 * (layer mod 128) + counter``."""


def banks(config):
    """The machine's memories in the order of their numbers, as a dictionary ``Memory -> Bank``.

    A scale and a parameter travel in two's complement of their own width; above the scale lies one
    bit that clamps what has been summed at zero before the pass is added.
    """
    shapes = (
        Bank(Memory.PROGRAM, 1, config.program_depth, WORD_BITS),
        Bank(Memory.TERMS, 1, config.term_depth, WORD_BITS * len(TERM)),
        Bank(Memory.TAPS, 1, config.tap_depth, WORD_BITS * len(TAP)),
        Bank(Memory.PAIRS, 1, config.pair_depth, WORD_BITS * len(PAIR)),
        Bank(Memory.ACTIVATIONS, config.rows, config.activation_depth, config.lanes,
             readable=True),
        Bank(Memory.WEIGHTS, config.cols, config.weight_depth, config.lanes),
        Bank(Memory.SCALES, config.cols, config.scale_depth, config.scale_bits + 1),
        Bank(Memory.PARAMETERS, config.cols, config.parameter_depth, config.acc_bits),
        Bank(Memory.PROFILE, 1, 8 * PROFILE_LAYERS, WORD_BITS, writable=False, readable=True),
    )
    return {bank.memory: bank for bank in shapes}


def longest_answer(config):
    """Most words of payload that a frame from the machine has."""
    return max(config.rows * config.cols,
               *(bank.depth * bank.entry_words for bank in banks(config).values()
                 if bank.readable))
