"""Comparison with a constant, where most constants are powers of two."""

__all__ = ["reaches"]


def reaches(value, limit):
    """Whether an unsigned value is at least ``limit``.

    The synthesis tool lays a carry chain for every comparison; a power of two needs none.

    Parameters
    ----------
    value : Value
        Taken as unsigned: a negative number is beyond any limit.
    limit : int
        At least 1.

    Returns
    -------
    Value
        One bit.
    """
    value = value.as_unsigned()
    if limit & (limit - 1):
        return value >= limit
    return value[limit.bit_length() - 1:].any()
