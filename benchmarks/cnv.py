"""FINN's CNV, whole, on a machine: every code of every layer and every counter against the
reference, and the cycles of an image.

The maps of eight images do not fit the activation banks of the presets; that run is on the same
machine with deeper ones, which changes no cycle.
"""

import argparse
import dataclasses
import json
from pathlib import Path

import numpy as np

from benchmarks.networks import cnv
from xnorloom.hw.spec.config import load_machine
from xnorloom.sim.transport import RtlTransport
from xnorloom.sw.graph.evaluate import evaluate
from xnorloom.sw.machine.driver import Driver
from xnorloom.sw.machine.estimate import estimate
from xnorloom.sw.passes.compiler import compile_network


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--machine", default="default")
    parser.add_argument("--json")
    options = parser.parse_args()
    preset, results = load_machine(options.machine), []
    deep = dataclasses.replace(preset, activation_depth=32768)
    for bits, batch, config in ((1, 1, preset), (1, 8, deep), (2, 1, preset)):
        network = cnv(bits)
        with RtlTransport(config) as transport:
            image = compile_network(network, config, batch=batch)
            codes = np.random.default_rng(2).integers(
                0, 256, (batch, *network.in_shape)).astype(np.uint8)
            driver = Driver(transport, image)
            driver.reset()
            driver.load()
            run = driver.run(codes, observe=True)
            expected = evaluate(network, codes)
            wrong = sum(int((run.maps[name] != value).sum()) for name, value in expected.items())
            predicted = [layer["cycles"] for layer in estimate(image)]
            measured = [layer["cycles"] for layer in driver.run(codes).layers]
            results.append({"network": network.name, "batch": batch, "mismatches": wrong,
                            "cycles": sum(measured), "predicted": sum(predicted),
                            "layers": measured})
            print(f"{network.name} batch {batch}: {sum(measured)} cycles, "
                  f"{sum(measured) / batch:.0f} an image, predicted {sum(predicted)}, {wrong} "
                  "values wrong", flush=True)
    if options.json:
        Path(options.json).write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
