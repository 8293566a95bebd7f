"""What carries link words and registers between the driver and a machine."""

from typing import Protocol, Self, runtime_checkable

import numpy as np

__all__ = ["Transport"]


@runtime_checkable
class Transport(Protocol):
    """A machine within reach: the integer reference, a simulation, or a board.

    It is a context manager that closes itself.
    """

    def exchange(self, words: np.ndarray, expect: int | None = None) -> np.ndarray:
        """Sends link words and returns what the machine sent until it was idle again or in error.

        Parameters
        ----------
        words : uint32 array
            Whole frames.
        expect : int or None
            Link words of the answer, if the caller knows: no more are waited for.

        Returns
        -------
        uint32 array
        """

    def read_register(self, address: int) -> int:
        """Value of a register, see :mod:`hw.spec.registers`."""

    def write_register(self, address: int, value: int) -> None:
        """Writes a register."""

    def close(self) -> None:
        """Lets go of the machine; more than once does no harm."""

    def __enter__(self) -> Self:
        """The transport itself."""

    def __exit__(self, *exception) -> None:
        """Closes it."""
