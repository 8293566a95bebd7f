"""Utilization of one convolution on one machine: predicted, and measured on the RTL.

The layer is the body of a low-bit network: 3 x 3, 64 to 64 channels on a 16 x 16 map, 1-bit weights
with a scale per channel, 2-bit activations whose planes have scales in no simple ratio. Useful
lane-cycles are outputs times inputs of an output times plane pairs; all of them are cycles times
rows, columns and lanes, from the layer's first cycle to its last write.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from xnorloom.hw.spec.config import load_machine
from xnorloom.sim.transport import RtlTransport
from xnorloom.sw.graph.network import CodeFormat, MatrixLayer, Network, Requantize
from xnorloom.sw.machine.driver import Driver
from xnorloom.sw.machine.estimate import estimate
from xnorloom.sw.passes.compiler import compile_network


def body(channels=64, size=16, seed=0):
    """A network of that one layer with random weights, scales and thresholds."""
    rng = np.random.default_rng(seed)
    code = CodeFormat((np.arange(4)[:, None] >> np.arange(1, -1, -1) & 1).astype(np.uint8), 1)
    scales = rng.integers(2000, 8000, (channels, 1, 1, 1)) * np.array([[1.0], [0.54]])
    layer = MatrixLayer(
        name="body", source="input",
        weights=rng.integers(0, 2, (1, channels, channels, 3, 3)).astype(np.uint8),
        scales=-scales.astype(np.int64), biases=rng.integers(0, 1 << 21, channels),
        frac_bits=0, grouping="layer", stride=(1, 1), padding=(1, 1),
        in_shape=(channels, size, size), out_shape=(channels, size, size), input_format=code,
        requantize=Requantize(np.sort(rng.integers(-1 << 20, 1 << 20, (channels, 3))), code))
    return Network("body", (layer,), layer.in_shape, code, 1.0)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--machine", default="default")
    parser.add_argument("--json")
    options = parser.parse_args()
    config, network = load_machine(options.machine), body()
    image = compile_network(network, config, batch=1)
    predicted = estimate(image)[0]
    codes = np.random.default_rng(1).integers(0, 4, (1, *network.in_shape)).astype(np.uint8)
    with RtlTransport(config) as transport:
        driver = Driver(transport, image)
        driver.load()
        measured = driver.run(codes).batches[0].layers[0]
    result = {
        "machine": config.name, "useful": predicted["useful"],
        "predicted_cycles": predicted["cycles"], "measured_cycles": measured["cycles"],
        "utilization": predicted["useful"] / (
            measured["cycles"] * config.rows * config.cols * config.lanes)}
    for name, value in result.items():
        print(f"{name:18} {value:.4f}" if isinstance(value, float) else f"{name:18} {value}")
    if options.json:
        Path(options.json).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
