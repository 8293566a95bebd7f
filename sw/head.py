"""What the host makes of the last layer's accumulators: values, functions of them, their shape."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

__all__ = ["BOUND", "CHANNELS", "SLOPES", "STEPS", "Head", "Step", "result_of"]

BOUND = "a finite number or null"
CHANNELS = "a finite number of every channel"
SLOPES = "a number of at least 0, of every channel or of all"


@dataclass(frozen=True)
class Step:
    """A function of values.

    Parameters
    ----------
    function : callable
        From float64 values ``(n, channels, ...)`` and parameters to such values.
    parameters : dict of str to str
        What each parameter is: :data:`BOUND`, :data:`CHANNELS` or :data:`SLOPES`.
    """

    function: Callable
    parameters: dict = field(default_factory=dict)


def _channels(values, x):
    """Numbers by channel, as they meet values with channels on axis 1."""
    return np.reshape(values, (-1, *[1] * (x.ndim - 2)))


def _clamp(x, min, max):
    x = x if min is None else np.maximum(x, min)
    return x if max is None else np.minimum(x, max)


def _sum(x):
    # One channel after the other: numpy's sum takes an order that depends on the shape.
    return np.cumsum(x, axis=1)[:, -1:]


def _softmax(x):
    powers = np.exp(x - x.max(axis=1, keepdims=True))
    return powers / _sum(powers)


def _log_softmax(x):
    shifted = x - x.max(axis=1, keepdims=True)
    return shifted - np.log(_sum(np.exp(shifted)))


def _sigmoid(x):
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, small) / (1 + small)


STEPS = {
    "affine": Step(lambda x, gain, shift: x * _channels(gain, x) + _channels(shift, x),
                   {"gain": CHANNELS, "shift": CHANNELS}),
    "clamp": Step(_clamp, {"min": BOUND, "max": BOUND}),
    "flatten": Step(lambda x: x.reshape(len(x), -1)),
    "log_softmax": Step(_log_softmax),
    "prelu": Step(lambda x, slopes: np.where(x >= 0, x, x * _channels(slopes, x)),
                  {"slopes": SLOPES}),
    "sigmoid": Step(_sigmoid),
    "softmax": Step(_softmax),
    "tanh": Step(np.tanh),
}
"""Steps of a head by name. Softmax and its logarithm are over the channels."""


@dataclass(frozen=True)
class Head:
    """Steps from the last layer's values to the network's result.

    Parameters
    ----------
    steps : tuple of (str, dict)
        Names of :data:`STEPS`, and their parameters: numbers, None or tuples of numbers.
    shape : tuple of int
        Of one image's result.
    """

    steps: tuple
    shape: tuple

    def apply(self, values):
        """The network's result.

        Parameters
        ----------
        values : float64 array, shape ``(n, outputs, height, width)``
            Accumulators of the last layer times ``2 ** -frac_bits``.

        Returns
        -------
        float64 array, shape ``(n, *shape)``
        """
        values = np.ascontiguousarray(values, dtype=np.float64)
        # Infinity without a warning, as in torch.
        with np.errstate(over="ignore", invalid="ignore"):
            for name, parameters in self.steps:
                values = STEPS[name].function(values, **parameters)
        return values.reshape(len(values), *self.shape)

    def data(self):
        """The head as plain data for a file; :meth:`of` takes it back."""
        return {"shape": [int(size) for size in self.shape],
                "steps": [{"name": name, **{key: _plain(value) for key, value in given.items()}}
                          for name, given in self.steps]}

    @classmethod
    def of(cls, data):
        """The head of plain data, as JSON gives it back."""
        steps = tuple((step["name"], {key: _frozen(value) for key, value in step.items()
                                      if key != "name"}) for step in data["steps"])
        return cls(steps, tuple(data["shape"]))


def _plain(value):
    return value if value is None else np.asarray(value, dtype=np.float64).tolist()


def _frozen(value):
    if isinstance(value, (list, tuple)):
        return tuple(float(each) for each in value)
    return value if value is None else float(value)


def result_of(left, frac_bits, sign, head):
    """The network's result from what its last layer left.

    Parameters
    ----------
    left : int array, shape ``(n, outputs, height, width)``
        Accumulators, or codes where ``frac_bits`` is None.
    frac_bits : int or None
        Of the accumulators.
    sign : sequence of int or None
        1 or -1 for every channel of the accumulators; None: all 1.
    head : Head or None
        Of accumulators only. None: their values are the result.

    Returns
    -------
    array, shape ``(n, *shape)``
        float64 values, or the codes. ``shape`` is that of the head; without one the map's, and
        ``(outputs,)`` where the map is one pixel.
    """
    result = left
    if frac_bits is not None:
        signs = 1 if sign is None else np.asarray(sign)[:, None, None]
        result = np.ldexp((left * signs).astype(np.float64), -frac_bits)
        if head is not None:
            return head.apply(result)
    return result[:, :, 0, 0] if result.shape[2:] == (1, 1) else result
