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
        Of every layer: ``name``, ``in_shape``, ``out_shape``, ``kernel``, ``activation_planes``,
        ``weight_planes``, ``pairs``, ``groups``, ``passes`` (per tile, all groups), ``tiles``,
        ``cycles``, ``busy``, ``stalled_on_drain``, ``stalled_on_output``, ``stalled_on_input``,
        ``useful`` (lane-cycles: outputs times inputs of an output times plane pairs) and
        ``utilization`` (of all lane-cycles).
    """
    config, rows = image.config, []
    for layer, (descriptor, _pairs), cost in zip(
            image.layers, _executed(image), _predict(image).layers, strict=True):
        inputs = layer["in_shape"][0] * math.prod(layer["kernel"])
        useful = (image.batch * math.prod(layer["out_shape"]) * inputs
                  * layer["activation_planes"] * layer["weight_planes"])
        rows.append({
            **{key: layer[key] for key in ("name", "in_shape", "out_shape", "kernel",
                                           "activation_planes", "weight_planes", "pairs")},
            "groups": descriptor["groups"],
            "passes": descriptor["groups"] * descriptor["passes_per_group"],
            "tiles": descriptor["pixel_tiles"] * descriptor["col_tiles"],
            "cycles": cost.cycles, "busy": cost.busy,
            "stalled_on_drain": cost.stalled_on_drain,
            "stalled_on_output": cost.stalled_on_output,
            "stalled_on_input": cost.stalled_on_input,
            "useful": useful,
            "utilization": useful / (cost.cycles * config.rows * config.cols * config.lanes),
        })
    return rows


def estimate_cycles(image):
    """Clock cycles of one batch, descriptor fetch included."""
    return _predict(image).total


def _executed(image):
    return [(descriptor, image.pairs(descriptor)) for descriptor in image.descriptors()]


def _predict(image):
    return predict_run(image.config, _executed(image))
