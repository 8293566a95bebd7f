"""What the front end raises."""

__all__ = ["FrontendError"]


class FrontendError(ValueError):
    """A model that cannot be taken over; the message names the node and what is supported."""
