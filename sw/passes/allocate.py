"""Allocation of the machine's memories: tables shared between layers, feature maps by lifetime."""

import numpy as np

from xnorloom.hw.spec.memory import Memory, banks

from ..errors import DoesNotFit
from ..machine.layout import bits_to_words

__all__ = ["Bump", "Lifetime", "PaddingWords", "allocate_maps", "check_usage",
           "padding_pattern"]

FOREVER = 1 << 30
"""Lifetime of a map that the host reads after the run, or that must not be overwritten."""


class Bump:
    """Hands out addresses of a memory in rising order.

    Attributes
    ----------
    used : int
        Entries handed out, gaps included.
    """

    def __init__(self):
        self.used = 0
        self.blocks = []
        self._shared = {}

    def take(self, entries, *, align=1):
        """First address of a new block of ``entries`` addresses."""
        start = -(-self.used // align) * align
        self.used = start + entries
        return start

    def place(self, contents, *, align=1):
        """Address of a block with these contents: uint32, ``(banks, entries, entry words)``."""
        start = self.take(contents.shape[1], align=align)
        self.blocks.append((start, contents))
        return start

    def share(self, contents):
        """Like :meth:`place`, but equal contents are stored once."""
        key = (contents.shape, contents.tobytes())
        if key not in self._shared:
            self._shared[key] = self.place(contents)
        return self._shared[key]


class PaddingWords:
    """Padding words, the same in every activation bank; equal ones are shared.

    Parameters
    ----------
    patterns : list of uint32 array, shape ``(words, lane words)``
        What every term reads outside its map.

    Attributes
    ----------
    words : uint32 array, shape ``(words, lane words)``
    addresses : list of int
        Of every pattern.
    """

    def __init__(self, patterns):
        self.words = np.zeros((0, patterns[0].shape[1]), dtype=np.uint32)
        self.addresses = [0] * len(patterns)
        # The longest first: a shorter run of zeros then lies inside a longer one.
        for index in sorted(range(len(patterns)), key=lambda k: -len(patterns[k])):
            self.addresses[index] = self._find(patterns[index])

    def _find(self, pattern):
        for start in range(len(self.words) - len(pattern) + 1):
            if np.array_equal(self.words[start:start + len(pattern)], pattern):
                return start
        self.words = np.concatenate([self.words, pattern])
        return len(self.words) - len(pattern)


def padding_pattern(term, shape, form, config):
    """What a term reads outside its map.

    Parameters
    ----------
    term : sw.passes.terms.TermPlan
    shape : tuple of int
        Channels, height and width of its source.
    form : sw.graph.network.CodeFormat
        Of its source.
    config : MachineConfig

    Returns
    -------
    uint32 array, shape ``(words, lane words)``
    """
    if term.term is None:
        return np.zeros((term.words, config.lane_words), dtype=np.uint32)
    channels, words = shape[0], -(-shape[0] // config.lanes)
    bits = np.zeros((form.planes, words * config.lanes), dtype=np.uint8)
    if term.term.border is None and any(term.term.padding):
        bits[:, :channels] = np.asarray(form.table)[term.term.pad_code][:, None]
    return bits_to_words(bits.reshape(-1, config.lanes))


class Lifetime:
    """A map to be placed: its size in words per bank, and the layers between which it must last."""

    def __init__(self, words, first, last):
        self.words, self.first, self.last = words, first, last


def allocate_maps(lifetimes, start):
    """Places maps first-fit, so that no two that live at the same time overlap.

    Parameters
    ----------
    lifetimes : list of Lifetime
    start : int
        First free address.

    Returns
    -------
    tuple of list of int, int
        Address of every map, and the end of the highest one.
    """
    placed = []
    for life in lifetimes:
        address = start
        for low, high, other in sorted(placed, key=lambda entry: entry[0]):
            if other.last >= life.first and life.last >= other.first:
                if address + life.words <= low:
                    break
                address = max(address, high)
        placed.append((address, address + life.words, life))
    return [low for low, _high, _life in placed], max((high for _low, high, _ in placed),
                                                      default=start)


def check_usage(usage, config):
    """Compares what is used with what the machine has.

    Parameters
    ----------
    usage : dict
        ``Memory -> entries per bank``.

    Raises
    ------
    DoesNotFit
        For the first memory that is too small.
    """
    for memory, used in usage.items():
        depth = banks(config)[Memory(memory)].depth
        if used > depth:
            raise DoesNotFit(f"{_TITLES[memory]} of machine {config.name!r}", used, depth,
                             by_batch=memory is Memory.ACTIVATIONS)


_TITLES = {
    Memory.PROGRAM: "Program memory", Memory.TERMS: "Term memory", Memory.TAPS: "Tap memory",
    Memory.PAIRS: "Pair memory", Memory.ACTIVATIONS: "Activation memory (feature maps)",
    Memory.WEIGHTS: "Weight memory", Memory.SCALES: "Scale memory",
    Memory.PARAMETERS: "Parameter memory",
}
