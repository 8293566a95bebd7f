"""An integer network as text, for people."""

import numpy as np

from ..graph.network import Rescale

__all__ = ["summary"]


def summary(network):
    """Layers, terms and re-quantization of a network, a line each.

    Parameters
    ----------
    network : sw.graph.network.Network
    """
    lines = [f"input: {network.in_shape!r}, {network.input_format.planes} planes"]
    for layer in network.layers:
        grid = np.asarray(layer.frac_bits)
        lines.append(f"{layer.name}: {(layer.outputs, *layer.map)!r}, accumulators of "
                     f"{_span(grid)} fraction bits, biases {_span(layer.biases)}")
        for term in layer.terms:
            lines.append(
                f"  {'relu, then ' if term.relu else ''}{term.source}: weights "
                f"{term.weights.shape!r}, {term.blocks} blocks, scales by {term.grouping} "
                f"{_span(term.scales)}, stride {term.stride}, dilation {term.dilation}, "
                f"{_padding(term)}")
        lines.append(f"  {_end(layer)}")
    if network.head is not None:
        steps = ", ".join(name for name, _ in network.head.steps)
        lines.append(f"host: {steps or 'nothing'}, result {network.head.shape!r}")
    return "\n".join([*lines, ""])


def _span(values):
    low, high = int(values.min()), int(values.max())
    return f"{low}" if low == high else f"{low} to {high}"


def _padding(term):
    if not any(term.padding):
        return "no padding"
    outside = f"code {term.pad_code}" if term.border is None else "zeros"
    return f"padding {term.padding} with {outside}"


def _end(layer):
    if layer.requantize is None:
        return "result"
    codes = layer.requantize
    text = (f"codes of {codes.bits} bits by "
            + (f"multiplication, shift {codes.shift}, down {codes.down}"
               if isinstance(codes, Rescale) else "thresholds"))
    pool = layer.pool
    return text if pool is None else (f"{text}; {pool.kind} of {pool.window}, stride {pool.stride},"
                                      f" to {layer.format.planes} bits")
