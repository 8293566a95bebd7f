"""What a child process makes of Ctrl-C."""

import signal

__all__ = ["heed_interrupts"]


def heed_interrupts():
    """For ``preexec_fn``: a suite started in the background ignores SIGINT, and children inherit
    that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
