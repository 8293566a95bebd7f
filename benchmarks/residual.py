"""A residual network with pooling, trained on the digits in a scheme of every paper, on the
simulated machine: every value of every layer, every cycle, and the accuracy.

Training takes two minutes a scheme and seed on one core; what has been trained is kept.
"""

import argparse
import json
import statistics
from pathlib import Path

import numpy as np

from xnorloom.hw.spec.config import load_machine
from xnorloom.sim.transport import RtlTransport
from xnorloom.study.runs import Runner, Setting, code_digests
from xnorloom.sw import data
from xnorloom.sw.graph.evaluate import evaluate
from xnorloom.sw.machine.driver import Driver
from xnorloom.sw.machine.estimate import estimate
from xnorloom.sw.machine.reference import ReferenceMachine
from xnorloom.sw.passes.compiler import compile_network
from xnorloom.sw.passes.pipeline import lower_model
from xnorloom.sw.training import checkpoint

SCHEMES = ("lsbq-w1a2", "pact-sawb-w2a2", "balanced-w2a2", "gpfq-w4a4", "syq-pixel-w1a2")
"""One of every paper."""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--machine", default="default")
    parser.add_argument("--net", default="resnet")
    parser.add_argument("--schemes", nargs="+", default=SCHEMES)
    parser.add_argument("--seeds", nargs="+", type=int, default=(1, 2, 3))
    parser.add_argument("--train", action="store_true", help="train, and simulate nothing")
    parser.add_argument("--folder", default="build/residual")
    parser.add_argument("--json")
    options = parser.parse_args()
    config, code = load_machine(options.machine), code_digests(options.schemes)
    setting = Setting(Path(options.folder), options.net, "digits", config, code)
    trained = []
    with Runner(setting, lambda note: print(note, end="\x1b[K\r", flush=True)) as runner:
        for seed in options.seeds:
            trained += [(scheme, seed, runner.checkpoint(scheme, seed))
                        for scheme in options.schemes]
    if options.train:
        return
    rows, images = [], data.load("digits")
    with RtlTransport(config) as transport:
        for scheme, seed, path in trained:
            rows.append({"scheme": scheme, "seed": seed,
                         **compared(transport, config, path, images)})
            print("{scheme} seed {seed}: {mismatches} of {values} values differ, {cycles} cycles "
                  "({mispredicted} mispredicted), float {float:.2%}, hardware {hardware:.2%}"
                  .format(**rows[-1]), flush=True)
    for scheme in options.schemes:
        mine = [row for row in rows if row["scheme"] == scheme]
        hardware, floats = (statistics.median(row[key] for row in mine)
                            for key in ("hardware", "float"))
        print(f"{scheme}: median hardware {hardware:.2%}, float {floats:.2%}")
    if options.json:
        Path(options.json).write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def compared(transport, config, path, images):
    """Runs all test images in torch, by evaluation, on the reference and on the machine.

    Returns
    -------
    dict
        ``mismatches`` of ``values``, ``cycles`` measured, ``mispredicted`` cycles, and the
        accuracies ``float``, ``quantized`` and ``hardware``.
    """
    model, info = checkpoint.load(path)
    network, snapped = lower_model(model, scale_bits=config.scale_bits, acc_bits=config.acc_bits,
                                   count_bits=config.count_bits)
    image, shown = compile_network(network, config), images.test_images
    wanted = snapped.trace(shown)
    found = [evaluate(network, network.encode(shown))]
    for machine in (ReferenceMachine(config), transport):
        driver = Driver(machine, image)
        driver.reset()
        driver.load()
        seen = driver.run(shown, observe=True)
        found.append(seen.maps)
    # Back to back, as it is meant to run.
    run = driver.run(shown)
    differing = sum(int((maps[name] != values).sum())
                    for maps in found for name, values in wanted.items())
    differing += int((run.accumulators != seen.accumulators).sum())
    batches = len(run.batches)
    off = sum(abs(row["cycles"] * batches - counters["cycles"])
              for row, counters in zip(estimate(image), run.layers, strict=True))
    return {"mismatches": differing, "values": sum(values.size for values in wanted.values()),
            "images": len(shown), "batch": image.batch, "cycles": run.cycles,
            "mispredicted": off, **info["accuracy"],
            "hardware": float(np.mean(run.labels == images.test_labels))}


if __name__ == "__main__":
    main()
