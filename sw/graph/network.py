"""Intermediate representation: what lies between the torch front end and the compiler.

Numbers here are the machine's integers: every front end must end in them, and nothing below them
knows torch. An accumulator counts units of ``2 ** -frac_bits``, of its layer or of its channel::

    acc[m] = biases[m] + sum over g, i, j of scales[m, g, i, j] * mismatches[m, g, i, j]

where ``mismatches`` is, over the inputs of group g, the popcount of (activation plane i xor weight
plane j).
"""

from dataclasses import dataclass, field

import numpy as np

__all__ = ["CodeFormat", "MatrixLayer", "Network", "Requantize"]


@dataclass(frozen=True, eq=False)
class CodeFormat:
    """How a map of codes is stored as planes.

    Parameters
    ----------
    table : uint8 array, shape ``(2 ** k, k)``
        Bits of the planes of every code; plane i of a code is column i. Code 0 has all bits 0.
    pad_code : int
        Code that stands outside the map.
    """

    table: np.ndarray
    pad_code: int = 0

    @property
    def planes(self):
        """Number of planes, which is the number of bits of a code."""
        return self.table.shape[1]


@dataclass(frozen=True, eq=False)
class Requantize:
    """Staircase from accumulator to code: the number of thresholds at or below it.

    Parameters
    ----------
    thresholds : int64 array, shape ``(outputs, 2 ** k - 1)``
        Rising along each row; a code that never occurs has its threshold past the accumulator's
        range, clipped to the widest accumulator by the compiler.
    format : CodeFormat
        How the codes are stored, and the padding its reader expects.
    """

    thresholds: np.ndarray
    format: CodeFormat


@dataclass(frozen=True, eq=False)
class MatrixLayer:
    """A convolution, or a linear layer as a convolution (kernel 1 x 1 over a 1 x 1 map, or kernel
    and stride of the map's size over a map).

    Parameters
    ----------
    name : str
        Name of the torch module it came from.
    source : str
        Name of the layer it reads, or ``"input"``.
    weights : uint8 array, shape ``(planes, outputs, inputs, height, width)``
        Weight bits.
    scales : int64 array, shape ``(outputs, groups, activation planes, weight planes)``
        Weight of one mismatch, in units of ``2 ** -frac_bits``.
    biases : int64 array, shape ``(outputs,)``
        Everything that does not depend on the input, in the same unit.
    frac_bits : int, or int64 array of shape ``(outputs,)``
        The layer's grid, or that of every channel of a layer with thresholds; may be negative.
    grouping : str
        One of :data:`sw.bitplanes.GROUPINGS`.
    stride, padding : tuple of int
        Vertical, horizontal.
    in_shape, out_shape : tuple of int
        Channels, height, width.
    input_format : CodeFormat
        How the input is stored and padded.
    requantize : Requantize or None
        None: the accumulators themselves are the result.
    sign : int8 array, shape ``(outputs,)``
        -1 where scales and bias were negated so that the staircase rises.
    """

    name: str
    source: str
    weights: np.ndarray
    scales: np.ndarray
    biases: np.ndarray
    frac_bits: int | np.ndarray
    grouping: str
    stride: tuple
    padding: tuple
    in_shape: tuple
    out_shape: tuple
    input_format: CodeFormat
    requantize: Requantize | None = None
    sign: np.ndarray | None = None

    @property
    def kernel(self):
        """Kernel height and width."""
        return self.weights.shape[3:]


@dataclass(frozen=True, eq=False)
class Network:
    """Layers in order of execution, and how the host encodes their input.

    A pixel of value x enters as code ``clip(round(x / input_step), 0, 2 ** k - 1)``.
    """

    name: str
    layers: tuple
    in_shape: tuple
    input_format: CodeFormat
    input_step: float
    info: dict = field(default_factory=dict)

    def encode(self, images):
        """Codes of real images: uint8, same shape ``(n, channels, height, width)``."""
        top = len(self.input_format.table) - 1
        return np.clip(np.rint(np.asarray(images, dtype=np.float64) / self.input_step),
                       0, top).astype(np.uint8)
