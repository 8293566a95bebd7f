"""What passes between the parts of the host link."""

from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["ChecksumSignature", "LinkWord"]


class LinkWord(data.Struct):
    """A word of a frame, or of its payload."""

    word: 32
    #: No other follows.
    last: 1


class ChecksumSignature(wiring.Signature):
    """One end of the link, seen from there: which of its words count, and what they sum up to.

    Members
    -------
    checked, first : Out(1)
        A word passes that counts for the checksum; it is the first one of its frame.
    data : Out(32)
        The word.
    crc : In(32), pending : In(1)
        Checksum of the words that passed; that of the cycle before is not yet in it.
    """

    def __init__(self):
        super().__init__({"checked": Out(1), "first": Out(1), "data": Out(32), "crc": In(32),
                          "pending": In(1)})
