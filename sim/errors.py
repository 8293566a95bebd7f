"""What goes wrong between the host and a simulated machine."""

__all__ = ["SimulationError", "ToolMissing"]


class SimulationError(ValueError):
    """A simulation that cannot be built, does not end, or died; the message says which and why."""


class ToolMissing(SimulationError):
    """A program the simulation needs is not installed; the message says how to get it."""
