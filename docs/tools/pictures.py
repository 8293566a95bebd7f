"""All pictures of the documentation."""

from . import levels
from .bank_map import bank_map
from .block_diagram import block_diagram
from .wavefront import wavefront

__all__ = ["PICTURES"]

PICTURES = {"machine.svg": block_diagram, "wavefront.svg": wavefront,
            "banks.svg": bank_map, **levels.PICTURES}
"""Name of a file -> function that returns its text."""
