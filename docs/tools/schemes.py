"""Table of the registered schemes: what the inner layers of a network cost on the machine."""

import math

from xnorloom.hw.spec.config import PRESETS
from xnorloom.sw.machine.estimate import estimate
from xnorloom.sw.passes.compiler import compile_network

from .tables import markdown_table

__all__ = ["BLOCKS"]


def _compiled(scheme):
    """The digits CNN, untrained: what a layer costs does not depend on its weights."""
    import torch

    from xnorloom.sw import data
    from xnorloom.sw.passes import lower as frontend
    from xnorloom.sw.passes import snap
    from xnorloom.sw.training import nets

    shape = data.info("digits").in_shape
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nets.build("cnn", scheme)
        model.train()(torch.rand(16, *shape))
    network = frontend.lower(snap.snap(model.eval()), shape)
    (_channels, source), = model.sources(model.graph["conv3"])
    return model.conv3, source, compile_network(network, PRESETS["default"])


def schemes():
    """Every registered scheme, on ``conv3`` of the digits CNN and the default machine."""
    from xnorloom.sw.quantizers import SCHEMES

    rows = []
    for name in SCHEMES:
        quantized, source, image = _compiled(name)
        place = [layer["name"] for layer in image.layers].index("conv3")
        layer, cost = image.layers[place], estimate(image)[place]
        values = [quantized.weight_quantizer.levels,
                  len(set(source.codebook().reconstruct().tolist()))]
        (term,), passes = layer["terms"], layer["passes"]
        column_tiles = -(-layer["out_shape"][0] // image.config.cols)
        rows.append([
            f"`{name}`", *(f"{value} ({math.log2(value):.3g})" for value in values),
            f"{term['activation_planes']} x {term['weight_planes']}",
            term["groups"], passes, passes * column_tiles, cost["cycles"]])
    rows.sort(key=lambda row: (row[-1], row[0]))
    (unit,) = (row[-1] for row in rows if row[0] == "`lsbq-w1a2`")
    return markdown_table(
        ["scheme", "weight values (bits)", "activation values (bits)", "planes", "scale groups",
         "passes of a tile", "scales in a column", "cycles", "cycles / `lsbq-w1a2`"],
        [[*row, f"{row[-1] / unit:.2f}"] for row in rows])


BLOCKS = {"schemes": schemes}
"""Name of a block -> function that returns its Markdown."""
