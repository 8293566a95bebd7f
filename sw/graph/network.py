"""Intermediate representation: what lies between the front ends and the compiler.

Numbers here are the machine's integers: every front end must end in them, and nothing below them
knows torch. A layer is a sum of terms, each over one map of codes, and what becomes of the sum::

    acc[m] = biases[m] + sum over terms, g, i, j of scales[m, g, i, j] * mismatches[m, g, i, j]
    code   = requantize(acc), then pool

where ``mismatches`` is, over the inputs of group g, the popcount of (activation plane i xor weight
plane j). An accumulator counts units of ``2 ** -frac_bits``, of its layer or of its channel.
"""

from dataclasses import dataclass, field

import numpy as np

from ..head import Head, result_of
from ..machine.encode import encode_values

__all__ = ["CodeFormat", "Encoder", "Layer", "Network", "Pool", "Rescale", "Staircase", "Term",
           "binary_table"]


def binary_table(planes):
    """Table of codes that are stored as their own binary digits: uint8, ``(2 ** planes, planes)``.
    """
    return (np.arange(1 << planes)[:, None] >> np.arange(planes) & 1).astype(np.uint8)


@dataclass(frozen=True, eq=False)
class CodeFormat:
    """How a map of codes is stored as planes.

    Parameters
    ----------
    table : uint8 array, shape ``(2 ** k, k)``
        Bits of the planes of every code; plane i of a code is column i. Formats of more than 4
        planes are :func:`binary_table`.
    """

    table: np.ndarray

    @property
    def planes(self):
        """Number of planes, which is the number of bits of a code."""
        return self.table.shape[1]


@dataclass(frozen=True, eq=False)
class Term:
    """A convolution over one map; everything linear is one.

    A linear layer over a map is a convolution whose kernel is the map. An identity shortcut is one
    with as many blocks as channels, a kernel of 1 x 1 and weight bits of 0, whose mismatches are
    the activation's own bits. An operand of a concatenation is a term over that operand.

    Parameters
    ----------
    source : str
        Name of the layer whose result it reads, or ``"input"``.
    weights : uint8 array, shape ``(planes, outputs, inputs / blocks, height, width)``
        Weight bits.
    scales : int64 array, shape ``(outputs, groups, activation planes, weight planes)``
        Weight of one mismatch, in units of ``2 ** -frac_bits``.
    grouping : str
        One of :data:`sw.bitplanes.GROUPINGS`: which taps share scales.
    blocks : int
        Groups of channels, in torch's sense: output m reads the inputs of block
        ``m * blocks // outputs`` only.
    stride, dilation : tuple of int
        Vertical, horizontal.
    padding : tuple of int
        Top, bottom, left, right.
    pad_code : int
        Code that stands outside the map. Ignored where ``border`` is given.
    border : int64 array, shape ``(outputs, height, width)``, or None
        What a tap outside the map adds to the accumulator, instead of the mismatches with a padding
        code: true zeros for codes that have none.
    relu : bool
        Whether what has been summed before, bias and earlier terms, is clamped at zero first.
    """

    source: str
    weights: np.ndarray
    scales: np.ndarray
    grouping: str = "layer"
    blocks: int = 1
    stride: tuple = (1, 1)
    dilation: tuple = (1, 1)
    padding: tuple = (0, 0, 0, 0)
    pad_code: int = 0
    border: np.ndarray | None = None
    relu: bool = False

    @property
    def kernel(self):
        """Kernel height and width."""
        return self.weights.shape[3:]


@dataclass(frozen=True, eq=False)
class Staircase:
    """From accumulator to code, up to 4 bits: the number of thresholds at or below it.

    Parameters
    ----------
    thresholds : int64 array, shape ``(outputs, 2 ** k - 1)``
        Rising along each row; a code that never occurs has its threshold past the accumulator's
        range, clipped to the widest accumulator by the compiler.
    """

    thresholds: np.ndarray

    @property
    def bits(self):
        """Bits of a code."""
        return self.thresholds.shape[1].bit_length()


@dataclass(frozen=True, eq=False)
class Rescale:
    """From accumulator to code, up to 8 bits, on the unit's multiplier::

        code = clip(((acc >> shift) * multiplier + addend) >> down, 0, 2 ** bits - 1)

    Parameters
    ----------
    multipliers, addends : int64 array, shape ``(outputs,)``
    shift, down, bits : int
    """

    multipliers: np.ndarray
    addends: np.ndarray
    shift: int
    down: int
    bits: int


