"""How long the columns requantize: cycles from counts to codes."""

from .cycles import SCALE_LATENCY

__all__ = ["rescale_cycles", "rescale_delay", "rescaled_latency", "staircase_latency",
           "threshold_levels"]


def threshold_levels(config):
    """Levels of the threshold pipeline; two of them keep multiplier and addend, too."""
    return max(config.code_bits, 2 if config.rescale else 1)


def staircase_latency(config):
    """Cycles from a tile's final count to its code found by thresholds."""
    return SCALE_LATENCY + threshold_levels(config)


def rescale_delay(config):
    """Cycles from a tile's final count to the multiplication of its accumulator."""
    return max(config.drain_cycles, SCALE_LATENCY)


def rescaled_latency(config):
    """Cycles from a tile's final count to its code found by multiplication."""
    return rescale_delay(config) + SCALE_LATENCY + 1


def rescale_cycles(config):
    """Least cycles, in a layer with ``rescale``, from the end of a tile's last pass to the end of
    the next pass: the multiplier serves the counts, and then the accumulators."""
    return rescale_delay(config) + config.drain_cycles
