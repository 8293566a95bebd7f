"""Codes by multiplication, as the machine does it: few shifts before, one shift behind."""

import dataclasses

from xnorloom.hw.spec.descriptor import RESCALE_DOWN, RESCALE_SHIFTS

from ..errors import CompileError

__all__ = ["extra_bits", "for_machine"]


def extra_bits(rescale, least):
    """Bits by which the accumulators of a layer are shifted left, so that the machine can shift
    them right again.

    Parameters
    ----------
    rescale : sw.graph.network.Rescale
        Checked.
    least : int
        At least so many.

    Returns
    -------
    int
    """
    return next(shift - rescale.shift for shift in (*RESCALE_SHIFTS, rescale.shift + least)
                if shift - rescale.shift >= least)


def for_machine(name, rescale, extra):
    """The integers of a layer whose accumulators are shifted left by ``extra`` bits.

    Parameters
    ----------
    name : str
        Of the layer, for messages.
    rescale : sw.graph.network.Rescale
    extra : int

    Returns
    -------
    sw.graph.network.Rescale
        With one of ``RESCALE_SHIFTS``, and ``RESCALE_DOWN``.

    Raises
    ------
    CompileError
        If the machine cannot shift so far.
    """
    shift, finer = rescale.shift + extra, RESCALE_DOWN - rescale.down
    if shift not in RESCALE_SHIFTS:
        raise CompileError(f"Layer {name!r} shift must be at most "
                           f"{RESCALE_SHIFTS[-1] - (shift - rescale.shift)}, not {rescale.shift}")
    return dataclasses.replace(rescale, multipliers=rescale.multipliers << finer,
                               addends=rescale.addends << finer, shift=shift, down=RESCALE_DOWN)
