"""The cycle model: what a layer costs, exact to the cycle."""

__all__ = ["SEARCH_CYCLES", "first_issue_cycles", "requantize_cycles"]

SEARCH_CYCLES = 3
"""Cycles between two levels of one threshold search."""


def requantize_cycles(config):
    """Cycles per code bit in which a tile is requantized and written: one per row."""
    return max(config.rows, SEARCH_CYCLES)


def first_issue_cycles(config):
    """Cycles from a layer's start to its first step: table lookup, or the first tile's positions."""
    return max(4, config.rows + 1)
