"""What the values of a quantized network are to the machine: maps of codes, and sums of terms."""

from dataclasses import dataclass, field, replace

import numpy as np
from torch import nn

from ..bitplanes import BitPlanes
from .limits import MAX_CODE_BITS
from .operator import Refused

__all__ = ["Fused", "Map", "Part", "Raw", "Sum", "SumTerm", "identity", "identity_term",
           "stored"]


def stored(codebook):
    """A code book with its planes in the order in which a machine stores them: those of a code too
    wide for a table are its binary digits, the lowest first.

    Parameters
    ----------
    codebook : BitPlanes
        Highest plane first.
    """
    if codebook.count <= MAX_CODE_BITS:
        return codebook
    return replace(codebook, planes=codebook.planes[::-1], scales=codebook.scales[::-1])


@dataclass(frozen=True, eq=False)
class Part:
    """Codes of one layer, or of the input.

    Parameters
    ----------
    source : str
        Layer, or ``"input"``.
    shape : tuple of int
        Channels, height, width.
    codebook : BitPlanes
        Values of the codes, planes as :func:`stored`.
    pad_code : int or None
        Code that a reader pads with; None: true zeros.
    spread : tuple of int
        The value is the average of the codes of windows of so many lines and columns, side by
        side, which its reader must take; (1, 1): of every code.
    """

    source: str
    shape: tuple
    codebook: BitPlanes
    pad_code: int | None = 0
    spread: tuple = (1, 1)

    @property
    def averaged(self):
        """Shape of the values."""
        channels, height, width = self.shape
        return channels, height // self.spread[0], width // self.spread[1]


@dataclass(frozen=True, eq=False)
class Raw:
    """The network's input as the host has it, before it is encoded.

    Parameters
    ----------
    shape : tuple of int
        Channels, height, width.
    gain, shift : float64 array, shape ``(channels,)``, or None
        A batch norm that the host applies.
    """

    shape: tuple
    gain: np.ndarray | None = None
    shift: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Map:
    """Quantized values: parts stacked along the channels.

    Parameters
    ----------
    parts : tuple of Part
    flattened : bool
        Whether it is read as a vector.
    """

    parts: tuple
    flattened: bool = False

    @property
    def shape(self):
        """Channels, height and width of the values."""
        first = self.parts[0].averaged
        return sum(part.shape[0] for part in self.parts), *first[1:]


@dataclass(frozen=True, eq=False)
class SumTerm:
    """What one map adds to a sum, see :class:`sw.graph.network.Term`.

    Parameters
    ----------
    part : Part
    weights : BitPlanes
        ``(k, outputs, inputs / blocks, height, width)``.
    gain : float64 array, shape ``(outputs,)``
        Multiplies the values of the weights.
    bias : float64 array, shape ``(outputs,)``
        Added with the term.
    blocks, stride, dilation, padding, relu
        As there.
    zeros : bool
        Whether it pads with true zeros, whatever the code.
    """

    part: Part
    weights: BitPlanes
    gain: np.ndarray
    bias: np.ndarray
    blocks: int = 1
    stride: tuple = (1, 1)
    dilation: tuple = (1, 1)
    padding: tuple = (0, 0, 0, 0)
    zeros: bool = False
    relu: bool = False


@dataclass(frozen=True, eq=False)
class Sum:
    """Terms, and elementwise maps of what they sum to.

    Parameters
    ----------
    name : str
        Of the layer that it becomes.
    terms : tuple of SumTerm
    shape : tuple of int
        Channels, height, width.
    tail : tuple of torch.nn.Module
        In float64, channels on axis 1: affine maps and functions.
    """

    name: str
    terms: tuple
    shape: tuple
    tail: tuple = field(default=())

    def then(self, module: nn.Module):
        """This sum, mapped."""
        return replace(self, tail=(*self.tail, module))

    @property
    def clamped(self):
        """Whether a term follows a clamp."""
        return any(term.relu for term in self.terms)


def identity_term(part):
    """The term that adds a map as it is: as many blocks as channels, weight bits of 0; of averages,
    a kernel of the window."""
    channels, area = part.shape[0], part.spread[0] * part.spread[1]
    # A weight of bit 0 is -1 times its scale.
    weights = BitPlanes(np.zeros((1, channels, 1, *part.spread)), -np.ones((1, 1, 1)))
    stride = tuple(step if size > 1 else 1 for step, size in zip(part.spread, part.averaged[1:]))
    return SumTerm(part, weights, np.full(channels, 1 / area), np.zeros(channels),
                   blocks=channels, stride=stride)


def identity(name, value):
    """A map as the sum of one term; a sum as it is.

    Raises
    ------
    Refused
        If the map has several parts.
    """
    if isinstance(value, Sum):
        return value
    if isinstance(value, Raw):
        raise Refused("must not read the input before it is quantized")
    if len(value.parts) > 1:
        raise Refused("must not read a concatenation: only a convolution or a linear layer can")
    return Sum(name, (identity_term(value.parts[0]),), value.shape)


@dataclass(frozen=True, eq=False)
class Fused:
    """One layer of the machine before it is snapped.

    Parameters
    ----------
    name : str
    sum : Sum
    quantizer : ActivationQuantizer or None
        In float64; None: the network's result.
    activation : str
        Node of the graph that the quantizer is; empty for none.
    pool : tuple or None
        Kind, window, stride, padding: see :class:`sw.graph.network.Pool`.
    """

    name: str
    sum: Sum
    quantizer: nn.Module | None
    activation: str = ""
    pool: tuple | None = None
