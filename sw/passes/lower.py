"""Front end: from a quantized torch model to the intermediate representation."""

import numpy as np

from ..graph.errors import FrontendError
from ..graph.export import checked_shape
from ..graph.network import CodeFormat, Encoder, Layer, Network, Rescale, Staircase, Term
from ..head import Head
from ..ops.values import stored
from ..quantizers.planes import unsigned_codebook
from .rescale import RescaledActivation, bounds
from .snap import pool_of, snap
from .staircase import StaircaseError, accumulator_function, search

__all__ = ["FrontendError", "lower"]


def lower(model, in_shape=None, *, name="network", info=None, scale_bits=16, acc_bits=32,
          count_bits=16):
    """Lowers a quantized or snapped model to a :class:`sw.graph.network.Network`.

    Parameters
    ----------
    model : torch.nn.Module
        A :class:`sw.passes.snap.SnappedModel`, or a quantized model, which is snapped first.
    in_shape : tuple of int, optional
        What the model was quantized for, if it is to be checked.
    name : str
        The network's name.
    info : dict, optional
        Plain data to keep with it.
    scale_bits, acc_bits, count_bits : int
        Of the machine; used if the model is not snapped yet.

    Raises
    ------
    FrontendError
        If the model holds something that the machine cannot run: the message names it.
    """
    model = snap(model, scale_bits, acc_bits, count_bits)
    if in_shape is not None and checked_shape(in_shape) != model.fusion.in_shape:
        raise FrontendError(f"Input shape must be {model.fusion.in_shape!r}, which the model was "
                            f"quantized for, not {checked_shape(in_shape)!r}")
    encoder = Encoder(float(model.encoder.step), model.encoder.low, model.gain, model.shift)
    layers = tuple(_layer(layer) for layer in model.layers)
    return Network(name, layers, model.fusion.input.shape,
                   _format(model.fusion.input.codebook), encoder, dict(info or {}),
                   _head(model))


def _head(model):
    """The head with the constants that the last accumulators lack."""
    after = model.layers[-1].after.numpy()
    steps = model.fusion.head.steps
    if after.any():
        ones = (1.0,) * len(after)
        steps = (("affine", {"gain": ones, "shift": tuple(after.tolist())}), *steps)
    return Head(steps, model.fusion.head.shape)


def _format(codebook):
    return CodeFormat(np.ascontiguousarray(codebook.planes.T))


def _layer(layer):
    fused, integers, sign = layer.fused, layer.integers, layer.sign
    terms = tuple(_term(*each, sign) for each in zip(fused.sum.terms, integers.scales,
                                                    integers.borders, strict=True))
    coded = fused.quantizer is not None
    pool = pool_of(fused)
    form = None
    if coded:
        codebook = stored(fused.quantizer.codebook())
        bits = codebook.count if pool is None else pool.bits(codebook.count)
        form = _format(codebook) if bits == codebook.count else _digits(bits)
    return Layer(name=fused.name, terms=terms, biases=integers.biases * sign,
                 frac_bits=integers.frac_bits, map=tuple(fused.sum.shape[1:]),
                 requantize=_requantize(layer) if coded else None, pool=pool, format=form,
                 sign=sign.astype(np.int8))


def _digits(bits):
    """The format of a sum of codes, see :mod:`sw.ops.average_pool`."""
    return _format(stored(unsigned_codebook(bits, 1.0)))


def _term(term, scales, border, sign):
    return Term(source=term.part.source, weights=term.weights.planes,
                scales=scales * sign[:, None, None, None], grouping=term.weights.grouping,
                blocks=term.blocks, stride=tuple(term.stride), dilation=tuple(term.dilation),
                padding=tuple(term.padding), pad_code=term.part.pad_code or 0,
                border=None if border is None else border * sign[:, None, None], relu=term.relu)


def _requantize(layer):
    found = layer.activation
    if isinstance(found, RescaledActivation):
        return Rescale(found.multipliers, found.addends, found.shift, found.down, found.bits)
    try:
        return Staircase(search(accumulator_function(layer), *bounds(layer),
                                2 ** layer.fused.quantizer.codebook().count))
    except StaircaseError as error:
        raise FrontendError(f"Layer {layer.name!r} cannot be re-quantized: {error}") from None
