"""What an image will cost, by the cycle model, without running it."""

import math

from xnorloom.hw.spec.cycles import predict_run

__all__ = ["estimate", "estimate_cycles"]


def estimate(image):
    """Costs of every layer for one batch.

    Parameters
    ----------
    image : sw.machine.image.Image

    Returns
    -------
    list of dict
        Of every layer: ``name``, ``out_shape``, ``in_shape``, ``kernel``, ``activation_planes`` and
        ``weight_planes`` of its first term, ``terms``, ``pairs`` (of all terms), ``passes`` (per
        tile), ``tiles``, ``cycles``, ``busy``, ``stalled_on_drain``, ``stalled_on_output``,
        ``stalled_on_input``, ``useful`` (lane-cycles: outputs times inputs of an output times plane
        pairs) and ``utilization`` (of all lane-cycles).
    """
    config, rows = image.config, []
    for layer, descriptor, cost in zip(image.layers, image.descriptors(), _predict(image).layers,
                                       strict=True):
        first = layer["terms"][0]
        pixels = image.batch * math.prod(layer["map"]) * layer["out_shape"][0]
        # A copy of a map computes nothing that the network asks for.
        useful = 0 if layer["copy"] else pixels * sum(map(_binary_products, layer["terms"]))
        rows.append({
            "name": layer["name"], "in_shape": first["in_shape"], "out_shape": layer["out_shape"],
            **{key: first[key] for key in ("kernel", "activation_planes", "weight_planes")},
            "terms": len(layer["terms"]), "pairs": sum(term["pairs"] for term in layer["terms"]),
            "passes": descriptor["passes"],
            "tiles": descriptor["pixel_tiles"] * descriptor["col_tiles"],
            "cycles": cost.cycles, "busy": cost.busy,
            "stalled_on_drain": cost.stalled_on_drain,
            "stalled_on_output": cost.stalled_on_output,
            "stalled_on_input": cost.stalled_on_input,
            "useful": useful,
            "utilization": useful / (cost.cycles * config.rows * config.cols * config.lanes),
        })
    return rows


def _binary_products(term):
    """Products of bits that one output of a term is made of."""
    inputs = term["in_shape"][0] // term["blocks"] * math.prod(term["kernel"])
    return inputs * term["activation_planes"] * term["weight_planes"]


def estimate_cycles(image):
    """Clock cycles of one batch, descriptor fetch included."""
    return _predict(image).total


def _predict(image):
    return predict_run(image.config, [
        (descriptor, [[(term, image.pairs(term)) for term in terms]
                      for terms in image.terms(descriptor)])
        for descriptor in image.descriptors()])