@dataclass(frozen=True, eq=False)
class Pool:
    """What becomes of the codes of a window.

    Parameters
    ----------
    kind : str
        ``"max"``: the largest code of those inside the map; ``"sum"``: their sum, a wider code.
    window, stride : tuple of int
        Vertical, horizontal.
    padding : tuple of int
        Top, bottom, left, right.
    """

    kind: str
    window: tuple
    stride: tuple
    padding: tuple = (0, 0, 0, 0)

    def bits(self, code_bits):
        """Bits of the pooled code."""
        if self.kind == "max":
            return code_bits
        return (self.window[0] * self.window[1] * ((1 << code_bits) - 1)).bit_length()

    def out_map(self, height, width):
        """Height and width of the pooled map."""
        top, bottom, left, right = self.padding
        return ((height + top + bottom - self.window[0]) // self.stride[0] + 1,
                (width + left + right - self.window[1]) // self.stride[1] + 1)


@dataclass(frozen=True, eq=False)
class Layer:
    """A sum of terms and what becomes of it.

    Parameters
    ----------
    name : str
        Name of the torch module it came from.
    terms : tuple of Term
        At least one; all of one output map.
    biases : int64 array, shape ``(outputs,)``
        Everything that does not depend on the input.
    frac_bits : int, or int64 array of shape ``(outputs,)``
        The layer's grid, or that of every channel of a layer with codes; may be negative.
    map : tuple of int
        Height and width of the map of accumulators.
    requantize : Staircase, Rescale or None
        None: the accumulators themselves are the result.
    pool : Pool or None
        Only of codes.
    format : CodeFormat or None
        How the result is stored; None for accumulators.
    sign : int8 array, shape ``(outputs,)``, or None
        -1 where scales and bias were negated so that the staircase rises.
    """

    name: str
    terms: tuple
    biases: np.ndarray
    frac_bits: int | np.ndarray
    map: tuple
    requantize: Staircase | Rescale | None = None
    pool: Pool | None = None
    format: CodeFormat | None = None
    sign: np.ndarray | None = None

    @property
    def outputs(self):
        """Output channels."""
        return len(self.biases)

    @property
    def out_shape(self):
        """Channels, height and width of the result."""
        return (self.outputs, *(self.map if self.pool is None else self.pool.out_map(*self.map)))


@dataclass(frozen=True, eq=False)
class Encoder:
    """How the host encodes real inputs::

        code = clip(rint((x * gain + shift) / step) - low, 0, 2 ** bits - 1)

    Parameters
    ----------
    step : float
    low : int
        Code 0 stands for ``low * step``.
    gain, shift : float64 array, shape ``(channels,)``, or None
        A batch norm on the input; None: there is none.
    """

    step: float
    low: int = 0
    gain: np.ndarray | None = None
    shift: np.ndarray | None = None

    def encode(self, images, bits):
        """Codes of real images ``(n, channels, height, width)``: uint8, same shape."""
        return encode_values(images, (1 << bits) - 1, self.step, self.low, self.gain, self.shift)


@dataclass(frozen=True, eq=False)
class Network:
    """Layers in order of execution, and how the host encodes their input.

    Parameters
    ----------
    name : str
    layers : tuple of Layer
        Each reads the input or layers before it.
    in_shape : tuple of int
        Channels, height, width.
    input_format : CodeFormat
    encoder : Encoder
    info : dict
        Plain data to keep with it.
    head : Head or None
        What the host makes of the last layer's values, which must then have no codes; None: they
        are the result.
    """

    name: str
    layers: tuple
    in_shape: tuple
    input_format: CodeFormat
    encoder: Encoder
    info: dict = field(default_factory=dict)
    head: Head | None = None

    def encode(self, images):
        """Codes of real images: uint8, same shape ``(n, channels, height, width)``."""
        return self.encoder.encode(images, self.input_format.planes)

    def result(self, left):
        """The network's result from what its last layer left; see :func:`sw.head.result_of`."""
        last = self.layers[-1]
        raw = last.requantize is None
        return result_of(left, int(last.frac_bits) if raw else None, last.sign, self.head)
