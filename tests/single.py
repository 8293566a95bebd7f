"""A snapped layer of one term, alone."""

import numpy as np

from xnorloom.sw.ops.operator import as_map
from xnorloom.sw.ops.snapped import SnappedLayer
from xnorloom.sw.ops.values import Fused, Part, Sum, SumTerm


class SingleLayer:
    """Values and integers of one term; ``per_channel`` gives every channel a grid of its own."""

    def __init__(self, name, weights, codebook, *, pad_code=0, bias=None, stride=(1, 1),
                 padding=(0, 0), zeros=False, blocks=1, per_channel=False, **widths):
        outputs = weights.shape[0]
        part = Part("input", (weights.shape[1] * blocks, 1, 1), codebook, pad_code)
        edges = tuple(each for pad in padding for each in (pad, pad))
        bias = np.zeros(outputs) if bias is None else np.asarray(bias, dtype=np.float64)
        term = SumTerm(part, weights, np.ones(outputs), bias, blocks, stride, (1, 1), edges, zeros)
        quantizer = object() if per_channel else None
        self.layer = SnappedLayer(Fused(name, Sum(name, (term,), as_map((outputs,))), quantizer),
                                  **widths)
        self.term, self.integers = self.layer.terms[0], self.layer.integers
        self.codebook, self.weights, self.pad_code = codebook, weights, pad_code
        self.stride, self.padding = stride, padding

    def __call__(self, codes):
        """Values of codes ``(n, inputs)`` or ``(n, inputs, height, width)``, float64."""
        flat = codes.dim() == 2
        values = self.layer({"input": codes.reshape(len(codes), *as_map(codes.shape[1:]))})
        return values[:, :, 0, 0] if flat else values

    @property
    def scales(self):
        return self.integers.scales[0]

    def __getattr__(self, name):
        return getattr(self.integers, name)
