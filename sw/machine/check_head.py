"""The head in an image's metadata: that the host can do its steps, and that their shapes fit."""

import math

from ..head import BOUND, CHANNELS, SLOPES, STEPS

__all__ = ["check_head"]

_MOST_AXES = 3


def check_head(head, last):
    """Checks the head of an image, as :meth:`sw.head.Head.data` makes it.

    Parameters
    ----------
    head : sw.machine.metadata.Entry
    last : dict
        The checked last layer.

    Raises
    ------
    ImageError
        For the first key that is absent, or whose value is not what it must be.
    """
    head.demand(None, "null where the last layer is not raw", last["raw"])
    shape, steps = head.get("shape"), head.get("steps")
    size = math.prod(last["out_shape"])
    head.demand("shape", f"a list of 1 to {_MOST_AXES} integers of product {size}", isinstance(
        shape, list) and 1 <= len(shape) <= _MOST_AXES and all(
            type(each) is int and each >= 1 for each in shape) and math.prod(shape) == size)
    head.demand("steps", "a list", isinstance(steps, list))
    channels = last["out_shape"][0]
    for index in range(len(steps)):
        step = head.item("steps", index)
        _check_step(step, channels)
        if step.value["name"] == "flatten":
            channels = size


def _check_step(step, channels):
    name = step.text("name")
    step.demand("name", f"one of {', '.join(STEPS)}", name in STEPS)
    wanted = STEPS[name].parameters
    extra = next((key for key in step.value if key != "name" and key not in wanted), None)
    if extra is not None:
        step.demand(extra, f"left out of step {name!r}", False)
    for key, kind in wanted.items():
        value = step.get(key)
        if kind == BOUND:
            step.demand(key, BOUND, value is None or _finite(value))
        elif kind == CHANNELS:
            step.demand(key, f"a list of {channels} finite numbers",
                        _finite_list(value) and len(value) == channels)
        elif kind == SLOPES:
            step.demand(key, f"a list of 1 or {channels} finite numbers of at least 0",
                        _finite_list(value) and len(value) in (1, channels) and min(value) >= 0)
    if name == "clamp" and None not in (step.value["min"], step.value["max"]):
        step.demand("min", f"at most the max, {step.value['max']}",
                    step.value["min"] <= step.value["max"])


def _finite(value):
    try:
        return type(value) in (int, float) and math.isfinite(value)
    except OverflowError:
        return False


def _finite_list(value):
    return isinstance(value, list) and all(map(_finite, value))
