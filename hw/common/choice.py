"""Choice among values of which at most one applies."""

from functools import reduce
from operator import or_

from amaranth.hdl import Mux, Value

__all__ = ["choose"]


def choose(choices):
    """The value whose condition holds, or 0 if none does.

    Ands and one or take less logic than a chain of multiplexers, in which every value has to give
    way to those before it.

    Parameters
    ----------
    choices : iterable of (condition, value)
        Conditions of one bit, at most one of which holds at a time, and unsigned values.

    Returns
    -------
    Value
        As wide as the widest value.
    """
    return reduce(or_, (Mux(condition, Value.cast(value), 0) for condition, value in choices))
