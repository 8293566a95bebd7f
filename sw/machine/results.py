"""What a run of images leaves: values, and what they cost."""

from dataclasses import dataclass, field

import numpy as np

from xnorloom.hw.spec.memory import PROFILE_COUNTERS

__all__ = ["BatchRun", "RunResult"]


@dataclass(frozen=True)
class BatchRun:
    """What one batch cost.

    Parameters
    ----------
    cycles : int
        Clock cycles from the run's start to its end, descriptor fetch included.
    layers : list of dict
        :data:`hw.spec.memory.PROFILE_COUNTERS` of every layer.
    """

    cycles: int
    layers: list


@dataclass(frozen=True, eq=False)
class RunResult:
    """Results of :meth:`Driver.run`.

    Parameters
    ----------
    outputs : array, shape ``(n, *shape)``
        The network's result: what the image's head makes of the values of a raw last layer,
        float64, in the shape that it says. Without a head these values, or the uint8 codes of
        another last layer, of shape ``(n, outputs, height, width)``, or ``(n, outputs)`` where the
        map is one pixel.
    accumulators : int64 array, shape ``(n, outputs, height, width)``, or None
        What a raw last layer left.
    maps : dict
        Where observed: name of every layer -> its codes (uint8) or accumulators (int64), shape
        ``(n, outputs, height, width)``.
    batches : list of BatchRun
        What each batch cost.
    """

    outputs: np.ndarray
    accumulators: np.ndarray | None
    maps: dict = field(default_factory=dict)
    batches: list = field(default_factory=list)

    @property
    def labels(self):
        """Index of the largest output, the first of equal ones, over axis 1: int64 array, shape
        ``(n,)``, or ``(n, height, width)`` or ``(n, samples)`` where there is one for every place
        of a map."""
        labels = self.outputs.argmax(axis=1)
        return labels.reshape(-1) if labels.size == len(labels) else labels

    @property
    def cycles(self):
        """Clock cycles of all batches."""
        return sum(batch.cycles for batch in self.batches)

    @property
    def layers(self):
        """Counters of every layer, summed over the batches: list of dict."""
        return [{name: sum(batch.layers[index][name] for batch in self.batches)
                 for name in PROFILE_COUNTERS} for index in range(len(self.batches[0].layers))]
