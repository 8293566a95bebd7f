"""Loops of hardware: which turn is the last one, known before it begins."""

from amaranth.hdl import Signal

__all__ = ["last_turn"]


def last_turn(m, name, turns, *, begin, end):
    """Adds the counter of a loop that begins anew after its last turn.

    The comparison is done a turn ahead and kept in a register: loops in each other would otherwise
    compare one behind the other, and be the longest paths of the machine.

    Parameters
    ----------
    m : Module
        Where the registers go.
    name : str
        Of the loop.
    turns : Value
        How often it turns, at least once; stable from ``begin`` on.
    begin, end : Value
        The first turn begins in the next cycle; a turn ends in this one.

    Returns
    -------
    Signal
        The turn that is under way is the last one.
    """
    # The turn that comes next; it counts up, so that to begin anew is a reset and no choice.
    following = Signal(max(len(turns), 2), name=f"{name}_following", init=2)
    last = Signal(name=f"{name}_last")
    with m.If(end):
        m.d.sync += [following.eq(following + 1), last.eq(following == turns)]
    with m.If(begin | (end & last)):
        m.d.sync += [following.eq(2), last.eq(turns == 1)]
    return last
