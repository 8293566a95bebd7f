"""Metadata of an image: the network as its user knows it, and where its maps lie."""

import dataclasses

import numpy as np

__all__ = ["describe_network"]


def describe_network(network, plans, batch, maps, addresses, fields):
    """Metadata of an image: what driver, estimate and user want to know beyond the program.

    Parameters
    ----------
    network : sw.graph.network.Network
    plans : list
        What the compiler made of every layer.
    batch : int
        Images of one run.
    maps : dict of str to MapLayout
        Layouts of the input and of the maps that are stored, by name of layer.
    addresses : dict of str to int
        Where they lie.
    fields : list of dict
        Descriptor fields of every layer.

    Returns
    -------
    dict
        Plain data, see :class:`sw.machine.image.Image`.
    """
    def describe_map(name, form):
        return {"base": addresses[name], "layout": maps[name].as_dict(),
                "table": np.asarray(form.table).astype(int).tolist()}

    first = next(plan for plan in plans if plan.layer.source == "input")
    layers = []
    for plan, values in zip(plans, fields, strict=True):
        layer = plan.original
        layers.append({
            "name": layer.name, "source": layer.source,
            "in_shape": _ints(layer.in_shape), "out_shape": _ints(layer.out_shape),
            "kernel": _ints(layer.kernel), "stride": _ints(layer.stride),
            "padding": _ints(layer.padding), "grouping": layer.grouping,
            "groups": int(layer.scales.shape[1]), "frac_bits": np.asarray(layer.frac_bits).tolist(),
            "activation_planes": layer.input_format.planes, "weight_planes": len(layer.weights),
            "pairs": values["pairs"], "passes": values["passes_per_group"],
            "acc_bits": plan.acc_bits, "folded": plan.folded is not None,
            "raw": layer.requantize is None,
            "sign": None if layer.sign is None or layer.requantize is not None
            else _ints(layer.sign),
            "output": None if layer.requantize is None
            else describe_map(layer.name, layer.requantize.format),
        })
    return {
        "network": network.name, "batch": batch, "info": network.info,
        "input": {
            "shape": _ints(network.in_shape), "step": float(network.input_step),
            "folded": None if first.folded is None else _folded(first.folded),
            **describe_map("input", network.input_format)},
        "layers": layers,
    }


def _folded(folded):
    return {key: value if isinstance(value, int) else _ints(value)
            for key, value in dataclasses.asdict(folded).items()}


def _ints(values):
    return [int(value) for value in values]
