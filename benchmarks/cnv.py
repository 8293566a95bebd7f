"""FINN's CNV, whole, on a machine: every code of every layer and every counter against the
reference, and the cycles of an image."""

import argparse
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
    config, results = load_machine(options.machine), []
    with RtlTransport(config) as transport:
        for bits, batch in ((1, 1), (1, 8), (2, 1)):
            network = cnv(bits)
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
