"""Metadata of an image: the network as its user knows it, and where its maps lie."""

import dataclasses

import numpy as np

__all__ = ["describe_network"]


def describe_network(network, prepared, plans, batch, maps, addresses, keep_input):
    """Metadata of an image: what driver, estimate and user want to know beyond the program.

    Parameters
    ----------
    network : sw.graph.network.Network
    prepared : sw.passes.prepare.Prepared
    plans : list of sw.passes.plan.LayerPlan
    batch : int
        Images of one run.
    maps : dict of str to MapLayout
        Layouts of the input and of the maps that are stored, by name of layer.
    addresses : dict of str to int
        Where they lie.
    keep_input : bool
        Whether no layer overwrites the input.

    Returns
    -------
    dict
        Plain data, see :class:`sw.machine.image.Image`.
    """
    def describe_map(name):
        return {"base": addresses[name], "layout": maps[name].as_dict(),
                "table": np.asarray(prepared.formats[name].table).astype(int).tolist()}

    encoder = network.encoder
    return {
        "network": network.name, "batch": batch, "info": network.info,
        "input": {
            "shape": _ints(network.in_shape), "step": float(encoder.step), "low": int(encoder.low),
            "gain": None if encoder.gain is None else _floats(encoder.gain),
            "shift": None if encoder.shift is None else _floats(encoder.shift),
            "folded": None if prepared.folded is None else _folded(prepared.folded),
            "kept": keep_input, **describe_map("input")},
        "layers": [_layer(network, prepared, plan, describe_map) for plan in plans],
        "head": None if network.head is None else network.head.data(),
    }


def _layer(network, prepared, plan, describe_map):
    layer = plan.layer
    original = plan.original or layer
    pool = layer.pool
    return {
        "name": layer.name, "copy": plan.original is None,
        "terms": [_term(network, prepared, term, planned) for term, planned in
                  zip(original.terms, _planned(plan), strict=True)],
        "constants": [index for index, term in enumerate(plan.terms) if term.term is None],
        "out_shape": _ints(layer.out_shape), "map": _ints(layer.map),
        "frac_bits": np.asarray(layer.frac_bits).tolist(), "extra_bits": plan.extra_bits,
        "passes": plan.passes, "acc_bits": plan.acc_bits, "raw": layer.requantize is None,
        "pool": None if pool is None else {
            "kind": pool.kind, "window": _ints(pool.window), "stride": _ints(pool.stride),
            "padding": _ints(pool.padding)},
        "sign": None if layer.sign is None or layer.requantize is not None else _ints(layer.sign),
        "output": None if layer.requantize is None else describe_map(layer.name),
    }


def _planned(plan):
    """What became of the terms of the network."""
    return [term for term in plan.terms if term.term is not None]


def _term(network, prepared, term, planned):
    folded = tuple(term.kernel) != tuple(planned.term.kernel)
    shape = network.in_shape if folded else prepared.shapes[planned.term.source]
    return {
        "source": planned.term.source, "in_shape": _ints(shape), "kernel": _ints(term.kernel),
        "stride": _ints(term.stride), "dilation": _ints(term.dilation),
        "padding": _ints(term.padding), "blocks": int(term.blocks), "grouping": term.grouping,
        "groups": planned.groups, "relu": bool(term.relu), "border": term.border is not None,
        "activation_planes": prepared.formats[planned.term.source].planes,
        "weight_planes": len(term.weights), "words": planned.words,
        "pairs": sum(len(item.steps) for item in planned.passes), "passes": len(planned.passes),
        "folded": folded,
    }


def _folded(folded):
    return {key: value if isinstance(value, int) else _ints(value)
            for key, value in dataclasses.asdict(folded).items()}


def _ints(values):
    return [int(value) for value in values]


def _floats(values):
    return [float(value) for value in values]
