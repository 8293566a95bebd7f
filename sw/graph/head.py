"""What the host makes of the last layer's values: a batch norm, an activation, a layout."""

from dataclasses import dataclass

import numpy as np

__all__ = ["FUNCTIONS", "Head"]


def _channels(values, x):
    """Numbers by channel, as they meet values with channels on axis 1."""
    return np.reshape(values, (-1, *[1] * (x.ndim - 2)))


def _softmax(x):
    shifted = np.exp(x - x.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def _log_softmax(x):
    shifted = x - x.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def _sigmoid(x):
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, small) / (1 + small)


FUNCTIONS = {
    "affine": lambda x, gain, shift: x * _channels(gain, x) + _channels(shift, x),
    "clamp": lambda x, min, max: np.clip(x, min, max),
    "hardtanh": lambda x, min_val, max_val: np.clip(x, min_val, max_val),
    "leaky_relu": lambda x, negative_slope: np.where(x >= 0, x, x * negative_slope),
    "log_softmax": _log_softmax,
    "prelu": lambda x, slopes: np.where(x >= 0, x, x * _channels(slopes, x)),
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "sigmoid": _sigmoid,
    "softmax": _softmax,
    "tanh": np.tanh,
}
"""Steps of a head by name: functions of float64 values, channels on axis 1, and parameters."""


@dataclass(frozen=True)
class Head:
    """Steps from the last layer's values to the network's result.

    Parameters
    ----------
    steps : tuple of (str, dict)
        Names of :data:`FUNCTIONS`, and their parameters: numbers, None or tuples of numbers.
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
        for name, parameters in self.steps:
            values = FUNCTIONS[name](values, **parameters)
        return values.reshape(len(values), *self.shape)

    def data(self):
        """The head as plain data for a file; :meth:`of` takes it back."""
        return {"steps": [[name, dict(parameters)] for name, parameters in self.steps],
                "shape": list(self.shape)}

    @classmethod
    def of(cls, data):
        """The head of plain data, as JSON gives it back.

        Raises
        ------
        ValueError
            If a step is unknown, or something else is none.
        """
        try:
            steps = tuple((str(name), {str(key): _frozen(value) for key, value in given.items()})
                          for name, given in data["steps"])
            shape = tuple(int(size) for size in data["shape"])
        except (AttributeError, KeyError, TypeError, ValueError):
            raise ValueError(f"Head must have steps and a shape, not {data!r}") from None
        unknown = next((name for name, _ in steps if name not in FUNCTIONS), None)
        if unknown is not None:
            raise ValueError(f"Head step must be one of {', '.join(FUNCTIONS)}, not {unknown!r}")
        return cls(steps, shape)


def _frozen(value):
    if isinstance(value, (list, tuple)):
        return tuple(float(each) for each in value)
    return value if value is None else float(value)
