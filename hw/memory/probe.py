"""A look into the activation banks from outside."""

from amaranth.lib import wiring
from amaranth.lib.wiring import Out

__all__ = ["ProbeSignature"]


class ProbeSignature(wiring.Signature):
    """Host read of one activation entry, while no layer runs; it appears at row 0.

    Members
    -------
    valid : Out(1)
        Read, and keep it at row 0.
    bank : Out(range(rows)), address : Out(range(activation_depth))
        Entry.
    """

    def __init__(self, config):
        super().__init__({"valid": Out(1), "bank": Out(range(max(config.rows, 2))),
                          "address": Out(range(config.activation_depth))})
