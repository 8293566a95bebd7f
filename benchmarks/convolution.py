"""Useful lane-cycles of single layers on a machine: predicted, and measured on the RTL.

Useful lane-cycles are outputs times inputs of an output times plane pairs; all of them are cycles
times rows, columns and lanes, from the layer's first cycle to its last write. The layers have 64 to
64 channels on a 16 x 16 map, 1-bit weights and 2-bit activations.
"""

import argparse
import dataclasses
import json
from pathlib import Path

import numpy as np

from benchmarks.networks import body
from xnorloom.hw.spec.config import load_machine
from xnorloom.sim.transport import RtlTransport
from xnorloom.sw.machine.driver import Driver
from xnorloom.sw.machine.estimate import estimate
from xnorloom.sw.passes.compiler import compile_network

LAYERS = {
    "3x3": body(), "3x3, planes in no simple ratio": body(ratio=1.8), "1x1": body(kernel=1),
    "3x3, scales by row": body(grouping="row"), "3x3, scales by pixel": body(grouping="pixel"),
}


def measure(network, config):
    """Counters of one layer, predicted and measured: two dictionaries."""
    image = compile_network(network, config, batch=1)
    codes = np.random.default_rng(1).integers(
        0, 4, (1, *network.in_shape)).astype(np.uint8)
    with RtlTransport(config) as transport:
        driver = Driver(transport, image)
        driver.load()
        measured = driver.run(codes).batches[0].layers[0]
    return estimate(image)[0], measured


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--machine", default="default")
    parser.add_argument("--units", type=int, nargs="*", default=[1, 2, 4])
    parser.add_argument("--json")
    options = parser.parse_args()
    results = []
    for units in options.units:
        config = dataclasses.replace(load_machine(options.machine), units=units)
        for name, network in LAYERS.items():
            predicted, measured = measure(network, config)
            all_lanes = measured["cycles"] * config.rows * config.cols * config.lanes
            results.append({
                "machine": config.name, "units": units, "layer": name,
                "predicted_cycles": predicted["cycles"], "measured_cycles": measured["cycles"],
                "stalled_on_drain": measured["stalled_on_drain"],
                "utilization": predicted["useful"] / all_lanes})
            print(f"units {units}  {name:32} {measured['cycles']:6} cycles "
                  f"(predicted {predicted['cycles']}), drain {measured['stalled_on_drain']:5}, "
                  f"useful {results[-1]['utilization']:.1%}", flush=True)
    if options.json:
        Path(options.json).write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
